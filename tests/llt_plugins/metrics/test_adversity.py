"""Broken, collapsed and unlike models, splits of any size: a named reason, never a wrong number."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from llt_core.interfaces import MeasureContext, RequestError
from llt_core.testing.samples import TinyImages
from llt_plugins.metrics.agreement import Agreement, JsDivergence, LogitCosine, PredictionChurn
from llt_plugins.metrics.calibration import CalibrationError
from llt_plugins.metrics.cka import Cka
from llt_plugins.metrics.distance import L2Distance
from llt_plugins.metrics.ensemble import EnsembleAccuracy, EnsembleGain
from llt_plugins.metrics.frobenius import HessianFrobenius
from llt_plugins.metrics.gauss_newton import GaussNewtonTrace
from llt_plugins.metrics.gradient import GradientNorm
from llt_plugins.metrics.hessian import HessianTopEigenvalue, HessianTrace
from llt_plugins.metrics.layer_trace import HessianLayerTrace
from llt_plugins.metrics.linear_connectivity import LinearConnectivity
from llt_plugins.metrics.loss_line import LossLine
from llt_plugins.metrics.loss_plane import LossPlane
from llt_plugins.metrics.loss_surface import LossSurface
from llt_plugins.metrics.mode_connectivity import ModeConnectivity
from llt_plugins.metrics.scores import TestLoss
from llt_plugins.metrics.sharpness import Sharpness
from llt_plugins.metrics.spectrum import HessianSpectrum
from llt_plugins.metrics.weight_spectrum import WeightSpectrum

TASK = TinyImages()
COUNT = {"model": 1, "pair": 2, "set": 3}
CURVATURE = [
    metric.minimal()
    for metric in (
        HessianTrace, HessianTopEigenvalue, HessianSpectrum, HessianFrobenius, HessianLayerTrace,
        GaussNewtonTrace, GradientNorm, Sharpness,
    )
]  # fmt: skip
METRICS = CURVATURE + [
    metric.minimal()
    for metric in (
        Agreement, JsDivergence, LogitCosine, PredictionChurn, CalibrationError, Cka, L2Distance,
        EnsembleAccuracy, EnsembleGain, LinearConnectivity, ModeConnectivity, LossLine,
        LossPlane, LossSurface, WeightSpectrum,
    )
]  # fmt: skip
READING = [metric for metric in METRICS if metric.splits()]
RECALIBRATING = [
    LossLine(points=3, directions_count=2, batch_norm="recalibrate"),
    LossSurface(points=3, batch_norm="recalibrate"),
    LossPlane(points=2),
    LinearConnectivity(points=3),
    ModeConnectivity(points=3, epochs=1),
]


def short(metric):
    return type(metric).__name__


def network(seed=0, width=6):
    """A perceptron with batch norm over a flat axis, which refuses minibatches of one."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(
            nn.Flatten(), nn.Linear(192, width), nn.BatchNorm1d(width), nn.ReLU(),
            nn.Linear(width, 4),
        )  # fmt: skip
        model[2].running_mean.normal_()
    return model.eval()


def context_of(metric, *models, **splits):
    found = models or [network(seed) for seed in range(COUNT[metric.scope])]
    return MeasureContext(TASK, tuple(found), TASK.tiny() | splits, sample_seed=3)


@pytest.mark.parametrize("metric", METRICS, ids=short)
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_the_reason_names_the_model_that_is_broken(metric, bad):
    context = context_of(metric)
    context.models[-1][1].weight.data[0, 0] = bad
    results = metric.measure(context)
    assert [result.name for result in results] == [q.name for q in metric.returns]
    blamed = {1: "1.weight|the model", 2: "second model", 3: "model 2 "}[len(context.models)]
    for result in results:
        assert (result.value, result.standard_error, result.status) == (None, None, "not_finite")
        assert any(name in result.details["reason"] for name in blamed.split("|"))


def test_statistics_that_are_not_finite_are_named_where_they_count():
    models = network(0), network(1)
    models[1][2].running_var[0] = math.nan
    context = context_of(LinearConnectivity(), *models)
    plain = LinearConnectivity(points=3, batch_norm="none").measure(context)[0]
    assert plain.status == "not_finite"
    assert plain.details["reason"] == "the train error is not finite at t = 0.5, 1"
    # Statistics that are estimated anew are whole again, and the stored end has no score.
    anew = LinearConnectivity(points=3).measure(context)[0]
    assert anew.status == "ok"
    ends = anew.details["ends"]["train_loss"]
    assert None not in ends["recalibrated"]
    assert ends["stored"][1] is None


@pytest.mark.parametrize("metric", CURVATURE, ids=short)
def test_curvature_names_what_is_not_finite_besides_the_weights(metric):
    model = network()
    model[2].running_var[0] = math.nan
    (result,) = metric.measure(context_of(metric, model))
    assert (result.value, result.standard_error, result.status) == (None, None, "not_finite")
    assert result.details["reason"] == (
        "the mean loss is nan; the buffer '2.running_var' has NaN or infinite entries"
    )
    model = network()
    model[4].weight.data.fill_(3e38)
    (result,) = metric.measure(context_of(metric, model))
    assert result.status == "not_finite"
    assert result.details["reason"] == "the mean loss is nan"


@pytest.mark.parametrize("metric", CURVATURE, ids=short)
def test_curvature_refuses_statistics_of_micro_batches(metric):
    model = network()
    model[2] = nn.BatchNorm1d(6, track_running_stats=False).eval()
    with pytest.raises(ValueError, match=r"'2' \(BatchNorm1d\) has no running statistics"):
        metric.model_copy(update={"batch_size": 8}).measure(context_of(metric, model))
    assert metric.measure(context_of(metric, model))[0].status in ("ok", "limit")


@pytest.mark.parametrize("metric", READING, ids=short)
def test_an_empty_split_is_named(metric):
    for split in metric.splits():
        empty = TASK.tiny()[split].subset(torch.arange(0))
        with pytest.raises(RequestError, match=f"'{split}' is empty"):
            metric.measure(context_of(metric, **{split: empty}))


@pytest.mark.parametrize("metric", RECALIBRATING, ids=short)
def test_minibatches_of_one_are_left_out_and_one_example_is_refused(metric):
    train = TASK.tiny()["train"]
    odd = metric.model_copy(update={"batch_size": 47})
    assert all(result.status == "ok" for result in odd.measure(context_of(metric)))
    with pytest.raises(ValueError, match="'train' holds one example, expected at least 2"):
        metric.measure(context_of(metric, train=train.subset(torch.tensor([0]))))


@pytest.mark.parametrize("metric", RECALIBRATING[:4], ids=short)
def test_the_statistics_do_not_depend_on_how_a_split_is_sorted(metric):
    """Minibatches of one class each would have too small variances."""
    train = TASK.tiny()["train"]
    metric = metric.model_copy(update={"batch_size": 12})
    by_class = train.subset(train.targets.argsort())

    def value(examples):
        results = metric.measure(context_of(metric, train=examples))
        continuous = (result for result in results if result.unit == "nats")
        return next(continuous).value

    shuffles = [
        value(train.subset(torch.randperm(48, generator=torch.Generator().manual_seed(k))))
        for k in range(6)
    ]
    low, high = min(shuffles), max(shuffles)
    assert low - (high - low) < value(by_class) < high + (high - low)


@pytest.mark.parametrize(
    "metric", [Agreement(), PredictionChurn(), EnsembleAccuracy(), TestLoss()], ids=short
)
def test_examples_that_all_say_the_same_leave_the_error_unknown(metric):
    models = [network(0) for _ in range(COUNT[metric.scope])]
    for model in models:
        model[4].weight.data.zero_()
        model[4].bias.data.copy_(torch.tensor([1.0, 0.0, 0.0, 0.0]))
    test = TASK.tiny()["test"]
    (result,) = metric.measure(
        context_of(metric, *models, test=test.with_targets(torch.zeros(24).long()))
    )
    assert (result.status, result.standard_error) == ("ok", None)
    assert (
        result.details["error_kind"] == "unknown: the terms do not differ, or belong to one example"
    )


def test_a_plane_of_unlike_models_names_them():
    models = network(0), network(1), network(2, width=5)
    (result,) = LossPlane().measure(context_of(LossPlane(), *models))
    assert result.status == "undefined"
    assert "(5, 192)" in result.details["reason"]
    assert "model 2 (counted from 0)" in result.details["reason"]
