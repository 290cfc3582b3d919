"""Spectrum, layer traces, norms, sharpness: exact answers, shared work, statuses."""

from __future__ import annotations

import copy
import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call

from llt_core.interfaces import MeasureContext
from llt_plugins.curvature.operators.hessian import HessianOperator
from llt_plugins.metrics.frobenius import HessianFrobenius
from llt_plugins.metrics.gauss_newton import GaussNewtonTrace
from llt_plugins.metrics.gradient import GradientNorm
from llt_plugins.metrics.hessian import HessianTopEigenvalue, HessianTrace
from llt_plugins.metrics.layer_trace import HessianLayerTrace
from llt_plugins.metrics.sharpness import Sharpness
from llt_plugins.metrics.spectrum import HessianSpectrum

CURVATURE = [HessianSpectrum, HessianLayerTrace, HessianFrobenius, HessianTrace, GaussNewtonTrace]
ALL = [*CURVATURE, GradientNorm, Sharpness]


def twin(context: MeasureContext, samples: int | None = None):
    """The loss in float64 as a function of the flat parameters, and these."""
    model = context.model
    (batch,) = context.batches("train", samples)
    batch = batch.to(dtype=torch.float64)
    named = {k: p.detach().double() for k, p in model.named_parameters()}
    buffers = {k: b.double() if b.is_floating_point() else b for k, b in model.named_buffers()}
    sizes = [p.numel() for p in named.values()]

    def loss(flat):
        parts = flat.split(sizes)
        new = {k: part.view(p.shape) for part, (k, p) in zip(parts, named.items(), strict=True)}
        return context.task.loss(functional_call(model, (new, buffers), batch.inputs), batch)

    return loss, torch.cat([p.reshape(-1) for p in named.values()])


@pytest.fixture
def matrix(model, context_of):
    return torch.autograd.functional.hessian(*twin(context_of(model))).numpy()


@pytest.mark.parametrize(("vectors", "steps"), [(14, 12), (5, 30)])
def test_the_spectrum_is_that_of_the_matrix(vectors, steps, model, context_of, matrix):
    metric = HessianSpectrum(
        samples=None, dtype="float64", vectors=vectors, steps=steps, points=4001
    )
    (result,) = metric.measure(context_of(model))
    values = np.linalg.eigvalsh(matrix)
    truth = -values[values < 0].sum() / np.abs(values).sum()
    assert abs(result.value - truth) <= 3 * result.standard_error < 0.3
    details, arrays = result.details, result.arrays
    assert abs(details["mean_eigenvalue"] - values.mean()) <= 4 * details["mean_eigenvalue_error"]
    assert np.trapezoid(arrays["density"], arrays["eigenvalue"]) == pytest.approx(1, abs=1e-3)
    assert details["products"] == vectors * steps


def test_with_as_many_products_as_parameters_it_is_exact(model, context_of, matrix):
    metric = HessianSpectrum(samples=None, dtype="float64", vectors=10, steps=20)
    (result,) = metric.measure(context_of(model))
    values = np.linalg.eigvalsh(matrix)
    assert (result.details["stopped"], result.standard_error) == ("exact", 0)
    assert result.value == pytest.approx(-values[values < 0].sum() / np.abs(values).sum())
    assert result.arrays["nodes"][0] == pytest.approx(values, abs=1e-9)


@pytest.mark.parametrize("vectors", [40, 200])
@pytest.mark.parametrize("level", ["layer", "block"])
def test_layer_traces_are_those_of_the_blocks(level, vectors, model, context_of, matrix):
    context = context_of(model)
    metric = HessianLayerTrace(samples=None, dtype="float64", vectors=vectors, level=level)
    (result,) = metric.measure(context)
    # Layers 0, 1, 6, 8 own parameters; blocks are the top-level modules here.
    ends = np.cumsum([0, 40, 8, 102, 21])[: len(result.arrays["traces"]) + 1]
    truth = np.array([np.trace(matrix[a:b, a:b]) for a, b in pairwise(ends)])
    traces, errors = result.arrays["traces"], result.arrays["errors"]
    assert (abs(traces - truth) <= 4 * errors + 1e-9).all()
    assert result.arrays["sizes"].tolist() == [40, 8, 102, 21]
    assert result.details["layers"] == ["0", "1", "6", "8"]
    largest = int(np.abs(traces).argmax())
    assert result.value == traces[largest]
    assert result.details["largest"] == result.details["layers"][largest]
    assert result.details["total"] == pytest.approx(traces.sum())
    assert result.details["stopped"] == ("exact" if vectors == 200 else "steps")


@pytest.mark.parametrize("max_vectors", [60, 200])
def test_the_frobenius_norm_is_that_of_the_matrix(max_vectors, model, context_of, matrix):
    metric = HessianFrobenius(samples=None, dtype="float64", max_vectors=max_vectors)
    (result,) = metric.measure(context_of(model))
    assert abs(result.value - np.linalg.norm(matrix)) <= 4 * result.standard_error + 1e-9
    assert (result.standard_error == 0) == (max_vectors == 200)


@pytest.mark.parametrize("max_vectors", [60, 200])
def test_the_gauss_newton_trace_is_that_of_the_fisher_information(max_vectors, model, context_of):
    context = context_of(model)
    metric = GaussNewtonTrace(
        samples=None, batch_size=9, dtype="float64", max_vectors=max_vectors, tolerance=1e-9
    )
    (result,) = metric.measure(context)
    # E_x Σ_y p(y|x) ‖∇ log p(y|x)‖², from its definition, one label and example at a time.
    twin64 = copy.deepcopy(model).double()
    (batch,) = context.batches("train")
    truth = 0.0
    for image in batch.inputs.double():
        scores = twin64(image[None])[0].log_softmax(0)
        for score in scores:
            slopes = torch.autograd.grad(score, list(twin64.parameters()), retain_graph=True)
            squares = sum(slope.square().sum() for slope in slopes)
            truth += (score.exp() * squares).item() / len(batch.inputs)
    assert abs(result.value - truth) <= 4 * result.standard_error + 1e-9 * truth
    assert (result.standard_error == 0) == (max_vectors == 200)


@pytest.mark.parametrize("batch_size", [256, 7])
def test_the_gradient_norm_is_exact(batch_size, model, context_of):
    context = context_of(model)
    loss, flat = twin(context)
    flat.requires_grad_(True)
    (slope,) = torch.autograd.grad(loss(flat), flat)
    metric = GradientNorm(samples=None, batch_size=batch_size, dtype="float64")
    (result,) = metric.measure(context)
    assert result.value == pytest.approx(slope.norm().item(), rel=1e-10)
    assert result.standard_error == 0
    assert result.details["loss"] == pytest.approx(loss(flat).item(), rel=1e-12)


@pytest.mark.parametrize("adaptive", [False, True])
def test_sharpness_is_its_formula(adaptive, model, context_of):
    context = context_of(model)
    loss, flat = twin(context)
    flat.requires_grad_(True)
    (slope,) = torch.autograd.grad(loss(flat), flat)
    scale = flat.detach().abs() if adaptive else torch.ones_like(slope)
    step = 0.1 * scale**2 * slope / (scale * slope).norm()
    assert (step[scale > 0] / scale[scale > 0]).norm().item() == pytest.approx(0.1)
    metric = Sharpness(samples=None, radius=0.1, adaptive=adaptive, dtype="float64")
    (result,) = metric.measure(context)
    truth = (loss(flat + step) - loss(flat)).item()
    assert result.value == pytest.approx(truth, rel=1e-8)
    assert result.arrays["loss"][0] == pytest.approx(loss(flat).item())
    (longer,) = metric.model_copy(update={"steps": 5}).measure(context)
    assert len(longer.arrays["loss"]) == 6
    assert (np.diff(longer.arrays["loss"]) > 0).all()


def test_adaptive_sharpness_needs_a_weight_that_moves(model, context_of):
    """Relative to weights that are all zero there is no way up, whatever the gradient is."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    metric = Sharpness(samples=None, adaptive=True)
    (result,) = metric.measure(context_of(model))
    assert (result.value, result.status) == (None, "undefined")
    assert "at every weight that is not zero" in result.details["reason"]
    (plain,) = metric.model_copy(update={"adaptive": False}).measure(context_of(model))
    assert plain.status == "ok"
    assert plain.value > 0


def test_a_way_up_that_ends_is_undefined(context_of):
    """The first step leaves the one sample's slope for a plateau: the rest of ρ goes nowhere."""

    class Step(nn.Module):
        def __init__(self):
            super().__init__()
            self.height = nn.Parameter(torch.tensor(-0.01))

        def forward(self, x):
            flat = x.flatten(1)[:, :1] * 0 + self.height.clamp(max=0.0)
            return torch.cat([-flat, flat, flat], dim=1)

    metric = Sharpness(split="train", samples=None, radius=0.1, steps=4)
    context = context_of(Step().eval())
    context.splits["train"].targets.zero_()
    (result,) = metric.measure(context)
    assert (result.value, result.status) == (None, "undefined")
    assert "on the way" in result.details["reason"]


def test_metrics_of_one_model_share_their_products(model, context_of, monkeypatch):
    counted = []
    plain = HessianOperator.matvec

    def counting(self, vector):
        counted.append(1)
        return plain(self, vector)

    monkeypatch.setattr(HessianOperator, "matvec", counting)
    context = context_of(model)
    options = {"samples": 20, "dtype": "float64"}
    HessianTrace(**options, tolerance=1e-9, max_vectors=60).measure(context)
    assert len(counted) == 60
    HessianFrobenius(**options, tolerance=1e-9, max_vectors=60).measure(context)
    HessianLayerTrace(**options, vectors=24).measure(context)
    HessianTopEigenvalue(**options, max_steps=15).measure(context)
    assert len(counted) == 60
    HessianTopEigenvalue(**options, max_steps=18, tolerance=1e-15).measure(context.fresh(3))
    assert len(counted) == 63


@pytest.mark.parametrize("metric", [*ALL, HessianTopEigenvalue])
def test_what_is_measured_beside_changes_nothing(metric, model, context_of):
    own = {HessianSpectrum: {"vectors": 2, "steps": 12}, HessianTopEigenvalue: {"k": 2}}
    instance = metric(samples=20, **own.get(metric, {}))
    alone = instance.measure(context_of(model))
    crowded = context_of(model)
    HessianTopEigenvalue(samples=20, max_steps=40, tolerance=1e-15).measure(crowded)
    HessianTrace(samples=20, tolerance=1e-9).measure(crowded)
    HessianLayerTrace(samples=20, vectors=50).measure(crowded)
    beside = instance.measure(crowded.fresh(seed=99))
    for one, other in zip(alone, beside, strict=True):
        assert one.model_dump() == other.model_dump()
        assert one.arrays.keys() == other.arrays.keys()
        for name, values in one.arrays.items():
            assert np.array_equal(values, other.arrays[name]), name


@pytest.mark.parametrize("metric", ALL)
def test_not_a_number_is_a_status(metric, model, context_of):
    with torch.no_grad():
        model[-1].bias[0] = math.nan
    for result in metric.minimal().measure(context_of(model)):
        assert (result.value, result.standard_error, result.status) == (None, None, "not_finite")


@pytest.mark.parametrize("metric", ALL)
def test_without_trainable_parameters_it_is_undefined(metric, model, context_of):
    for result in metric().measure(context_of(model.requires_grad_(False))):
        assert (result.value, result.status) == (None, "undefined")
        assert "no trainable parameter" in result.details["reason"]


@pytest.mark.parametrize("metric", ALL)
def test_a_constant_loss_is_flat_or_undefined(metric, model, context_of):
    class Constant(nn.Module):
        def __init__(self):
            super().__init__()
            self.idle = nn.Parameter(torch.ones(400))

        def forward(self, x):
            return x.new_zeros(len(x), 3)

    for result in metric(samples=10).measure(context_of(Constant().eval())):
        if metric in (HessianSpectrum, Sharpness):
            assert (result.value, result.status) == (None, "undefined")
        else:
            assert (result.value, result.standard_error, result.status) == (0.0, 0.0, "ok")


@pytest.mark.parametrize("metric", ALL)
def test_figures_name_arrays_that_are_there(metric, model, context_of):
    results = metric(samples=10).measure(context_of(model))
    for result in results:
        for figure in result.figures:
            assert set(figure.arrays) <= set(result.arrays)
        assert all(np.isfinite(values).all() for values in result.arrays.values())
    assert any(result.figures for result in results) == (
        metric not in (HessianFrobenius, GradientNorm)
    )


def test_the_graphs_of_one_operator_are_kept_at_a_time(model, context_of):
    context = context_of(model)
    operators = []
    for metric in (HessianTrace.minimal(), GaussNewtonTrace.minimal()):
        metric.measure(context)
        operators.append(metric.shared(context, metric.matrix).operator)
    assert operators[0].retained == 0 < operators[1].retained


def test_products_in_torchs_own_way_are_told(model, context_of):
    class Refusing(nn.Conv2d):
        def forward(self, x):
            y = super().forward(x)
            if y.grad_fn is not None and "ConvolutionBackward0" not in y.grad_fn.name():
                raise RuntimeError("not this one")
            return y

    (fast,) = HessianTrace(samples=8).measure(context_of(model))
    assert "plain_products" not in fast.details
    refusing = copy.deepcopy(model)
    refusing[0].__class__ = Refusing
    (slow,) = HessianTrace(samples=8).measure(context_of(refusing))
    assert "not this one" in slow.details["plain_products"]
    assert slow.value == pytest.approx(fast.value, rel=1e-3)
