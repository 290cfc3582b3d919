"""Loss and accuracy over a split."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import cross_entropy

from llt_core.interfaces import RequestError, TensorExamples
from llt_plugins.metrics.scores import TestAccuracy, TestLoss, TrainAccuracy, TrainLoss

ALL = [TrainLoss, TrainAccuracy, TestLoss, TestAccuracy]


@pytest.mark.parametrize("metric", ALL)
def test_values_and_errors_are_those_of_the_split(metric, model, context_of):
    context = context_of(model)
    split = "train" if metric in (TrainLoss, TrainAccuracy) else "test"
    batch = context.batches(split)[0]
    with torch.no_grad():
        outputs = model(batch.inputs).double()
    if metric in (TrainLoss, TestLoss):
        terms, unit = cross_entropy(outputs, batch.targets, reduction="none"), "nats"
    else:
        terms, unit = 100.0 * (outputs.argmax(1) == batch.targets).double(), "percent"
    (result,) = metric().measure(context)
    assert result.name == metric().returns[0].name
    assert (result.unit, result.n, result.counted) == (unit, len(terms), "samples")
    assert result.status == "ok"
    assert result.details["split"] == split
    assert result.value == pytest.approx(terms.mean().item(), rel=1e-6)
    if split == "train":
        assert result.standard_error == 0.0
        assert result.details["error_kind"] == "exact over the split"
    else:
        expected = terms.std(correction=1).item() / math.sqrt(len(terms))
        assert result.standard_error == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("metric", ALL)
def test_not_a_number_is_never_a_score(metric, model, context_of):
    with torch.no_grad():
        model[-1].weight[0, 0] = math.nan
    (result,) = metric().measure(context_of(model))
    assert (result.value, result.standard_error, result.status) == (None, None, "not_finite")


def test_one_test_example_has_no_standard_error(model, context_of):
    context = context_of(model)
    context.splits = {"test": context.splits["test"].subset(torch.tensor([0]))}
    (result,) = TestLoss().measure(context)
    assert result.n == 1
    assert result.standard_error is None


def test_an_empty_or_missing_split_is_named(model, context_of):
    context = context_of(model)
    context.splits = {"test": TensorExamples(torch.empty(0, 1, 4, 4), torch.empty(0).long())}
    with pytest.raises(RequestError, match="'test' is empty"):
        TestLoss().measure(context)
    with pytest.raises(RequestError, match="'train'"):
        TrainLoss().measure(context)
