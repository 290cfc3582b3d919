"""The Hessian metrics: right numbers, honest words, an untouched model."""

from __future__ import annotations

import copy
import math
import subprocess
import sys

import pytest
import torch
from pydantic import ValidationError
from torch.func import functional_call

from llt_core.interfaces import RequestError
from llt_plugins.metrics.hessian import HessianTopEigenvalue, HessianTrace

BOTH = [HessianTrace, HessianTopEigenvalue]
BACKENDS = ["llt", "pyhessian"]


def full_hessian(context, samples=None, split="train"):
    """The matrix in float64, straight from the definition."""
    twin = copy.deepcopy(context.model).double().eval()
    (batch,) = context.batches(split, samples)
    batch = batch.to(dtype=torch.float64)
    named = {name: p.detach() for name, p in twin.named_parameters() if p.requires_grad}

    def loss(flat):
        parts = flat.split([p.numel() for p in named.values()])
        new = {k: part.view(p.shape) for part, (k, p) in zip(parts, named.items(), strict=True)}
        return context.task.loss(functional_call(twin, new, batch.inputs), batch)

    flat = torch.cat([p.reshape(-1) for p in named.values()])
    return torch.autograd.functional.hessian(loss, flat)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("batch_size", [256, 7])
def test_the_trace_is_that_of_the_matrix(model, context_of, dtype, batch_size):
    context = context_of(model, seed=4)
    metric = HessianTrace(samples=30, batch_size=batch_size, dtype=dtype, tolerance=0.02)
    (result,) = metric.measure(context)
    truth = full_hessian(context, 30).trace().item()
    assert abs(result.value - truth) <= 4 * result.standard_error
    assert (result.name, result.unit, result.counted) == ("hessian_trace", "nats", "vectors")
    assert result.n == len(result.arrays["samples"]) <= 100
    assert result.status == {"tolerance": "ok", "limit": "limit"}[result.details["stopped"]]
    assert result.details["samples"] == 30
    assert result.details["parameters"] == sum(p.numel() for p in model.parameters())
    assert (result.details["split"], result.details["backend"]) == ("train", "llt")


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_top_eigenvalue_is_that_of_the_matrix(model, context_of, split):
    context = context_of(model)
    metric = HessianTopEigenvalue(samples=None, split=split, dtype="float64", batch_size=9)
    (result,) = metric.measure(context)
    values = torch.linalg.eigvalsh(full_hessian(context, split=split))
    truth = values[values.abs().argmax()].item()
    assert abs(result.value - truth) <= result.standard_error + 1e-9
    assert (result.name, result.counted, result.status) == (
        "hessian_top_eigenvalue",
        "products",
        "ok",
    )
    assert result.details["error_kind"] == "residual bound"
    assert result.details["samples"] == len(context.splits[split])
    assert len(result.arrays["ritz_values"]) == result.n


def test_the_backends_agree(model, context_of):
    context = context_of(model)
    ours, theirs = (HessianTrace(backend=b, dtype="float64").measure(context)[0] for b in BACKENDS)
    assert abs(ours.value - theirs.value) < 3 * math.hypot(
        ours.standard_error, theirs.standard_error
    )
    assert theirs.n == 100
    ours, theirs = (
        HessianTopEigenvalue(backend=b, dtype="float64", tolerance=1e-6, max_steps=500).measure(
            context
        )[0]
        for b in BACKENDS
    )
    assert theirs.value == pytest.approx(ours.value, rel=1e-3)
    assert theirs.standard_error is None
    assert theirs.details["error_kind"] == "unknown"
    # Nothing but a bound says when to stop: ours states an error and is within it.
    exact = torch.linalg.eigvalsh(full_hessian(context))[-1].item()
    assert abs(ours.value - exact) <= ours.standard_error + 1e-9 < abs(theirs.value - exact)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("metric", BOTH)
def test_the_model_is_bit_identical_afterwards(metric, backend, model, context_of):
    model[0].weight.requires_grad_(False)
    model.train()[1].eval()  # a mixed mode, to be found as it was
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 7.0)
    model[0].weight.grad = None
    before = copy.deepcopy(model.state_dict())
    modes = [module.training for module in model.modules()]
    state = torch.get_rng_state()
    metric(samples=20, backend=backend, dtype="float64").measure(context_of(model))
    assert torch.equal(torch.get_rng_state(), state)
    assert [module.training for module in model.modules()] == modes
    for name, value in model.state_dict().items():
        assert value.dtype == before[name].dtype
        assert torch.equal(value, before[name])
    assert model[0].weight.grad is None
    assert not model[0].weight.requires_grad
    for parameter in list(model.parameters())[1:]:
        assert parameter.requires_grad
        assert bool((parameter.grad == 7.0).all())


@pytest.mark.parametrize("metric", BOTH)
def test_all_models_of_a_cell_meet_the_same_samples_and_vectors(metric, model, context_of):
    def value(**seeds):
        return metric(samples=20, tolerance=0.2).measure(context_of(model, **seeds))[0].value

    assert value(seed=1) == value(seed=2)
    assert value(sample_seed=1) != value(sample_seed=2)


@pytest.mark.parametrize("estimator", ["hutchinson", "hutch++", "xtrace"])
def test_the_other_estimators_draw_vectors_of_their_own(estimator, model, context_of):
    def result(seed):
        metric = HessianTrace(samples=20, estimator=estimator, max_vectors=40, dtype="float64")
        return metric.measure(context_of(model, seed=seed))[0]

    first, second, again = result(1), result(2), result(1)
    assert first.value == again.value != second.value
    truth = full_hessian(context_of(model), 20).trace().item()
    for one in (first, second):
        assert abs(one.value - truth) <= 4 * one.standard_error
        assert one.details["estimator"] == estimator
        assert one.details["degrees_of_freedom"] > 1


def test_with_enough_products_the_trace_is_exact(model, context_of):
    context = context_of(model)
    (result,) = HessianTrace(samples=20, max_vectors=171, dtype="float64").measure(context)
    truth = full_hessian(context, 20).trace().item()
    assert result.value == pytest.approx(truth, rel=1e-9)
    assert (result.standard_error, result.status, result.details["stopped"]) == (0, "ok", "exact")
    assert result.details["error_kind"] == "exact"


@pytest.mark.parametrize("which", ["magnitude", "largest", "smallest"])
@pytest.mark.parametrize("block_size", [1, 3])
def test_several_eigenvalues_of_each_end(which, block_size, model, context_of):
    context = context_of(model)
    metric = HessianTopEigenvalue(
        k=3, which=which, block_size=block_size, samples=20, dtype="float64", tolerance=1e-6
    )
    (result,) = metric.measure(context)
    values = torch.linalg.eigvalsh(full_hessian(context, 20))
    order = {"magnitude": values.abs().argsort(descending=True), "smallest": torch.arange(171)}
    truth = values[order.get(which, torch.arange(171).flip(0))[:3]].numpy()
    found, errors = result.arrays["eigenvalues"], result.arrays["errors"]
    assert (abs(found - truth) <= errors + 1e-9).all()
    assert result.status == "ok"
    assert result.value == found[0]
    assert result.details["products"] == result.n == len(result.arrays["ritz_values"])


def test_power_iteration_is_not_asked_for_what_it_cannot():
    with pytest.raises(ValidationError, match="use backend llt"):
        HessianTopEigenvalue(backend="pyhessian", k=2)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("metric", BOTH)
def test_not_a_number_is_a_status(metric, backend, model, context_of):
    with torch.no_grad():
        model[-1].bias[0] = math.nan
    instance = metric.minimal().model_copy(update={"backend": backend})
    (result,) = instance.measure(context_of(model))
    assert (result.value, result.standard_error, result.status) == (None, None, "not_finite")


@pytest.mark.parametrize("metric", BOTH)
def test_without_trainable_parameters_it_is_undefined(metric, model, context_of):
    (result,) = metric().measure(context_of(model.requires_grad_(False)))
    assert (result.value, result.status) == (None, "undefined")
    assert "no trainable parameter" in result.details["reason"]


@pytest.mark.parametrize("metric", BOTH)
def test_limits_are_said(metric, model, context_of):
    field = "max_vectors" if metric is HessianTrace else "max_steps"
    (result,) = metric(samples=20, tolerance=1e-9, **{field: 4}).measure(context_of(model))
    assert (result.status, result.details["stopped"]) == ("limit", "limit")
    assert result.details["products"] == 4
    assert result.standard_error > 0


@pytest.mark.parametrize("metric", BOTH)
def test_progress_is_reported(metric, model, context_of):
    heard = []
    context = context_of(model, report=lambda done, total: heard.append((done, total)))
    (result,) = metric(samples=8).measure(context)
    assert heard == [(i + 1, 100) for i in range(result.details["products"])]


@pytest.mark.parametrize("metric", BOTH)
def test_what_it_refuses(metric, model, context_of):
    image = context_of(model).task.describe()
    assert metric().refuses(image) is None
    assert "'validation'" in metric(split="validation").refuses(image)
    assert metric(split="test").splits() == ("test",)
    with pytest.raises(RequestError, match="'validation'"):
        metric(split="validation").measure(context_of(model))
    with pytest.raises(ValidationError):
        metric(samples=0)
    with pytest.raises(ValidationError):
        metric(backend="other")


@pytest.mark.parametrize("metric", BOTH)
def test_cost_grows_with_the_samples(metric, model, context_of):
    task = context_of(model).task.describe()
    assert 0 < metric.minimal().cost(task) < metric().cost(task) < metric(samples=None).cost(task)


def test_the_modules_do_not_import_torch():
    code = (
        "import sys, llt_plugins.metrics.scores, llt_plugins.metrics.hessian;"
        "import llt_plugins.metrics.spectrum, llt_plugins.metrics.layer_trace;"
        "import llt_plugins.metrics.frobenius, llt_plugins.metrics.sharpness;"
        "import llt_plugins.metrics.gradient;"
        "sys.exit('torch' in sys.modules or 'pyhessian' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


class Forgetful(torch.autograd.Function):
    """A product whose gradient is right and forgets that it depends on the scale."""

    @staticmethod
    def forward(ctx, x, scale):
        ctx.save_for_backward(x, scale)
        return x * scale

    @staticmethod
    def backward(ctx, slope):
        x, scale = ctx.saved_tensors
        return slope * scale.detach(), (slope * x).sum(0)


class Scaled(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model, self.scale = model, torch.nn.Parameter(torch.tensor([1.0, 2.0, 3.0]))

    def forward(self, x):
        return Forgetful.apply(self.model(x), self.scale)


@pytest.mark.parametrize("metric", BOTH)
def test_a_matrix_that_is_not_symmetric_has_no_curvature(metric, model, context_of):
    (result,) = metric(samples=30, dtype="float64").measure(context_of(Scaled(model)))
    assert (result.value, result.status) == (None, "undefined")
    assert "not symmetric" in result.details["reason"]
