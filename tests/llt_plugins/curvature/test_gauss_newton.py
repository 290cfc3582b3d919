"""Gauss–Newton and Fisher products against the Jacobian written out."""

from __future__ import annotations

import copy
from collections import OrderedDict
from functools import partial

import pytest
import torch
from torch import nn
from torch.func import functional_call, hessian, jacrev
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import cross_entropy, mse_loss

from llt_plugins.curvature.operators.gauss_newton import FisherOperator, GaussNewtonOperator
from llt_plugins.curvature.operators.hessian import HessianOperator
from llt_plugins.curvature.operators.parameters import flat

CLOSE = {"rtol": 1e-9, "atol": 1e-12}


class _Called(nn.Module):
    """A function of a model as a module, so that parameters can be exchanged meanwhile."""

    def __init__(self, model, function):
        super().__init__()
        self.model, self.function = model, function

    def forward(self):
        return self.function(self.model)


def jacobian(model, outputs):
    """Return the Jacobian of the flattened ``outputs(model)``, ``(M, P)``, by torch.func."""
    called = _Called(model, outputs)
    named = {name: p.detach() for name, p in called.named_parameters() if p.requires_grad}

    def of(parameters):
        return functional_call(called, parameters, ()).reshape(-1)

    with sdpa_kernel(SDPBackend.MATH):
        parts = jacrev(of)(named)
    return torch.cat([part.flatten(1) for part in parts.values()], dim=1)


def split(case, *sizes):
    """Micro-batches of logits and their mean cross-entropy."""
    return [
        (
            n,
            partial(case.logits, start=start, stop=stop),
            partial(_loss, targets=case.terms(start, stop)),
        )
        for start, stop, n in case.parts(*sizes)
    ]


def _loss(logits, targets):
    return cross_entropy(logits, targets)


def explicit(case):
    j = jacobian(case.model, case.logits)
    logits = case.logits(case.model).detach()

    def loss(flat):
        return cross_entropy(flat.view_as(logits), case.terms())

    return j.T @ hessian(loss)(logits.reshape(-1)) @ j


@pytest.mark.parametrize("sizes", [(), (7, 1, 4)])
def test_it_is_the_product_of_its_three_factors(case, sizes):
    expected = explicit(case)
    with GaussNewtonOperator(case.model, split(case, *sizes)) as operator:
        torch.testing.assert_close(operator.matrix(), expected, **CLOSE)
        block = operator.matmat(torch.eye(operator.size))
        assert operator.unbatched is None
        assert operator.plain is None
    torch.testing.assert_close(block, expected, **CLOSE)
    fresh = GaussNewtonOperator(case.model, split(case, *sizes), retain=False)
    vectors = torch.randn(fresh.size, 2, dtype=torch.float64)
    torch.testing.assert_close(fresh.matmat(vectors), expected @ vectors, **CLOSE)
    torch.testing.assert_close(fresh.matvec(vectors[:, 0]), expected @ vectors[:, 0], **CLOSE)


def test_empirical_fisher_is_the_second_moment_of_gradients(case):
    def examples(model, start, stop):
        logits = case.logits(model, start, stop)
        return cross_entropy(logits, case.terms(start, stop), reduction="none")

    j = jacobian(case.model, case.logits)
    probabilities = case.logits(case.model).softmax(1).detach()
    slopes = probabilities - nn.functional.one_hot(case.terms(), probabilities.shape[1])
    gradients = torch.einsum("nc,ncp->np", slopes, j.view(*probabilities.shape, -1))
    expected = gradients.T @ gradients / len(gradients)
    losses = [(n, partial(examples, start=start, stop=stop)) for start, stop, n in case.parts(8, 4)]
    with FisherOperator(case.model, losses) as operator:
        torch.testing.assert_close(operator.matrix(), expected, **CLOSE)
        block = operator.matmat(torch.eye(operator.size))
    torch.testing.assert_close(block, expected, **CLOSE)


def test_it_is_the_hessian_of_a_model_linear_in_its_parameters():
    model, inputs = nn.Linear(3, 2).double(), torch.randn(5, 3, dtype=torch.float64)
    targets = torch.randn(5, 2, dtype=torch.float64)
    newton = GaussNewtonOperator(
        model, [(5, lambda m: m(inputs), partial(mse_loss, target=targets))]
    )
    full = HessianOperator(model, [(5, lambda m: mse_loss(m(inputs), targets))])
    torch.testing.assert_close(newton.matrix(), full.matrix(), **CLOSE)


class _TwoHeads(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.first, self.second = nn.Linear(5, 4), nn.Linear(4, 2), nn.Linear(4, 1)

    def forward(self, batch):
        hidden = torch.tanh(self.body(batch["inputs"]))
        mask = batch["inputs"] > 0
        return OrderedDict(a=self.first(hidden), rest=[mask, (self.second(hidden),)])


def test_outputs_may_be_nested_and_batches_dicts():
    model = _TwoHeads().double()
    batch = {"inputs": torch.randn(6, 5, dtype=torch.float64), "targets": torch.arange(6) % 2}

    def loss(outputs):
        mask, (second,) = outputs["rest"]
        squares = second.square().mean() * mask.double().mean()
        return cross_entropy(outputs["a"], batch["targets"]) + squares

    class Flat(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = model

        def forward(self, inputs):
            outputs = self.inner({"inputs": inputs})
            return torch.cat([outputs["a"], outputs["rest"][1][0]], dim=1)

    flat = Flat()
    j = jacobian(flat, lambda m: m(batch["inputs"]))
    logits = flat(batch["inputs"]).detach()
    mask = batch["inputs"] > 0

    def of_flat(values):
        values = values.view_as(logits)
        return loss({"a": values[:, :2], "rest": [mask, (values[:, 2:],)]})

    expected = j.T @ hessian(of_flat)(logits.reshape(-1)) @ j
    operator = GaussNewtonOperator(model, [(6, lambda m: m(batch), loss)])
    torch.testing.assert_close(operator.matrix(), expected, **CLOSE)
    torch.testing.assert_close(operator.matmat(torch.eye(operator.size)), expected, **CLOSE)


def test_restriction_is_a_diagonal_block(make_case):
    case = make_case("conv_bn")
    operator = GaussNewtonOperator(case.model, split(case))
    block = operator.restricted(["0.weight", "1.bias"]).matrix()
    index = torch.cat([torch.arange(72), torch.arange(76, 80)])
    torch.testing.assert_close(block, explicit(case)[index][:, index], **CLOSE)


def test_a_mean_in_place_of_single_losses_is_refused(make_case):
    case = make_case("mlp")
    with pytest.raises(ValueError, match=r"shape \(\), expected \(n,\)"):
        FisherOperator(case.model, case.losses())


def test_the_model_is_left_as_it_was(case):
    before = copy.deepcopy(case.model.state_dict())
    state = torch.get_rng_state()
    with GaussNewtonOperator(case.model, split(case, 6, 6)) as operator:
        operator.matmat(torch.ones(operator.size, 3))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(p.grad is None for p in case.model.parameters())
    for name, value in case.model.state_dict().items():
        assert torch.equal(value, before[name])


class _Force(nn.Module):
    """Outputs that are the slope of an energy."""

    def __init__(self):
        super().__init__()
        self.inner, self.outer = nn.Conv1d(1, 3, 3, padding=1), nn.Conv1d(3, 1, 3)

    def forward(self, x):
        x = x.detach().requires_grad_()
        energy = self.outer(torch.tanh(self.inner(x))).square().sum()
        return torch.autograd.grad(energy, x, create_graph=True)[0].flatten(1)


def test_a_model_that_takes_a_gradient_itself():
    torch.manual_seed(0)
    model = _Force().double()
    inputs, targets = torch.randn(3, 1, 5).double(), torch.randn(3, 5).double()
    losses = [(3, lambda m: m(inputs), lambda force: (force - targets).square().mean())]
    operator = GaussNewtonOperator(model, losses)
    parameters = list(model.parameters())
    slopes = [
        torch.autograd.grad(force, parameters, retain_graph=True, allow_unused=True)
        for force in model(inputs).reshape(-1)
    ]
    rows = torch.stack([flat(row, parameters) for row in slopes])
    torch.testing.assert_close(operator.matrix(), rows.T @ rows * 2 / 15)
    assert operator.plain is None
