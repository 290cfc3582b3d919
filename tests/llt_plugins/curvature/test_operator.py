"""Products with the Hessian against the matrix written out."""

from __future__ import annotations

import copy
import gc

import pytest
import torch
from torch import nn
from torch.nn.functional import dropout, mse_loss

from llt_plugins.curvature.operators.copies import evaluation_copy
from llt_plugins.curvature.operators.hessian import HessianOperator


@pytest.mark.parametrize("retain", [True, False])
def test_it_is_the_full_hessian(case, retain):
    expected = case.hessian()
    with HessianOperator(case.model, case.losses(), retain=retain) as operator:
        actual = operator.matrix()
    assert actual.shape == expected.shape
    assert len(expected) <= 2_000
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("retain", ["auto", True, False])
def test_unequal_micro_batches_are_one_batch(make_case, retain):
    case = make_case("conv_bn")
    whole = HessianOperator(case.model, case.losses())
    parts = HessianOperator(case.model, case.losses(7, 1, 4), retain=retain)
    vector = torch.randn(whole.size, dtype=torch.float64)
    for _ in range(2):  # the second product reuses whatever was kept
        torch.testing.assert_close(
            parts.matvec(vector), whole.matvec(vector), rtol=1e-9, atol=1e-12
        )


def test_float32_products_are_accurate(make_case):
    case = make_case("attention")
    exact = HessianOperator(case.model, case.losses())
    inputs, targets = case.inputs.float(), case.targets
    single = HessianOperator(
        evaluation_copy(case.model),
        [(12, lambda model: nn.functional.cross_entropy(model(inputs), targets))],
    )
    vector = torch.randn(exact.size, dtype=torch.float64)
    product = single.matvec(vector)
    assert product.dtype == torch.float64
    assert (product - exact.matvec(vector)).norm() < 1e-5 * product.norm()


def test_tied_weights_count_once_and_frozen_ones_not_at_all(make_case):
    tied, frozen = make_case("tied"), make_case("frozen")
    assert HessianOperator(tied.model, tied.losses()).size == 36 + 6 + 6 + 18 + 3
    assert HessianOperator(frozen.model, frozen.losses()).size == 64 + 24 + 3


def test_a_linear_loss_has_a_zero_hessian():
    model = nn.Linear(3, 1).double()
    inputs = torch.randn(4, 3, dtype=torch.float64)
    operator = HessianOperator(model, [(4, lambda m: m(inputs).mean())])
    assert torch.equal(operator.matrix(), torch.zeros(4, 4, dtype=torch.float64))


def test_a_loss_without_parameters_has_a_zero_hessian():
    operator = HessianOperator(nn.Linear(3, 1), [(1, lambda m: torch.tensor(1.0))])
    assert not operator.matvec(torch.ones(4)).any()


def test_least_squares_by_hand():
    model = nn.Linear(2, 1, bias=False).double()
    inputs = torch.tensor([[1.0, 2.0], [3.0, -1.0]], dtype=torch.float64)
    targets = torch.zeros(2, 1, dtype=torch.float64)
    operator = HessianOperator(model, [(2, lambda m: mse_loss(m(inputs), targets))])
    torch.testing.assert_close(operator.matrix(), inputs.T @ inputs)


def test_the_model_is_left_as_it_was(case):
    for parameter in case.model.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.full_like(parameter, 7.0)
    before = copy.deepcopy(case.model.state_dict())
    random_state = torch.get_rng_state()
    with torch.no_grad(), HessianOperator(case.model, case.losses(6, 6)) as operator:
        operator.matvec(torch.randn(operator.size, generator=torch.Generator()))
    assert torch.equal(torch.get_rng_state(), random_state)
    for parameter in case.model.parameters():
        assert not parameter.requires_grad or bool((parameter.grad == 7.0).all())
    for name, value in case.model.state_dict().items():
        assert torch.equal(value, before[name])


def test_closing_releases_the_graphs(make_case):
    case = make_case("mlp")

    def tensors() -> int:
        gc.collect()
        return sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())

    with HessianOperator(case.model, case.losses(6, 6), retain=True) as operator:
        before = tensors()
        vector = torch.ones(operator.size)
        first = operator.matvec(vector)
        for _ in range(5):
            operator.matvec(vector)
        del vector
        assert tensors() > before + 2  # the kept gradients, and `first`
    assert tensors() <= before + 2  # `first`, and the block of one that it is a row of
    assert torch.equal(operator.matvec(torch.ones(operator.size)), first)


@pytest.mark.parametrize(
    ("module", "named"),
    [
        (nn.Dropout(0.1), "Dropout"),
        (nn.BatchNorm1d(4), "BatchNorm1d"),
        (nn.RReLU(), "RReLU"),
    ],
)
def test_a_model_in_training_mode_is_refused(module, named):
    model = nn.Sequential(nn.Linear(4, 4), module)
    inputs = torch.randn(6, 4)
    losses = [(6, lambda m: m(inputs).square().mean())]
    with pytest.raises(ValueError, match=rf"'1' \({named}\) is in training mode.*model\.eval\(\)"):
        HessianOperator(model.train(), losses)
    HessianOperator(model.eval(), losses)


def test_training_mode_without_random_modules_is_accepted():
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.0), nn.LayerNorm(4)).train()
    inputs = torch.randn(6, 4)
    HessianOperator(model, [(6, lambda m: m(inputs).square().mean())])


def test_hidden_randomness_is_refused_without_disturbing_the_random_state():
    model, inputs = nn.Linear(4, 4), torch.randn(6, 4)
    state = torch.get_rng_state()
    with pytest.raises(ValueError, match="not deterministic"):
        HessianOperator(model, [(6, lambda m: dropout(m(inputs), 0.5).square().mean())])
    assert torch.equal(torch.get_rng_state(), state)


def test_randomness_in_any_micro_batch_is_refused():
    model, inputs = nn.Linear(4, 4), torch.randn(6, 4)
    losses = [
        (6, lambda m: m(inputs).square().mean()),
        (6, lambda m: dropout(m(inputs), 0.5).square().mean()),
    ]
    with pytest.raises(ValueError, match="micro-batch 2 is not deterministic"):
        HessianOperator(model, losses)


def test_statistics_of_micro_batches_are_refused_where_there_are_several():
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4, track_running_stats=False)).eval()
    inputs = torch.randn(6, 4)

    def part(start, stop):
        return stop - start, lambda m: m(inputs[start:stop]).pow(3).mean()

    HessianOperator(model, [part(0, 6)])
    with pytest.raises(ValueError, match=r"'1' \(BatchNorm1d\) has no running statistics"):
        HessianOperator(model, [part(0, 3), part(3, 6)])


@pytest.mark.parametrize("broken", ["bias", "batch"])
def test_where_the_loss_is_not_a_number_no_product_is(broken):
    """The Hessian of a squared error knows nothing of the bias, or of a batch without rows."""
    model, inputs = nn.Linear(3, 1), torch.randn(4, 3)
    if broken == "bias":
        model.bias.data.fill_(torch.nan)
    empty = inputs[:0] if broken == "batch" else inputs
    losses = [(4, lambda m: m(inputs).square().mean()), (1, lambda m: m(empty).square().mean())]
    operator = HessianOperator(model, losses)
    assert operator.matvec(torch.ones(4)).isnan().all()
    assert operator.matmat(torch.ones(4, 2)).isnan().all()


def test_sparse_constants_are_no_trouble():
    """Such as the neighbours of each node of a graph."""
    neighbours = torch.eye(4).roll(1, 0).to_sparse()
    model, inputs = nn.Linear(3, 2), torch.randn(4, 3)
    operators = [
        HessianOperator(model, [(4, lambda m, a=a: torch.tanh(a @ m(inputs)).square().mean())])
        for a in (neighbours, neighbours.to_dense())
    ]
    torch.testing.assert_close(operators[0].matrix(), operators[1].matrix())


@pytest.mark.parametrize(
    ("losses", "message"),
    [
        ([], "at least one"),
        ([(0, lambda m: m.weight.sum())], "all positive"),
        ([(-1, lambda m: m.weight.sum()), (2, lambda m: m.weight.sum())], "all positive"),
        ([(float("nan"), lambda m: m.weight.sum())], "all positive"),
        ([(1, lambda m: m.weight)], r"shape \(2, 2\), expected one number"),
    ],
)
def test_impossible_losses_are_refused(losses, message):
    with pytest.raises(ValueError, match=message):
        HessianOperator(nn.Linear(2, 2), losses)


def test_other_mistakes_are_named(make_case):
    case = make_case("mlp")
    operator = HessianOperator(case.model, case.losses())
    with pytest.raises(ValueError, match="one entry for each trainable parameter"):
        operator.matvec(torch.ones(3))
    with pytest.raises(ValueError, match="no trainable parameter"):
        HessianOperator(case.model.requires_grad_(False), case.losses())
    large = HessianOperator(nn.Linear(100, 60), [(1, lambda m: m.weight.square().sum())])
    with pytest.raises(ValueError, match="too large to write down"):
        large.matrix()
