"""Distances of weights by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from llt_plugins.similarity.weights import l2_distance


def line(*weights: float, bias: float = 0.0) -> nn.Module:
    model = nn.Sequential(nn.Linear(len(weights), 1), nn.BatchNorm1d(1))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([weights]))
        model[0].bias.fill_(bias)
    return model


def test_by_hand():
    first, second = line(3.0, 0.0), line(0.0, 4.0)
    second[1].running_mean.fill_(9.0)  # a buffer: does not count
    found = l2_distance(first, second)
    assert found.total == pytest.approx(5.0)
    # Batch norm adds a weight of 1 to both norms.
    assert found.norms == (pytest.approx(math.sqrt(10)), pytest.approx(math.sqrt(17)))
    assert found.normalised == pytest.approx(10 / (math.sqrt(10) + math.sqrt(17)))
    assert found.layers == ("0", "1")
    assert found.by_layer.tolist() == pytest.approx([5.0, 0.0])
    assert found.by_layer_normalised.tolist() == pytest.approx([10 / 7, 0.0])


def test_weights_and_biases_of_a_layer_count_together():
    assert l2_distance(line(3.0), line(0.0, bias=4.0)).by_layer.tolist() == [5.0, 0.0]


def test_equal_and_opposite():
    model = line(1.0, 2.0)
    assert (l2_distance(model, model).total, l2_distance(model, model).normalised) == (0.0, 0.0)
    opposite = line(-1.0, -2.0)
    opposite[1].weight.data.fill_(-1.0)
    assert l2_distance(model, opposite).normalised == pytest.approx(2.0)


def test_frozen_parameters_do_not_count_and_tied_ones_once():
    first, second = line(1.0), line(9.0)
    first[0].requires_grad_(False)
    second[0].requires_grad_(False)
    assert l2_distance(first, second).total == 0.0
    models = []
    for value in (0.0, 3.0):
        model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False))
        model[1].weight = model[0].weight
        model[0].weight.data.fill_(value)
        models.append(model)
    assert l2_distance(*models).total == pytest.approx(3.0)


def test_sums_are_kept_in_double_precision():
    first, second = nn.Linear(1, 3_000_000, bias=False), nn.Linear(1, 3_000_000, bias=False)
    first.weight.data.fill_(1.0)
    second.weight.data.fill_(1.1)
    step = float(second.weight.detach()[0].double() - 1.0)
    assert l2_distance(first, second).total == pytest.approx(step * math.sqrt(3e6), rel=1e-12)


def test_nothing_to_compare():
    found = l2_distance(nn.Flatten(), nn.Flatten())
    assert (found.total, found.layers) == (0.0, ())
    assert math.isnan(found.normalised)
    lonely = nn.Module()
    lonely.weight = nn.Parameter(torch.ones(2))
    assert l2_distance(lonely, lonely).layers == ("(root)",)


def test_different_layouts_are_named():
    with pytest.raises(ValueError, match=r"'0.weight' has shape \(1, 1\) .* \(1, 2\)"):
        l2_distance(line(1.0), line(1.0, 2.0))
    with pytest.raises(ValueError, match=r"'0\.bias' exists in only one"):
        l2_distance(nn.Sequential(nn.Linear(1, 1)), nn.Sequential(nn.Linear(1, 1, bias=False)))
