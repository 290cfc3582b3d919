"""Calibration error of a few predictions by hand, and of many by simulation."""

from __future__ import annotations

import math

import pytest
import torch

from llt_plugins.similarity.calibration import calibration

CONFIDENCE = torch.tensor([0.95, 0.91, 0.55, 0.52, 0.50])
CORRECT = torch.tensor([1.0, 0.0, 1.0, 1.0, 0.0])


def test_two_bins_by_hand():
    # Width: (0.5, 1] holds the first four, [0, 0.5] the last.
    found = calibration(CONFIDENCE, CORRECT, bins=2)
    assert found.count.tolist() == [1.0, 4.0]
    assert found.confidence.tolist() == pytest.approx([0.5, 0.7325])
    assert found.accuracy.tolist() == pytest.approx([0.0, 0.75])
    assert found.error == pytest.approx((0.5 + 4 * 0.0175) / 5)
    terms = [0.05, -0.91, 0.45, 0.48, 0.50]  # each in the direction of its bin's excess
    mean = sum(terms) / 5
    variance = sum((t - mean) ** 2 for t in terms) / 4
    assert found.spread == pytest.approx(math.sqrt(variance / 5), rel=1e-6)
    chance = sum(c * (1 - c) for c in (0.95, 0.91, 0.55, 0.52))
    expected = math.sqrt(2 / math.pi) * (math.sqrt(chance) + 0.5) / 5
    assert found.floor == pytest.approx(expected, rel=1e-6)


def test_bins_of_equal_mass():
    found = calibration(CONFIDENCE, CORRECT, bins=5, binning="mass")
    assert found.count.tolist() == [1.0] * 5
    assert found.error == pytest.approx(float((CONFIDENCE - CORRECT).abs().mean()))
    ties = calibration(torch.full((6,), 0.7), torch.ones(6), bins=3, binning="mass")
    assert ties.count.tolist() == [2.0, 2.0, 2.0]


def test_edges_belong_to_the_bin_below_and_empty_bins_are_nan():
    found = calibration(torch.tensor([0.0, 0.2, 1.0], dtype=torch.float64), torch.ones(3), bins=5)
    assert found.count.tolist() == [2.0, 0.0, 0.0, 0.0, 1.0]
    assert found.accuracy[1:4].isnan().all()
    assert math.isfinite(found.error)


def test_certain_and_right_is_zero():
    found = calibration(torch.ones(9), torch.ones(9))
    assert (found.error, found.spread, found.floor) == (0.0, None, 0.0)
    assert calibration(torch.ones(1), torch.ones(1)).spread is None


def test_a_calibrated_model_sits_at_the_floor():
    generator = torch.Generator().manual_seed(0)
    errors, floors = [], []
    for _ in range(200):
        confidence = 0.5 + 0.5 * torch.rand(400, generator=generator)
        correct = (torch.rand(400, generator=generator) < confidence).double()
        found = calibration(confidence, correct)
        errors.append(found.error)
        floors.append(found.floor)
    assert sum(errors) / 200 == pytest.approx(sum(floors) / 200, rel=0.08)


def test_the_error_bar_covers_a_miscalibrated_model():
    generator = torch.Generator().manual_seed(1)
    covered, truth = 0, 0.15
    for _ in range(300):
        confidence = 0.6 + 0.4 * torch.rand(1500, generator=generator)
        correct = (torch.rand(1500, generator=generator) < confidence - truth).double()
        found = calibration(confidence, correct, bins=5)
        covered += abs(found.error - truth) < 1.96 * found.spread
    assert 0.90 <= covered / 300 <= 0.99


def test_wrong_requests_are_named():
    with pytest.raises(ValueError, match="2 scores"):
        calibration(CONFIDENCE, CORRECT[:2])
    with pytest.raises(ValueError, match="0 bins"):
        calibration(CONFIDENCE, CORRECT, bins=0)
    with pytest.raises(ValueError, match="0 confidences"):
        calibration(CONFIDENCE[:0], CORRECT[:0])
    with pytest.raises(ValueError, match="binning is 'equal'"):
        calibration(CONFIDENCE, CORRECT, binning="equal")
