"""Metrics of predictions and weights: values by hand, errors, statuses, one pass per model."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn.functional import one_hot

from llt_core.interfaces import MeasureContext, RequestError, TaskDescription, TensorExamples
from llt_core.testing.samples import TinyImages
from llt_plugins.metrics.agreement import Agreement, JsDivergence, LogitCosine, PredictionChurn
from llt_plugins.metrics.calibration import CalibrationError
from llt_plugins.metrics.distance import L2Distance
from llt_plugins.metrics.ensemble import EnsembleAccuracy, EnsembleGain
from llt_plugins.metrics.outputs import outputs

PAIRS = [Agreement, JsDivergence, LogitCosine, PredictionChurn]
OF_PREDICTIONS = [*PAIRS, CalibrationError, EnsembleAccuracy, EnsembleGain]


class Scripted(nn.Module):
    """Gives the scores it was told for example i, whose only pixel is i."""

    def __init__(self, logits) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.as_tensor(logits, dtype=torch.float32))
        self.examples = 0

    def forward(self, x):
        self.examples += len(x)
        return self.logits[x.reshape(-1).round().long()]


def predicting(classes, sureness=3.0):
    """A model that predicts these classes with one odds."""
    return Scripted(sureness * one_hot(torch.tensor(classes), 3))


def context_of(labels, *models, **more):
    count = len(labels)
    pixels = torch.arange(count, dtype=torch.float32).reshape(count, 1)
    split = TensorExamples(pixels, torch.tensor(labels))
    splits = {"train": split, "test": split}
    return MeasureContext(TinyImages(), tuple(models), splits, **more)


LABELS = [0, 0, 1, 1, 2]
FIRST, SECOND, THIRD = [0, 1, 1, 2, 2], [0, 0, 2, 2, 0], [1, 0, 1, 1, 0]


def test_agreement_by_hand():
    context = context_of(LABELS, predicting(FIRST), predicting(SECOND))
    (result,) = Agreement().measure(context)
    assert (result.value, result.unit, result.n) == (40.0, "percent", 5)
    assert result.standard_error == pytest.approx(100 * math.sqrt(0.4 * 0.6 / 4))
    (exact,) = Agreement(split="train").measure(context)
    assert (exact.value, exact.standard_error) == (40.0, 0.0)
    assert exact.details == {"split": "train", "error_kind": "exact over the split"}


def test_churn_counts_what_changes_between_right_and_wrong():
    # FIRST is right on 0, 2, 4; SECOND on 0, 1. Both are wrong on 3, and agree there.
    context = context_of(LABELS, predicting(FIRST), predicting(SECOND))
    (result,) = PredictionChurn().measure(context)
    assert result.value == pytest.approx(60.0)
    assert result.details["accuracies"] == [pytest.approx(60.0), pytest.approx(40.0)]
    assert result.details["if_independent"] == pytest.approx(100 * (0.6 * 0.6 + 0.4 * 0.4))
    wrong = context_of([0, 0, 0], predicting([1, 1, 1]), predicting([2, 2, 2]))
    assert PredictionChurn().measure(wrong)[0].value == 0.0
    assert Agreement().measure(wrong)[0].value == 0.0


def test_divergence_by_hand():
    sure = 200.0
    context = context_of(LABELS, predicting(FIRST, sure), predicting(SECOND, sure))
    (result,) = JsDivergence().measure(context)
    assert result.value == pytest.approx(0.6 * math.log(2))
    assert result.unit == "nats"
    assert result.standard_error == pytest.approx(math.log(2) * math.sqrt(0.4 * 0.6 / 4))


def test_cosine_by_hand():
    context = context_of(LABELS, predicting(FIRST), predicting(SECOND, 7.0))
    (result,) = LogitCosine(batch_size=2).measure(context)
    # Batches (0, 1) and (2, 3) agree on one of two examples each; the last example is left out.
    assert (result.value, result.n, result.counted) == (pytest.approx(0.5), 2, "batches")
    assert result.standard_error is None  # two equal batches say nothing of a third one
    (whole,) = LogitCosine().measure(context)
    assert (whole.value, whole.standard_error) == (pytest.approx(0.4), None)
    assert whole.details["batch_size"] == 5


def test_zero_logits_have_no_cosine():
    context = context_of(LABELS, predicting(FIRST), predicting(SECOND, 0.0))
    (result,) = LogitCosine(batch_size=2).measure(context)
    assert (result.value, result.status) == (None, "undefined")
    assert "all zero" in result.details["reason"]


def test_ensembles_by_hand():
    models = predicting(FIRST), predicting(SECOND), predicting(THIRD)
    context = context_of(LABELS, *models)
    # Votes: 0: (0,0,1) → 0; 1: (1,0,0) → 0; 2: (1,2,1) → 1; 3: (2,2,1) → 2; 4: (2,0,0) → 0.
    (accuracy,) = EnsembleAccuracy().measure(context)
    assert accuracy.value == pytest.approx(60.0)
    assert accuracy.details["accuracies"] == pytest.approx([60.0, 40.0, 60.0])
    assert accuracy.details["models"] == 3
    (gain,) = EnsembleGain().measure(context)
    assert gain.value == pytest.approx(60.0 - 160.0 / 3)
    differences = torch.tensor([1 - 2 / 3, 1 - 2 / 3, 1 - 2 / 3, 0 - 1 / 3, 0 - 1 / 3])
    paired = 100 * differences.std().item() / math.sqrt(5)
    assert gain.standard_error == pytest.approx(paired, rel=1e-5)
    assert EnsembleGain(split="train").measure(context)[0].standard_error == 0.0
    assert [model.examples for model in models] == [10, 10, 10]


def test_the_ensemble_averages_probabilities_not_votes():
    sure = Scripted([[9.0, 0.0, 0.0]])
    unsure = [Scripted([[0.0, 0.5, 0.0]]) for _ in range(2)]
    (result,) = EnsembleAccuracy().measure(context_of([0], sure, *unsure))
    assert result.value == 100.0
    assert result.standard_error is None


def test_one_model_has_no_gain():
    (result,) = EnsembleGain().measure(context_of(LABELS, predicting(FIRST)))
    assert (result.value, result.standard_error) == (0.0, None)


def test_calibration_by_hand():
    odds = math.e**3
    confidence = 100 * odds / (odds + 2)
    context = context_of(LABELS, predicting(FIRST))
    plain, adaptive, excess = CalibrationError(bins=1).measure(context)
    for result in (plain, adaptive):
        assert result.value == pytest.approx(confidence - 60.0)
        assert result.details["bins"] == 1
        assert result.details["floor"] > 0
        assert result.arrays["count"].tolist() == [5.0]
        assert result.arrays["accuracy"].tolist() == pytest.approx([60.0])
        (figure,) = result.figures
        assert all(name in result.arrays for name in figure.arrays)
    assert excess.value == pytest.approx(confidence - 60.0)
    assert excess.standard_error == pytest.approx(100 * math.sqrt(0.6 * 0.4 / 4))
    assert plain.standard_error == pytest.approx(excess.standard_error)
    assert CalibrationError(split="train").measure(context)[0].standard_error == 0.0


def test_an_underconfident_model_has_negative_overconfidence():
    context = context_of(LABELS, predicting(LABELS, 0.1))
    plain, _, excess = CalibrationError().measure(context)
    assert excess.value < -50
    assert plain.value == pytest.approx(-excess.value)


def test_all_metrics_share_one_pass_per_model():
    models = predicting(FIRST), predicting(SECOND), predicting(THIRD)
    context = context_of(LABELS, *models)
    for metric in PAIRS:
        for chosen in ((0, 1), (0, 2), (1, 2)):
            metric().measure(context.restricted(chosen))
    EnsembleGain().measure(context)
    CalibrationError().measure(context.restricted((1,)))
    assert [model.examples for model in models] == [5, 5, 5]


@pytest.mark.parametrize("metric", OF_PREDICTIONS)
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_scores_that_are_not_finite_are_a_status(metric, bad):
    models = [predicting(FIRST) for _ in range({"model": 1, "pair": 2, "set": 3}[metric.scope])]
    models[-1].logits.data[2, 0] = bad
    results = metric().measure(context_of(LABELS, *models))
    assert len(results) == len(metric.returns)
    for result in results:
        assert (result.value, result.standard_error, result.status) == (None, None, "not_finite")


@pytest.mark.parametrize("metric", OF_PREDICTIONS)
def test_one_class_and_collapsed_outputs_have_values(metric):
    models = [predicting([1] * 5) for _ in range({"model": 1, "pair": 2, "set": 3}[metric.scope])]
    for result in metric().measure(context_of([1] * 5, *models)):
        assert result.status == "ok"
        expected = {"agreement": 100.0, "logit_cosine": 1.0, "ensemble_accuracy": 100.0}
        if result.name in expected:
            assert result.value == pytest.approx(expected[result.name])


@pytest.mark.parametrize("metric", OF_PREDICTIONS)
def test_splits_are_named(metric):
    models = [predicting(FIRST) for _ in range({"model": 1, "pair": 2, "set": 3}[metric.scope])]
    context = context_of(LABELS, *models)
    with pytest.raises(RequestError, match="'validation'"):
        metric(split="validation").measure(context)
    context.splits = {"test": context.splits["test"].subset(torch.tensor([]).long())}
    with pytest.raises(RequestError, match="'test' is empty"):
        metric().measure(context)
    assert metric(split="train").splits() == ("train",)
    text = TaskDescription(modality="text", input_shape=(8,), outputs=4, padding=0)
    assert metric().refuses(text) is None


@pytest.mark.parametrize("metric", [Agreement, JsDivergence, LogitCosine, EnsembleAccuracy])
def test_different_numbers_of_classes_are_named(metric):
    other = Scripted(torch.zeros(5, 4))
    with pytest.raises(ValueError, match=r"\(5, 3\) and \(5, 4\)"):
        metric().measure(context_of(LABELS, predicting(FIRST), other))


def test_outputs_that_are_no_class_scores_are_named():
    with pytest.raises(TypeError, match=r"Tensor \(5, 2, 2\) for 5 terms"):
        outputs(context_of(LABELS, Scripted(torch.zeros(5, 2, 2))), "test")
    model = nn.Sequential(nn.Flatten())
    model.forward = lambda x: (x,)
    with pytest.raises(TypeError, match="gives tuple"):
        outputs(context_of(LABELS, model), "test")


def test_distance_by_hand():
    models = Scripted([[3.0, 0.0]]), Scripted([[0.0, 4.0]])
    absolute, normalised = L2Distance().measure(context_of([0], *models))
    assert (absolute.value, absolute.standard_error) == (pytest.approx(5.0), 0.0)
    assert normalised.value == pytest.approx(10 / 7)
    assert (absolute.n, absolute.counted) == (2, "parameters")
    assert absolute.details["norms"] == pytest.approx([3.0, 4.0])
    assert absolute.details["layers"] == ["(root)"]
    assert absolute.arrays["by_layer"].tolist() == pytest.approx([5.0])
    assert absolute.figures[0].y == ("by_layer",)


def test_distances_that_do_not_exist():
    zero = Scripted([[0.0]]), Scripted([[0.0]])
    absolute, normalised = L2Distance().measure(context_of([0], *zero))
    assert (absolute.value, normalised.value) == (0.0, None)
    assert normalised.status == "undefined"
    assert "zero" in normalised.details["reason"]
    frozen = [model.requires_grad_(False) for model in zero]
    for result in L2Distance().measure(context_of([0], *frozen)):
        assert (result.value, result.status) == (None, "undefined")
        assert "no trainable parameter" in result.details["reason"]
    broken = Scripted([[math.nan]]), Scripted([[1.0]])
    for result in L2Distance().measure(context_of([0], *broken)):
        assert result.status == "not_finite"
    with pytest.raises(ValueError, match="'logits' has shape"):
        L2Distance().measure(context_of([0], Scripted([[1.0]]), Scripted([[1.0, 2.0]])))


@pytest.mark.parametrize("metric", [*OF_PREDICTIONS, L2Distance])
def test_costs_are_sane(metric):
    task = TinyImages().describe()
    assert 0 <= metric().cost(task) <= 5
    if metric is not L2Distance:
        assert metric().cost(task) < metric(split="train").cost(task)
