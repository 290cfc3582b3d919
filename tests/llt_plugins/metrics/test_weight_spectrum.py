"""The weight spectrum as a metric: known matrices give known numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from llt_core.testing.checks import assert_unchanged, model_state, random_state
from llt_plugins.metrics.weight_spectrum import WeightSpectrum


def with_singular_values(values, columns, seed=0):
    """A linear layer with given singular values."""
    generator = torch.Generator().manual_seed(seed)
    n = len(values)
    left, _ = torch.linalg.qr(torch.randn(n, n, generator=generator, dtype=torch.float64))
    right, _ = torch.linalg.qr(torch.randn(columns, n, generator=generator, dtype=torch.float64))
    layer = nn.Linear(columns, n, bias=False).double()
    with torch.no_grad():
        layer.weight.copy_((left * torch.as_tensor(values)) @ right.T)
    return layer


def pareto_layer(alpha, n, seed):
    eigenvalues = (1 - np.random.default_rng(seed).random(n)) ** (-1 / (alpha - 1))
    return with_singular_values(np.sqrt(eigenvalues), n + 7, seed)


def test_known_exponents_come_out_within_the_error(context_of):
    model = nn.Sequential(*(pareto_layer(alpha, 150, k) for k, alpha in enumerate((2.2, 3.0, 3.8))))
    alpha, rank, norm = WeightSpectrum().measure(context_of(model))
    assert abs(alpha.value - 3.0) < 3 * alpha.standard_error
    assert 0.05 < alpha.standard_error < 0.4
    assert (alpha.n, alpha.counted, alpha.status) == (3, "layers", "ok")
    errors = alpha.arrays["alpha_error"]
    assert alpha.standard_error == pytest.approx(np.sqrt((errors**2).sum()) / 3)
    assert alpha.value == pytest.approx(alpha.arrays["alpha"].mean())
    assert alpha.details["layer_spread"] == pytest.approx(alpha.arrays["alpha"].std(ddof=1))
    assert alpha.details["layers"] == ["0.weight", "1.weight", "2.weight"]
    for layer in range(3):
        weight = model[layer].weight.detach().numpy()
        values = alpha.arrays[f"singular_values.{layer}.weight"]
        np.testing.assert_allclose(values, np.linalg.svd(weight, compute_uv=False), rtol=1e-9)
    assert rank.value == pytest.approx(alpha.arrays["stable_rank"].mean())
    geometric = np.exp(np.log(alpha.arrays["spectral_norm"]).mean())
    assert norm.value == pytest.approx(geometric)
    assert rank.standard_error == norm.standard_error == 0.0
    assert {name for figure in alpha.figures for name in figure.arrays} <= set(alpha.arrays)


def test_narrow_layers_are_skipped_with_the_reason(context_of):
    wide, narrow = pareto_layer(2.5, 60, 0), with_singular_values([2.0, 1.0, 1.0], 5)
    flat = with_singular_values([3.0] * 25, 25)
    alpha, rank, norm = WeightSpectrum().measure(context_of(nn.Sequential(wide, narrow)))
    assert alpha.n == 1
    assert alpha.details["skipped"] == {"1.weight": "3 non-zero singular values, below 20"}
    assert np.isnan(alpha.arrays["alpha"]).tolist() == [False, True]
    assert (rank.n, norm.n) == (2, 2)
    alone, rank, norm = WeightSpectrum().measure(context_of(narrow))
    assert (alone.value, alone.standard_error, alone.status) == (None, None, "undefined")
    assert "enough singular values" in alone.details["reason"]
    assert rank.value == pytest.approx(1.5)
    assert norm.value == pytest.approx(2.0)
    assert WeightSpectrum().measure(context_of(flat))[1].value == pytest.approx(25.0)


def test_layers_of_zeros_are_skipped_with_the_reason(model, context_of):
    with torch.no_grad():
        list(model.children())[-1].weight.zero_()
    alpha = WeightSpectrum.minimal().measure(context_of(model))[0]
    (name,) = (n for n, p in model.named_parameters() if p.ndim > 1 and not p.any())
    assert alpha.details["skipped"][name] == "all weights are zero"
    assert name not in alpha.details["layers"]


def test_nothing_to_look_at_is_undefined(context_of):
    zero = nn.Linear(4, 4)
    nn.init.zeros_(zero.weight)
    for model in (zero, nn.BatchNorm2d(3), nn.Identity()):
        results = WeightSpectrum().measure(context_of(model))
        assert [result.status for result in results] == ["undefined"] * 3
        assert "no weight matrix" in results[0].details["reason"]


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_not_a_number_is_a_status(broken, model, context_of):
    with torch.no_grad():
        model[0].weight[0, 0, 0, 0] = broken
    for result in WeightSpectrum.minimal().measure(context_of(model)):
        assert (result.value, result.standard_error, result.status) == (None, None, "not_finite")
        assert "0.weight" in result.details["reason"]


def test_the_model_and_the_global_generators_stay_as_they_were(model, context_of):
    model.train()
    before = model_state(model), random_state()
    results = WeightSpectrum.minimal().measure(context_of(model))
    assert results[0].status == "ok"
    assert_unchanged(before[0], model_state(model), "weight_spectrum", "leave it")
    assert_unchanged(before[1], random_state(), "weight_spectrum", "leave it")


def test_no_data_is_read(model, context_of):
    context = context_of(model)
    context.splits = {}
    assert len(WeightSpectrum.minimal().measure(context)) == 3
    assert WeightSpectrum().splits() == ()
