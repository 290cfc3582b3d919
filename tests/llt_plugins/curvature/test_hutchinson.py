"""The trace estimate: unbiased, and as uncertain as it says."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import t as student

from llt_plugins.curvature.hutchinson import trace
from llt_plugins.curvature.operators.hessian import HessianOperator
from llt_plugins.curvature.probes import rademacher

SEEDS = 200


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def covers(estimate, truth: float) -> bool:
    quantile = student.ppf(0.975, estimate.degrees_of_freedom)
    return abs(estimate.value - truth) <= quantile * estimate.standard_error


@pytest.fixture(scope="module")
def network_hessian():
    """The matrix of a small trained-looking network: a few large eigenvalues and a bulk."""
    generator = seeded(0)
    basis, _ = torch.linalg.qr(torch.randn(150, 150, generator=generator, dtype=torch.float64))
    bulk = 0.05 * torch.randn(150, generator=generator, dtype=torch.float64)
    bulk[:9] = torch.tensor([5.0, 3.5, 3.0, 2.4, 2.0, 1.5, 1.2, 1.0, 0.8])
    return (basis * bulk) @ basis.T


class Dense:
    def __init__(self, values):
        self.values, self.size = values, len(values)

    def matvec(self, vector):
        return self.values @ vector.to(self.values)


@pytest.mark.parametrize("n", [8, 24, 64])
def test_intervals_cover_at_a_fixed_number(network_hessian, n):
    operator, truth = Dense(network_hessian), network_hessian.trace().item()
    runs = [trace(operator, seeded(s), tolerance=0.0, max_vectors=n) for s in range(SEEDS)]
    assert {(run.n, run.stopped) for run in runs} == {(n, "limit")}
    assert 0.90 <= np.mean([covers(run, truth) for run in runs]) <= 0.99


@pytest.mark.parametrize("tolerance", [0.2, 0.1, 0.07])
def test_intervals_cover_under_early_stopping(network_hessian, tolerance):
    operator, truth = Dense(network_hessian), network_hessian.trace().item()
    runs = [trace(operator, seeded(s), tolerance=tolerance, max_vectors=149) for s in range(SEEDS)]
    assert np.mean([run.stopped == "tolerance" for run in runs]) > 0.9
    assert 0.90 <= np.mean([covers(run, truth) for run in runs]) <= 0.99


def test_it_is_unbiased_and_so_is_its_variance(network_hessian):
    truth = network_hessian.trace().item()
    runs = [
        trace(Dense(network_hessian), seeded(s), max_vectors=20, tolerance=0.0)
        for s in range(SEEDS)
    ]
    values = np.array([run.value for run in runs])
    # Hutchinson's variance: 2 (‖A‖² − Σ Aᵢᵢ²)
    variance = 2 * (network_hessian.square().sum() - network_hessian.diag().square().sum()) / 20
    assert abs(values.mean() - truth) < 4 * math.sqrt(variance / SEEDS)
    stated = [run.standard_error**2 for run in runs]
    assert np.mean(stated) == pytest.approx(variance.item(), rel=0.05)


def test_as_many_vectors_as_rows_are_exact(network_hessian):
    estimate = trace(Dense(network_hessian), seeded(0), max_vectors=150)
    assert (estimate.stopped, estimate.standard_error, estimate.products) == ("exact", 0.0, 150)
    assert estimate.value == pytest.approx(network_hessian.trace().item(), rel=1e-12)


def test_every_model_agrees_with_its_matrix(case):
    truth = case.hessian().trace().item()
    with HessianOperator(case.model, case.losses(5, 7)) as operator:
        estimate = trace(operator, seeded(11), tolerance=0.01, max_vectors=60)
    assert abs(estimate.value - truth) <= 4 * estimate.standard_error + 1e-9
    assert estimate.value == pytest.approx(estimate.samples.mean())


@pytest.mark.parametrize("value", [0.0, 2.0])
def test_samples_that_are_all_alike_are_believed_when_they_are_many(value):
    """Of a diagonal matrix, and of zero, each sample is the trace; but so it may seem by chance."""
    operator = Dense(value * torch.eye(60, dtype=torch.float64))
    estimate = trace(operator, seeded(0), max_vectors=50)
    assert (estimate.value, estimate.standard_error) == (60 * value, 0.0)
    assert (estimate.n, estimate.stopped) == (32, "tolerance")
    few = trace(operator, seeded(0), max_vectors=20)
    assert (few.value, few.n, few.stopped) == (60 * value, 20, "limit")
    assert math.isnan(few.standard_error)


def test_a_trace_near_zero_ends_at_the_limit(with_spectrum):
    operator = with_spectrum(torch.linspace(-1, 1, 60))
    estimate = trace(operator, seeded(0), max_vectors=50)
    assert (estimate.n, estimate.stopped) == (50, "limit")
    assert abs(estimate.value) < 4 * estimate.standard_error


def test_a_negative_trace_reaches_its_tolerance(with_spectrum):
    operator = with_spectrum(-torch.linspace(1, 2, 120))
    estimate = trace(operator, seeded(0))
    assert estimate.stopped == "tolerance"
    assert estimate.value == pytest.approx(-180, rel=0.1)


def test_not_a_number_ends_it_at_once():
    calls = []
    operator = Dense(torch.full((300, 300), math.nan, dtype=torch.float64))
    estimate = trace(operator, seeded(0), report=lambda done, total: calls.append((done, total)))
    assert (estimate.n, estimate.stopped) == (1, "not_finite")
    assert math.isnan(estimate.value)
    assert calls == [(1, 100)]


def test_one_matrix_of_one_number():
    estimate = trace(Dense(torch.tensor([[-2.5]], dtype=torch.float64)), seeded(0), max_vectors=2)
    assert (estimate.value, estimate.products) == (-2.5, 1)


def test_vectors_are_signs_and_reproducible():
    vector = rademacher(1_000, seeded(2))
    assert set(vector.tolist()) == {-1.0, 1.0}
    assert abs(vector.mean()) < 0.15
    assert torch.equal(vector, rademacher(1_000, seeded(2)))


@pytest.mark.parametrize(
    "wrong", [{"max_vectors": 1}, {"min_vectors": 1}, {"tolerance": -0.1}, {"tolerance": math.nan}]
)
def test_impossible_requests_are_refused(wrong):
    with pytest.raises(ValueError, match=r"2 vectors|fraction"):
        trace(Dense(torch.eye(200)), seeded(0), **wrong)
