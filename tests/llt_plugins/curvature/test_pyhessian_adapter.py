"""Our numbers beside PyHessian's, on the same samples."""

from __future__ import annotations

import copy
import math
import warnings

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from llt_plugins.curvature import hutchinson, lanczos, pyhessian_adapter
from llt_plugins.curvature.operators.hessian import HessianOperator


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.filterwarnings("ignore:Using backward")
@pytest.mark.parametrize("name", ["mlp", "conv_bn", "tied", "frozen"])
def test_each_product_is_theirs(make_case, name):
    from pyhessian import hessian
    from pyhessian.utils import hessian_vector_product

    case = make_case(name)
    theirs = hessian(
        copy.deepcopy(case.model), cross_entropy, data=(case.inputs, case.targets), cuda=False
    )
    with HessianOperator(case.model, case.losses()) as ours:
        vector = torch.randn(ours.size, generator=seeded(0), dtype=torch.float64)
        parts = vector.split([p.numel() for p in theirs.params])
        shaped = [part.view(p.shape) for part, p in zip(parts, theirs.params, strict=True)]
        product = hessian_vector_product(theirs.gradsH, theirs.params, shaped)
        flat = torch.cat([piece.reshape(-1) for piece in product])
        torch.testing.assert_close(ours.matvec(vector), flat, rtol=1e-5, atol=1e-10)


@pytest.mark.parametrize("sizes", [(12,), (7, 1, 4)])
def test_traces_agree_within_their_errors(case, sizes):
    losses = case.losses(*sizes)
    theirs = pyhessian_adapter.trace(case.model, losses, seeded(1), max_vectors=60)
    with HessianOperator(case.model, losses) as operator:
        ours = hutchinson.trace(operator, seeded(2), tolerance=0.0, max_vectors=60)
    assert theirs.n == 60
    error = math.hypot(ours.standard_error, theirs.standard_error)
    assert abs(ours.value - theirs.value) <= 3 * error
    truth = case.hessian().trace().item()
    assert abs(theirs.value - truth) <= 4 * theirs.standard_error + 1e-6


@pytest.mark.parametrize("sizes", [(12,), (7, 1, 4)])
def test_eigenvalues_agree(case, sizes):
    losses = case.losses(*sizes)
    theirs = pyhessian_adapter.top_eigenvalue(
        case.model, losses, seeded(1), tolerance=1e-7, max_steps=400
    )
    with HessianOperator(case.model, losses) as operator:
        ours = lanczos.top_eigenvalue(operator, seeded(2), tolerance=1e-6)
    assert theirs.stopped == "tolerance"
    assert theirs.value == pytest.approx(ours.value, rel=1e-3)


def test_unequal_micro_batches_are_one_batch(make_case):
    case = make_case("mlp")
    one = pyhessian_adapter.trace(case.model, case.losses(), seeded(1), max_vectors=5)
    many = pyhessian_adapter.trace(case.model, case.losses(7, 1, 4), seeded(1), max_vectors=5)
    assert many.samples == pytest.approx(one.samples, rel=1e-8)


def test_products_are_counted(make_case):
    case = make_case("mlp")
    for sizes in ((12,), (4, 4, 4)):
        short = pyhessian_adapter.top_eigenvalue(
            case.model, case.losses(*sizes), seeded(0), tolerance=0.0, max_steps=3
        )
        assert (short.products, short.stopped) == (3, "limit")


def test_a_negative_trace_draws_every_vector():
    # PyHessian divides by the signed mean, so its own rule would stop here after two.
    model = nn.Linear(4, 1).double()
    inputs = torch.randn(5, 4, generator=seeded(0), dtype=torch.float64)
    losses = [(5, lambda m: -m(inputs).square().mean())]
    estimate = pyhessian_adapter.trace(model, losses, seeded(1), max_vectors=25)
    assert estimate.n == 25
    assert estimate.value < 0


@pytest.mark.parametrize("sizes", [(12,), (6, 6)])
def test_everything_is_left_as_it_was(make_case, sizes, capsys):
    case = make_case("conv_bn")
    case.model[2].train()  # a mode that PyHessian would flip, on a harmless module
    for parameter in case.model.parameters():
        parameter.grad = torch.full_like(parameter, 7.0)
    before = copy.deepcopy(case.model.state_dict())
    state = torch.get_rng_state()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first = pyhessian_adapter.trace(case.model, case.losses(*sizes), seeded(1), max_vectors=3)
        second = pyhessian_adapter.trace(case.model, case.losses(*sizes), seeded(1), max_vectors=3)
    assert first.samples.tolist() == second.samples.tolist()  # nothing doubled, seeds obeyed
    assert torch.equal(torch.get_rng_state(), state)
    assert all(bool((p.grad == 7.0).all()) for p in case.model.parameters())
    assert case.model[2].training
    assert not case.model[1].training
    for name, value in case.model.state_dict().items():
        assert torch.equal(value, before[name])
    assert capsys.readouterr().out == ""


def test_not_a_number_is_said(make_case):
    case = make_case("mlp")
    with torch.no_grad():
        case.model[0].weight[0, 0] = math.nan
    losses = case.losses()
    assert pyhessian_adapter.trace(case.model, losses, seeded(0), max_vectors=2).stopped == (
        "not_finite"
    )
    power = pyhessian_adapter.top_eigenvalue(case.model, losses, seeded(0), max_steps=2)
    assert power.stopped == "not_finite"


def test_impossible_requests_are_refused(make_case):
    case = make_case("mlp")
    with pytest.raises(ValueError, match="whole numbers"):
        pyhessian_adapter.trace(case.model, [(0.5, case.loss())], seeded(0))
    with pytest.raises(ValueError, match="at least one micro-batch"):
        pyhessian_adapter.trace(case.model, [], seeded(0))
    with pytest.raises(ValueError, match="no trainable parameter"):
        pyhessian_adapter.trace(case.model.requires_grad_(False), case.losses(), seeded(0))
