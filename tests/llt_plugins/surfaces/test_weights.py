"""Singular values against numpy, exponents against distributions that have them."""

from __future__ import annotations

import math
import os
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from llt_plugins.surfaces.power_law import best_xmin, fit_power_law
from llt_plugins.surfaces.weights import layer_spectra


def pareto(alpha, n, seed, xmin=1.0):
    uniform = np.random.default_rng(seed).random(n)
    return xmin * (1 - uniform) ** (-1 / (alpha - 1))


def test_singular_values_are_those_of_numpy(network):
    model = network()
    spectra = {s.name: s for s in layer_spectra(model)}
    assert list(spectra) == ["0.weight", "6.weight", "8.weight"]
    for name, spectrum in spectra.items():
        weight = model.get_parameter(name).detach().numpy()
        matrix = weight.reshape(len(weight), -1)
        expected = np.linalg.svd(matrix, compute_uv=False)
        np.testing.assert_allclose(spectrum.singular_values, expected, rtol=1e-12)
        assert spectrum.shape == matrix.shape
        assert spectrum.spectral_norm == pytest.approx(np.linalg.norm(matrix, 2))
        stable = np.linalg.norm(matrix) ** 2 / np.linalg.norm(matrix, 2) ** 2
        assert spectrum.stable_rank == pytest.approx(stable)
        gram = np.sort(np.linalg.eigvalsh(matrix @ matrix.T))[::-1]
        np.testing.assert_allclose(spectrum.eigenvalues, gram[: len(expected)], rtol=1e-8)


@pytest.mark.parametrize("groups", [1, 3])
def test_a_transposed_convolution_has_one_row_for_each_output_channel(groups):
    layer = nn.ConvTranspose1d(6, 9, 2, groups=groups, bias=False)
    (spectrum,) = layer_spectra(layer)
    weight = layer.weight.detach().double().numpy()
    rows = [
        weight[group * 6 // groups : (group + 1) * 6 // groups, own].ravel()
        for group in range(groups)
        for own in range(9 // groups)
    ]
    assert spectrum.shape == np.shape(rows)
    expected = np.linalg.svd(rows, compute_uv=False)
    np.testing.assert_allclose(spectrum.singular_values, expected, rtol=1e-12)


def test_attention_tied_frozen_and_normalisation():
    attention = nn.MultiheadAttention(4, 2)
    tied = nn.Linear(3, 3, bias=False).requires_grad_(False)
    model = nn.Sequential(attention, tied, tied, nn.LayerNorm((2, 3)), nn.Embedding(5, 2))
    spectra = layer_spectra(model)
    assert [s.name for s in spectra] == [
        "0.in_proj_weight[query]",
        "0.in_proj_weight[key]",
        "0.in_proj_weight[value]",
        "0.out_proj.weight",
        "1.weight",
        "4.weight",
    ]
    key = attention.in_proj_weight.detach()[4:8].double().numpy()
    np.testing.assert_allclose(spectra[1].singular_values, np.linalg.svd(key, compute_uv=False))


def test_rounding_is_no_eigenvalue_and_zero_has_no_rank():
    left, right = torch.randn(2, 20, 3, generator=torch.Generator().manual_seed(0))
    low_rank, zero = nn.Linear(20, 20), nn.Linear(4, 4)
    with torch.no_grad():
        low_rank.weight.copy_(left @ right.T)
        zero.weight.zero_()
    (spectrum,) = layer_spectra(low_rank)
    assert len(spectrum.eigenvalues) == 3
    (nothing,) = layer_spectra(zero)
    assert len(nothing.eigenvalues) == 0
    assert nothing.finite
    assert math.isnan(nothing.stable_rank)
    with torch.no_grad():
        zero.weight[0, 0] = math.inf
    assert not layer_spectra(zero)[0].finite


@pytest.mark.parametrize("alpha", [1.6, 2.5, 4.0, 6.0])
def test_known_exponents_are_found_within_their_error(alpha):
    fits = [fit_power_law(pareto(alpha, 400, seed, xmin=0.01)) for seed in range(40)]
    z = np.array([(fit.alpha - alpha) / fit.standard_error for fit in fits])
    # xmin is chosen by the same values, so the errors are a little larger than stated
    assert np.abs(z).max() < 5
    assert (np.abs(z) < 2).mean() >= 0.75
    assert abs(np.median([fit.alpha for fit in fits]) / alpha - 1) < 0.05
    for fit in fits:
        assert fit.standard_error == pytest.approx((fit.alpha - 1) / fit.tail**0.5)


@pytest.mark.parametrize("alpha", [1.8, 2.5])
def test_the_scan_is_that_of_the_package(alpha):
    import powerlaw

    values = np.sort(np.concatenate([pareto(alpha, 60, 1), np.linspace(0.1, 1, 40)]))
    values[3] = values[4]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = powerlaw.Fit(values, parameter_ranges={"alpha": [1, None]}, verbose=0)
    ours = fit_power_law(values, min_tail=3)
    assert ours.xmin == theirs.xmin == best_xmin(values, 3)
    assert ours.alpha == pytest.approx(theirs.alpha, rel=1e-9)
    assert ours.distance == pytest.approx(theirs.D, rel=1e-9)
    assert ours.tail == theirs.n_tail


def test_exponents_above_three_are_not_cut_off():
    """The package's own default reports 3 for them."""
    values = pareto(5.0, 200, 0)
    fit = fit_power_law(values)
    tail = values[values >= fit.xmin]
    assert fit.alpha == pytest.approx(1 + len(tail) / np.log(tail / fit.xmin).sum(), rel=1e-6)
    assert fit.alpha > 4


def test_the_tail_keeps_its_least_length():
    values = pareto(2.5, 30, 0)
    assert fit_power_law(values, min_tail=25).tail >= 25
    assert fit_power_law(values, min_tail=30).tail == 30


def test_what_cannot_be_fitted_is_named():
    for values, match in (
        (np.ones(5), "5 values"),
        (np.ones(20), "all 20 values are equal"),
        (np.arange(20.0), "positive finite"),
        (np.full(20, math.nan), "positive finite"),
    ):
        with pytest.raises(ValueError, match=match):
            fit_power_law(values)


def test_fitting_is_silent_and_leaves_the_process_alone(capfd):
    before = np.random.get_state()[1].tobytes(), dict(os.environ), warnings.filters[:]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit_power_law(pareto(1.05, 30, 0))
    assert before == (np.random.get_state()[1].tobytes(), dict(os.environ), warnings.filters)
    assert capfd.readouterr() == ("", "")
