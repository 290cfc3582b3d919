"""Lines, surfaces and planes as metrics: right numbers, honest words, an untouched model."""

from __future__ import annotations

import functools
import math
import warnings

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from llt_core.testing import MetricConformance
from llt_core.testing.checks import assert_unchanged, model_state, random_state
from llt_plugins.curvature.operators.hessian import HessianOperator
from llt_plugins.metrics.hessian import HessianTopEigenvalue
from llt_plugins.metrics.loss_line import LossLine
from llt_plugins.metrics.loss_plane import LossPlane
from llt_plugins.metrics.loss_surface import LossSurface
from llt_plugins.metrics.scores import TestLoss, TrainLoss
from llt_plugins.surfaces import directions

AROUND = [LossLine, LossSurface]
ALL = [*AROUND, LossPlane]


class TestLossLineByHessianConformance(MetricConformance):
    component = LossLine(samples=16, points=3, directions="hessian")


class TestLossLineRecalibratedConformance(MetricConformance):
    component = LossLine(samples=16, points=3, batch_norm="recalibrate", recalibration_samples=16)


class TestLossSurfaceConformance(MetricConformance):
    component = LossSurface(samples=16, points=3, split="test")


class TestLossSurfaceByHessianConformance(MetricConformance):
    component = LossSurface(samples=16, points=3, directions="hessian")


def build(seed=0, batch_norm=True):
    """Conv, batch norm, linear, in eval mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1),
            nn.BatchNorm2d(4) if batch_norm else nn.Identity(),
            nn.Tanh(),
            nn.Flatten(),
            nn.Linear(64, 3),
        )
        if batch_norm:
            model[1].running_mean.normal_()
    return model.eval()


def set_of(context_of, *models, **more):
    context = context_of(models[0], **more)
    return type(context)(
        context.task, models, context.splits, context.seed, context.sample_seed, context.device
    )


def minimal(metric, **more):
    return metric.minimal().model_copy(update=more)


def inputs(metric, context_of, **more):
    count = 3 if metric is LossPlane else 1
    return set_of(context_of, *(build(seed) for seed in range(count)), **more)


@pytest.mark.parametrize("metric", AROUND)
@pytest.mark.parametrize(("split", "plain"), [("train", TrainLoss), ("test", TestLoss)])
def test_the_middle_is_the_models_own_loss(metric, split, plain, context_of):
    context = context_of(build())
    result = metric(samples=None, split=split, points=3).measure(context)[0]
    (own,) = plain().measure(context)
    middle = result.arrays["loss"][1]
    middle = middle[1] if metric is LossSurface else middle
    assert middle == pytest.approx(own.value, rel=1e-6)
    assert result.details["split"] == split
    assert result.details["samples"] == len(context.splits[split])


def test_the_line_is_what_its_arrays_say(context_of):
    metric = LossLine(points=5, radius=0.4, directions_count=4, samples=None)
    rise, bend = metric.measure(context_of(build(), seed=3))
    losses, x = rise.arrays["losses"], rise.arrays["position"]
    assert losses.shape == (4, 5)
    np.testing.assert_allclose(x, [-0.4, -0.2, 0, 0.2, 0.4])
    rises = 0.5 * (losses[:, 0] + losses[:, 4]) - losses[:, 2]
    bends = (losses[:, 3] - 2 * losses[:, 2] + losses[:, 1]) / 0.2**2
    for result, values in ((rise, rises), (bend, bends)):
        assert result.value == pytest.approx(values.mean(), rel=1e-9)
        assert result.standard_error == pytest.approx(values.std(ddof=1) / 2, rel=1e-9)
        assert (result.n, result.counted, result.status) == (4, "directions", "ok")
        assert result.details["error_kind"] == "standard error over directions"
    np.testing.assert_allclose(rise.arrays["loss"], losses.mean(0))
    np.testing.assert_allclose(rise.arrays["loss_error"], losses.std(0, ddof=1) / 2)
    assert {name for figure in rise.figures for name in figure.arrays} <= set(rise.arrays)


def test_the_curvature_along_the_leading_eigenvector_is_the_eigenvalue(context_of):
    context = context_of(build())
    metric = LossLine(directions="hessian", radius=1e-3, points=3, samples=None, dtype="float64")
    _, bend = metric.measure(context)
    (top,) = HessianTopEigenvalue(samples=None, dtype="float64", tolerance=1e-4).measure(context)
    assert bend.value == pytest.approx(top.value, rel=2e-3)
    assert bend.details["eigenvalue"] == pytest.approx(top.value, rel=2e-3)
    assert bend.n == 1


def test_the_surface_of_the_leading_eigenvectors_is_a_paraboloid(context_of):
    context = context_of(build())
    metric = LossSurface(directions="hessian", radius=1e-3, points=3, samples=None, dtype="float64")
    (result,) = metric.measure(context)
    loss, (first, second) = result.arrays["loss"], result.arrays["eigenvalues"]
    along_x = (loss[1, 2] - 2 * loss[1, 1] + loss[1, 0]) / 1e-6
    along_y = (loss[2, 1] - 2 * loss[1, 1] + loss[0, 1]) / 1e-6
    assert along_x == pytest.approx(first, rel=2e-3)
    assert along_y == pytest.approx(second, rel=2e-2)
    assert abs(first) >= abs(second)
    mixed = (loss[2, 2] - loss[2, 0] - loss[0, 2] + loss[0, 0]) / 4e-6
    assert abs(mixed) < 0.02 * abs(first)


@pytest.mark.parametrize("metric", AROUND)
def test_an_eigenvector_that_was_not_found_is_said(metric, context_of, monkeypatch):
    instance = minimal(metric, directions="hessian")
    assert instance.measure(context_of(build()))[0].status == "ok"
    hurried = functools.partial(directions.leading_eigenvectors, tolerance=1e-12, max_steps=2)
    monkeypatch.setattr(directions, "leading_eigenvectors", hurried)
    assert instance.measure(context_of(build()))[0].status == "limit"


def test_the_surface_rise_is_the_mean_over_the_disc(context_of):
    (result,) = LossSurface(points=5, radius=2.0, samples=30).measure(context_of(build()))
    loss = result.arrays["loss"]
    x, y = np.meshgrid(result.arrays["x"], result.arrays["y"])
    inside = x**2 + y**2 <= 4.0001
    assert inside.sum() == result.n == 13
    assert result.value == pytest.approx((loss[inside] - loss[2, 2]).mean(), rel=1e-9)
    assert result.standard_error > 0
    assert result.details["error_kind"] == "sampling of the examples"
    (whole,) = LossSurface(points=3, samples=None).measure(context_of(build()))
    assert whole.standard_error == 0
    assert whole.details["error_kind"] == "exact over the split"


def test_the_plane_passes_through_its_models(context_of):
    models = [build(seed, batch_norm=False) for seed in range(4)]
    context = set_of(context_of, *models)
    metric = LossPlane(samples=None, models=(3, 0, 2), dtype="float64", points=4)
    (result,) = metric.measure(context)
    own = [TrainLoss().measure(context_of(models[i]))[0].value for i in (3, 0, 2)]
    np.testing.assert_allclose(result.arrays["corner_loss"], own, rtol=1e-6)
    np.testing.assert_allclose(result.arrays["corner_loss_stored"], own, rtol=1e-6)
    mean = build(3, batch_norm=False)
    with torch.no_grad():
        for name, parameter in mean.named_parameters():
            parameter.copy_(sum(models[i].get_parameter(name) for i in (3, 0, 2)) / 3)
    centroid = TrainLoss().measure(context_of(mean))[0].value
    assert result.value == pytest.approx(centroid - np.mean(own), rel=1e-5)
    corners = result.arrays["corners"]
    for axis, k in (("x", 0), ("y", 1)):
        extent = np.ptp(corners[:, k])
        assert result.arrays[axis][0] == pytest.approx(corners[:, k].min() - 0.25 * extent)
        assert result.arrays[axis][-1] == pytest.approx(corners[:, k].max() + 0.25 * extent)
    assert result.arrays["loss"].shape == (4, 4)


def test_batch_norm_of_the_plane_is_estimated_anew(context_of):
    context = inputs(LossPlane, context_of)
    (result,) = minimal(LossPlane, samples=None).measure(context)
    own = [TrainLoss().measure(context_of(model))[0].value for model in context.models]
    np.testing.assert_allclose(result.arrays["corner_loss_stored"], own, rtol=1e-6)
    assert np.abs(result.arrays["corner_loss"] - own).max() > 1e-3
    (stored,) = minimal(LossPlane, samples=None, batch_norm="stored").measure(context)
    assert stored.arrays["corner_loss"][0] == pytest.approx(own[0], rel=1e-6)


def test_planes_that_do_not_exist_are_undefined(context_of):
    first, second = build(0), build(1)
    for models, reason in (
        ((first, second), "the cell has 2 models"),
        ((first, second, first), "on one line"),
        ((first, second, nn.Sequential(nn.Flatten(), nn.Linear(16, 3))), "do not match"),
        (tuple(nn.Sequential(nn.Flatten(), nn.Identity()) for _ in range(3)), "no parameters"),
    ):
        (result,) = LossPlane.minimal().measure(set_of(context_of, *models))
        assert (result.value, result.status) == (None, "undefined")
        assert reason in result.details["reason"]


@pytest.mark.parametrize("metric", AROUND)
def test_recalibration_changes_what_is_far_away(metric, context_of):
    stored, anew = (
        minimal(metric, batch_norm=kind).measure(context_of(build()))[0]
        for kind in ("stored", "recalibrate")
    )
    assert abs(stored.value - anew.value) > 1e-4
    assert anew.details["recalibration_samples"] == 1000
    assert "recalibration_samples" not in stored.details
    assert metric(split="test", batch_norm="recalibrate").splits() == ("test", "train")
    assert metric(split="test").splits() == ("test",)


@pytest.mark.parametrize("more", [{}, {"directions": "hessian"}, {"batch_norm": "recalibrate"}])
@pytest.mark.parametrize("metric", ALL)
def test_models_and_the_global_generator_stay_as_they_were(metric, more, context_of):
    context = inputs(metric, context_of)
    context.models[0].train()[1].eval()
    for parameter in context.models[0].parameters():
        parameter.grad = torch.full_like(parameter, 7.0)
    before = [model_state(model) for model in context.models], random_state()
    fields = {k: v for k, v in more.items() if k in metric.model_fields}
    minimal(metric, **fields).measure(context)
    for old, model in zip(before[0], context.models, strict=True):
        assert_unchanged(old, model_state(model), metric.__name__, "leave it")
    assert_unchanged(before[1], random_state(), metric.__name__, "leave it")


@pytest.mark.parametrize("metric", ALL)
def test_seeds_choose_directions_and_samples(metric, context_of):
    def value(**seeds):
        return metric.minimal().measure(inputs(metric, context_of, **seeds))[0].value

    assert value(seed=1) == value(seed=1)
    assert value(sample_seed=1) != value(sample_seed=2)
    # the plane has no random direction
    assert (value(seed=1) == value(seed=2)) == (metric is LossPlane)


@pytest.mark.parametrize("kind", ["filter", "hessian"])
@pytest.mark.parametrize("metric", ALL)
def test_not_a_number_is_a_status(metric, kind, context_of):
    context = inputs(metric, context_of)
    with torch.no_grad():
        context.models[-1][4].bias[0] = math.nan
    more = {"directions": kind} if metric in AROUND else {}
    more["samples"] = None
    for result in minimal(metric, **more).measure(context):
        assert (result.value, result.standard_error, result.status) == (None, None, "not_finite")


@pytest.mark.parametrize("metric", AROUND)
def test_a_loss_that_overflows_far_away_is_not_finite(metric, context_of):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        instance = minimal(metric, radius=1e39, samples=None)
        result = instance.measure(context_of(build(batch_norm=False)))[0]
    assert (result.value, result.standard_error, result.status) == (None, None, "not_finite")
    assert not np.isfinite(result.arrays["loss"]).all()
    assert np.isfinite(result.arrays["loss"]).any()
    assert "the loss is not finite at" in result.details["reason"]


@pytest.mark.parametrize("metric", AROUND)
def test_without_trainable_parameters_it_is_undefined(metric, context_of):
    results = metric.minimal().measure(context_of(build().requires_grad_(False)))
    assert len(results) == len(metric.returns)
    for result in results:
        assert result.status == "undefined"
        assert "no trainable parameter" in result.details["reason"]


@pytest.mark.parametrize("kind", ["filter", "layer"])
@pytest.mark.parametrize("metric", AROUND)
def test_a_direction_of_length_zero_is_undefined(metric, kind, context_of):
    """Nothing moves along it, which says nothing about the loss."""
    model = build()
    with torch.no_grad():
        for layer in (model[0], model[4]):
            layer.weight.zero_()
    instance = minimal(metric, directions=kind)
    for result in instance.measure(context_of(model)):
        assert (result.value, result.status) == (None, "undefined")
        assert "no weight that is not zero" in result.details["reason"]
    moved = instance.model_copy(update={"biases": True}).measure(context_of(model))
    assert moved[0].status == "ok"
    assert moved[0].value != 0


def test_without_matrices_random_directions_move_nothing(context_of):
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    model[1].weight.requires_grad_(False)
    for result in minimal(LossLine, directions="random").measure(context_of(model.eval())):
        assert (result.value, result.status) == (None, "undefined")


def test_eigenvectors_are_those_of_the_other_hessian_metrics(context_of, monkeypatch):
    """One operator and one sequence a block size, and numbers that do not depend on company."""
    products = []
    plain = HessianOperator.matvec
    monkeypatch.setattr(
        HessianOperator, "matvec", lambda self, v: products.append(1) or plain(self, v)
    )
    metrics = [
        LossLine(directions="hessian", points=3, samples=200, batch_size=256),
        HessianTopEigenvalue(),
        LossSurface(directions="hessian", points=3, samples=200, batch_size=256),
        HessianTopEigenvalue(k=2, block_size=2),
    ]

    def taken(context, metric):
        before = len(products)
        return metric.measure(context), len(products) - before

    alone = [taken(context_of(build()), metric) for metric in metrics]
    assert alone[0][1] >= 6
    together = context_of(build())
    for metric, (results, count) in zip(metrics, alone, strict=True):
        found, more = taken(together.fresh(seed=together.seed), metric)
        assert [r.value for r in found] == [r.value for r in results]
        assert more == (0 if isinstance(metric, HessianTopEigenvalue) else count)


@pytest.mark.parametrize("metric", ALL)
def test_costs_and_refusals(metric, context_of):
    task = context_of(build()).task.describe()
    costs = [m.cost(task) for m in (metric.minimal(), metric(), metric(samples=None))]
    assert 0 < costs[0] < costs[1] < costs[2]
    assert "'validation'" in metric(split="validation").refuses(task)
    wrong = [{"samples": 0}]
    wrong += [{"models": (0, 1, 1)}] if metric is LossPlane else [{"points": 4}, {"radius": 0}]
    for fields in wrong:
        with pytest.raises(ValidationError):
            metric(**fields)


def test_the_hessian_costs_more(context_of):
    task = context_of(build()).task.describe()
    for metric in AROUND:
        one = metric(directions="hessian", points=3).cost(task)
        assert one > metric(points=3).model_copy(update={"directions_count": 1}).cost(task)
