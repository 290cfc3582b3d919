"""Spectral density, diagonal, Frobenius norm: exact answers, then coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import t as student

from llt_plugins.curvature.deflated import deflate
from llt_plugins.curvature.diagonal import block_traces, diagonal, sums
from llt_plugins.curvature.krylov import Krylov
from llt_plugins.curvature.norms import exact_frobenius, frobenius
from llt_plugins.curvature.products import matrix
from llt_plugins.curvature.slq import spectrum

SEEDS = 200


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def network_like(with_spectrum):
    bulk = 0.1 * torch.randn(150, generator=seeded(3), dtype=torch.float64)
    bulk[:4] = torch.tensor([4.0, 2.5, 1.5, -1.0])
    return with_spectrum(bulk)


def test_moments_of_the_density_are_exact_polynomials(network_like):
    found = spectrum(network_like, seeded(0), vectors=12, steps=8)
    values = torch.linalg.eigvalsh(network_like.values).numpy()
    assert found.weights.sum(axis=1) == pytest.approx(np.ones(12), abs=1e-12)
    assert found.mean_of(np.ones_like) == pytest.approx((1, 0), abs=1e-12)
    for power in (1, 2, 3):
        mean, error = found.mean_of(lambda x, power=power: x**power)
        assert abs(mean - (values**power).mean()) <= 4 * error
    # For each vector the quadrature of degree 2m − 1 is exact: no error but that of the vector.
    generator = seeded(0)
    for nodes, weights in zip(found.nodes, found.weights, strict=True):
        start = torch.randn(1, 150, generator=generator, dtype=torch.float64)[0]
        start /= start.norm()
        image = start
        for power in range(1, 16):
            image = network_like.values @ image
            moment = float(start @ image)
            assert (weights * nodes**power).sum() == pytest.approx(moment, rel=1e-6, abs=1e-8)


def test_the_smoothed_density_is_that_of_the_eigenvalues(network_like):
    found = spectrum(network_like, seeded(0), vectors=4, steps=37)
    grid = found.grid(3001, width=0.15)
    density, error = found.density(grid, width=0.15)
    assert np.trapezoid(density, grid) == pytest.approx(1, abs=1e-4)
    values = torch.linalg.eigvalsh(network_like.values).numpy()
    kernel = np.exp(-0.5 * ((grid[:, None] - values) / 0.15) ** 2).mean(axis=1)
    truth = kernel / (0.15 * math.sqrt(2 * math.pi))
    outside = np.abs(density - truth) > student.ppf(0.975, 3) * error + 1e-3 * truth.max()
    assert outside.mean() < 0.1


def test_shares_cover_the_truth(network_like):
    values = torch.linalg.eigvalsh(network_like.values).numpy()
    truth = -values[values < 0].sum() / np.abs(values).sum()
    inside = []
    for seed in range(60):
        found = spectrum(network_like, seeded(seed), vectors=4, steps=20)
        share, error = found.share_of(lambda x: np.maximum(-x, 0), np.abs)
        inside.append(abs(share - truth) <= student.ppf(0.975, 3) * error)
    assert np.mean(inside) >= 0.9


def test_enough_products_give_all_eigenvalues(network_like):
    found = spectrum(network_like, seeded(0), vectors=5, steps=30)
    assert (found.stopped, found.products, network_like.products) == ("exact", 150, 150)
    assert found.nodes[0] == pytest.approx(torch.linalg.eigvalsh(network_like.values).numpy())
    assert found.mean_of(np.abs)[1] == 0


def test_a_shared_sequence_is_the_first_of_the_vectors(network_like):
    krylov = Krylov(network_like, seeded(7))
    krylov.reach(20)
    network_like.products = 0
    found = spectrum(network_like, seeded(0), vectors=2, steps=10, first=krylov)
    assert network_like.products == 10
    assert found.nodes[0] == pytest.approx(krylov.ritz(10).values)


def test_low_rank_is_padded(with_spectrum):
    values = torch.zeros(90)
    values[:2] = torch.tensor([2.0, -1.0])
    found = spectrum(with_spectrum(values), seeded(0), vectors=2, steps=20)
    assert found.weights.sum(axis=1) == pytest.approx([1, 1])
    share, _ = found.share_of(lambda x: np.maximum(-x, 0), np.abs)
    assert 0 < share < 0.8


@pytest.mark.parametrize("wrong", [{"vectors": 1}, {"steps": 0}])
def test_impossible_spectra_are_refused(wrong, network_like):
    with pytest.raises(ValueError, match="expected at least 2 vectors"):
        spectrum(network_like, seeded(0), **wrong)


@pytest.mark.parametrize("block_size", [1, 2])
@pytest.mark.parametrize("steps", [1, 6])
def test_what_a_deflation_knows_is_exact(block_size, steps, network_like):
    krylov = Krylov(network_like, seeded(0), block_size=block_size)
    krylov.reach(8)
    deflation = deflate(krylov, steps)
    basis = torch.stack([krylov.basis[i] for i in range(deflation.count)], dim=1)
    outside = torch.eye(150) - basis @ basis.T
    rest = outside @ network_like.values @ outside
    full = network_like.values
    assert deflation.trace == pytest.approx((full.trace() - rest.trace()).item())
    torch.testing.assert_close(deflation.diagonal(), (full - rest).diagonal())
    assert deflation.squared_norm == pytest.approx((full.norm() ** 2 - rest.norm() ** 2).item())


@pytest.mark.parametrize("steps", [0, 10])
def test_the_diagonal_and_its_errors(steps, network_like):
    truth = network_like.values.diagonal()
    deflation = deflate(Krylov(network_like, seeded(9)), steps) if steps else None
    found = diagonal(network_like, seeded(1), vectors=60, deflation=deflation)
    assert (found.n, found.products) == (60, 60 + steps)
    score = (found.values - truth) / found.standard_errors
    assert score.square().mean().item() == pytest.approx(1, abs=0.25)
    assert (score.abs() <= student.ppf(0.975, 59)).double().mean() > 0.9


def test_deflation_sharpens_the_diagonal(network_like):
    plain = diagonal(network_like, seeded(1), vectors=30)
    deflated = diagonal(
        network_like, seeded(1), vectors=30, deflation=deflate(Krylov(network_like, seeded(9)), 10)
    )
    assert deflated.standard_errors.mean() < 0.5 * plain.standard_errors.mean()


def test_enough_vectors_give_the_diagonal_exactly(network_like):
    found = diagonal(network_like, seeded(1), vectors=150)
    torch.testing.assert_close(found.values, network_like.values.diagonal())
    assert not found.standard_errors.any()
    with pytest.raises(ValueError, match="at least 2"):
        diagonal(network_like, seeded(1), vectors=1)


def test_block_traces_add_up_and_cover(network_like):
    sizes, groups = [30, 50, 20, 50], [[0, 2], [1], [3]]
    truth = sums(network_like.values.diagonal(), sizes, groups)
    inside = []
    for seed in range(SEEDS):
        deflation = deflate(Krylov(network_like, seeded(seed + 10**6)), 6)
        probes = deflation.probes(seeded(seed), sizes)
        traces, errors, finite = block_traces(deflation, probes, sizes, groups, 12)
        assert finite
        inside.append(abs(traces - truth) <= student.ppf(0.975, 11) * errors)
        total = deflation.trace + np.mean(probes.samples)
        assert traces.sum() == pytest.approx(total)
    assert (np.mean(inside, axis=0) >= 0.90).all()
    assert (np.mean(inside, axis=0) <= 0.99).all()


@pytest.mark.parametrize("products", [24, 45])
def test_the_frobenius_norm_covers(products, network_like):
    truth = network_like.values.norm().item()
    inside = []
    for seed in range(SEEDS):
        deflation = deflate(Krylov(network_like, seeded(seed + 10**6)), products // 3)
        probes = deflation.probes(seeded(seed))
        norm = frobenius(deflation, probes, tolerance=0.0, max_products=products)
        quantile = student.ppf(0.975, norm.degrees_of_freedom)
        inside.append(abs(norm.value - truth) <= quantile * norm.standard_error)
    assert 0.90 <= np.mean(inside) <= 0.99


def test_the_norm_stops_and_is_exact_when_it_can(network_like):
    deflation = deflate(Krylov(network_like, seeded(0)), 8)
    norm = frobenius(deflation, deflation.probes(seeded(1)), tolerance=0.1)
    assert (norm.stopped, norm.n) == ("tolerance", 12)
    exact = exact_frobenius(network_like)
    assert exact.value == pytest.approx(network_like.values.norm().item())
    assert (exact.standard_error, exact.stopped) == (0, "exact")
    with pytest.raises(ValueError, match="at least 2"):
        frobenius(deflation, deflation.probes(seeded(1)), max_products=9)


def test_every_model_agrees_with_its_matrix(case):
    from llt_plugins.curvature.operators.hessian import HessianOperator

    truth = case.hessian()
    with HessianOperator(case.model, case.losses(5, 7)) as operator:
        torch.testing.assert_close(matrix(operator), truth, rtol=1e-7, atol=1e-9)
        deflation = deflate(Krylov(operator, seeded(0)), 10)
        probes = deflation.probes(seeded(1))
        norm = frobenius(deflation, probes, tolerance=0.0, max_products=40)
        assert abs(norm.value - truth.norm().item()) <= 4 * norm.standard_error + 1e-9
        known = deflation.diagonal() + probes.diagonal
    assert abs(known.sum().item() - truth.trace().item()) <= 0.5 * truth.norm().item()
