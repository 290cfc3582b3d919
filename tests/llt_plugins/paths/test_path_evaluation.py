"""Scores along a path and their summary, against landscapes known exactly."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from llt_plugins.paths.curves import Path
from llt_plugins.paths.evaluation import evaluate, score, standard_errors, summarise

TS = [0.0, 0.25, 0.5, 0.75, 1.0]
INPUTS = (torch.arange(200).double() + 0.5) / 200


class Cut(nn.Module):
    """One parameter w: the inputs in (0, 1) above ``height(w)`` are classified rightly."""

    def __init__(self, w: float, height) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor(w, dtype=torch.float64))
        self.height = height

    def forward(self, x):
        return x > self.height(self.w)


def scores():
    yield lambda model: {"error": 100.0 * ~model(INPUTS), "loss": model.w**2 + 0 * INPUTS}


def along(height, ts=TS):
    path = Path(Cut(-1.0, height), Cut(1.0, height))
    return evaluate(path, ts, {"train": scores})["train"]


def test_a_known_barrier_is_negative_and_of_the_right_size():
    # w = 2t − 1 and the error is 1 − w²: 0, 75, 100, 75, 0 percent.
    values = along(lambda w: 1 - w**2)
    assert values["error"].mean(1).tolist() == [0, 75, 100, 75, 0]
    assert values["loss"].mean(1).tolist() == [1, 0.25, 0, 0.25, 1]
    result = summarise(TS, values["error"], sampled=False)
    assert (result.connectivity.value, result.connectivity.error, result.t) == (-100, 0, 0.5)
    assert (result.barrier.value, result.dip.value, result.peak.value) == (100, -75, -100)


def test_a_known_valley_is_positive_and_of_the_right_size():
    result = summarise(TS, along(lambda w: w**2)["error"], sampled=False)
    assert (result.connectivity.value, result.t) == (100, 0.5)
    assert (result.barrier.value, result.dip.value, result.peak.value) == (-75, 100, -25)


def test_a_flat_path_is_connected():
    result = summarise(TS, along(lambda w: 0 * w + 0.1)["error"], sampled=False)
    assert (result.connectivity.value, result.barrier.value, result.dip.value) == (0, 0, 0)
    assert result.peak.value == pytest.approx(-10)


def test_ties_do_not_depend_on_the_order_of_the_pair():
    """From 0 to 10 percent without detour both ends are 5 from their mean: the worse counts."""
    values = torch.tensor([[0.0], [2.0], [5.0], [9.0], [10.0]]).double()
    forwards, backwards = (summarise(TS, v, sampled=False) for v in (values, values.flip(0)))
    assert forwards.connectivity.value == backwards.connectivity.value == -5
    assert (forwards.t, backwards.t) == (1.0, 0.0)
    assert forwards.barrier == backwards.barrier


def test_nan_anywhere_is_a_nan():
    values = torch.zeros(5, 3).double()
    values[2, 1] = math.nan
    result = summarise(TS, values, sampled=True)
    for estimate in (result.connectivity, result.barrier, result.dip, result.peak):
        assert math.isnan(estimate.value)
        assert estimate.error is None


def test_the_error_of_the_barrier_is_that_of_paired_differences():
    """Its 95 % intervals over resampled examples cover the population value."""
    generator = torch.Generator().manual_seed(0)
    easy = torch.rand(20_000, generator=generator)  # an example is easy or hard at every t
    levels = torch.tensor([0.1, 0.1, 0.25, 0.1, 0.1])
    population = 100.0 * (easy < levels[:, None]).double()
    truth = summarise(TS, population, sampled=False).connectivity.value
    assert truth == pytest.approx(-15, abs=1)
    hits = widths = 0
    for _ in range(300):
        chosen = torch.randint(0, 20_000, (200,), generator=generator)
        result = summarise(TS, population[:, chosen], sampled=True).connectivity
        hits += abs(result.value - truth) <= 1.96 * result.error
        widths += result.error / 300
    assert 0.91 <= hits / 300 <= 0.985
    unpaired = math.hypot(*(float(population[t].std()) for t in (0, 2))) / math.sqrt(200)
    assert widths < 0.9 * unpaired


def test_errors_of_points():
    values = torch.tensor([[1.0, 2.0, 6.0], [3.0, 3.0, 3.0]]).double()
    first = np.std([1, 2, 6], ddof=1) / 3**0.5
    np.testing.assert_allclose(standard_errors(values), [first, np.nan])
    assert np.isnan(standard_errors(values[:, :1])).all()


def test_points_that_make_no_path_are_refused():
    for ts in ([0.0, 1.0], [0.0, 0.5, 0.9], [0.0, 0.5, 0.5, 1.0], [1.0, 0.5, 0.0]):
        with pytest.raises(ValueError, match="increasing numbers from 0 to 1"):
            summarise(ts, torch.zeros(len(ts), 2), sampled=False)


def test_an_empty_split_is_named(make):
    with pytest.raises(ValueError, match="split 'test' is empty"):
        score(make("mlp"), {"test": lambda: iter(())})


def test_the_path_is_scored_with_statistics_of_its_own(make, data):
    path = Path(make("residual", 0), make("residual", 1))
    splits = {"train": data.scores}
    plain = evaluate(path, TS, splits)["train"]["loss"]
    own = evaluate(path, TS, splits, data.passes)["train"]["loss"]
    for row, t in enumerate(TS):
        expected = score(path.model(t), splits)["train"]["loss"]
        assert torch.equal(plain[row], expected)
    assert not torch.equal(plain, own)
    # A point does not depend on the points before it.
    assert torch.equal(evaluate(path, [0.5], splits, data.passes)["train"]["loss"][0], own[2])
    seen = []
    known = {0.0: {"train": {"loss": own[4], "error": own[4]}}}
    again = evaluate(path, TS, splits, data.passes, known=known, report=lambda *x: seen.append(x))[
        "train"
    ]["loss"]
    assert torch.equal(again, torch.stack([own[4], *own[1:]]))
    assert seen == [(k, 5) for k in range(1, 6)]
