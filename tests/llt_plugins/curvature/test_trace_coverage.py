"""Every trace estimator: unbiased, and inside its 95 % interval as often as it says."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import t as student

from llt_plugins.curvature import deflated, hutchinson, hutchpp, xtrace

SEEDS = 200


class Dense:
    def __init__(self, values):
        self.values, self.size, self.products = values, len(values), 0

    def matvec(self, vector):
        self.products += 1
        return self.values @ vector.to(self.values)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def run_hutchinson(operator, seed, products, **more):
    return hutchinson.trace(operator, seeded(seed), max_vectors=products, **more)


def run_deflated(operator, seed, products, **more):
    start = seeded(seed + 10**6)
    return deflated.trace(operator, start, seeded(seed), max_products=products, **more)


def run_hutchpp(operator, seed, products, **more):
    return hutchpp.trace(operator, seeded(seed), max_products=products, **more)


def run_xtrace(operator, seed, products, **more):
    return xtrace.trace(operator, seeded(seed), max_products=products, **more)


ESTIMATORS = {
    "hutchinson": run_hutchinson,
    "deflated": run_deflated,
    "hutch++": run_hutchpp,
    "xtrace": run_xtrace,
}


@pytest.fixture(scope="module")
def matrices(case_builder):
    """Hessians of two networks after a few steps of training, and one made-up spectrum.

    More of both kinds, with more seeds, are in benchmarks/coverage.py.
    """
    found = {"outliers": outliers(), "few": few_coordinates()}
    for name in ("mlp", "conv_bn"):
        case = case_builder(name)
        optimiser = torch.optim.SGD(case.model.parameters(), lr=0.05)
        for _ in range(40):
            optimiser.zero_grad()
            case.loss()(case.model).backward()
            optimiser.step()
        found[name] = case.hessian()
    return found


def outliers() -> torch.Tensor:
    """A few large eigenvalues and a bulk of both signs."""
    values = 0.05 * torch.randn(120, generator=seeded(1), dtype=torch.float64)
    values[:9] = torch.tensor([5.0, 3.5, 3.0, 2.4, 2.0, 1.5, 1.2, 1.0, 0.8])
    square = torch.randn(120, 120, generator=seeded(0), dtype=torch.float64)
    basis, _ = torch.linalg.qr(square)
    return (basis * values) @ basis.T


def few_coordinates() -> torch.Tensor:
    """The Hessian of a network whose hidden units are dead: that of ten biases, rank nine."""
    matrix = torch.zeros(120, 120, dtype=torch.float64)
    shares = torch.softmax(torch.randn(10, generator=seeded(3), dtype=torch.float64), dim=0)
    matrix[-10:, -10:] = torch.diag(shares) - torch.outer(shares, shares)
    return matrix


def covered(runs, truth: float) -> float:
    inside = [
        abs(run.value - truth)
        <= student.ppf(0.975, run.degrees_of_freedom) * run.standard_error + 1e-12
        for run in runs
    ]
    return float(np.mean(inside))


CASES = [("conv_bn", 8), ("mlp", 24), ("conv_bn", 64), ("few", 8)]


@pytest.mark.parametrize(("which", "products"), CASES)
@pytest.mark.parametrize("name", ESTIMATORS)
def test_intervals_cover(name, which, products, matrices):
    matrix = matrices[which]
    runs = [ESTIMATORS[name](Dense(matrix), seed, products, tolerance=0.0) for seed in range(SEEDS)]
    assert {(run.products, run.stopped) for run in runs} == {(products, "limit")}
    assert 0.90 <= covered(runs, matrix.trace().item()) <= 0.99
    # The stated variance is that of the estimates themselves, and these have no bias.
    errors = np.array([run.value for run in runs]) - matrix.trace().item()
    stated = np.mean([run.standard_error**2 for run in runs])
    # XTrace's covariance from six pairs is cut off at zero, which makes it a little too large.
    assert 0.6 < stated / np.mean(errors**2) < (1.8 if products == 8 else 1.4)
    assert abs(errors.mean()) < 4 * errors.std() / math.sqrt(SEEDS)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_intervals_cover_when_the_tolerance_ends_it(name, matrices):
    matrix = matrices["conv_bn"]
    runs = [ESTIMATORS[name](Dense(matrix), seed, 30, tolerance=0.2) for seed in range(100)]
    assert np.mean([run.stopped == "tolerance" for run in runs]) > 0.4
    assert 0.90 <= covered(runs, matrix.trace().item()) <= 0.99


@pytest.mark.parametrize("name", ESTIMATORS)
def test_as_many_products_as_rows_are_exact(name, matrices):
    matrix = matrices["outliers"]
    operator = Dense(matrix)
    estimate = ESTIMATORS[name](operator, 0, 120)
    assert (estimate.stopped, estimate.standard_error) == ("exact", 0.0)
    assert estimate.products == operator.products == 120
    assert estimate.value == pytest.approx(matrix.trace().item(), rel=1e-12)


@pytest.mark.parametrize("name", ["deflated", "hutch++", "xtrace"])
def test_low_rank_is_exact_in_a_few_products(name):
    values = torch.zeros(90, dtype=torch.float64)
    values[:3] = torch.tensor([3.0, -2.0, 0.5])
    basis, _ = torch.linalg.qr(torch.randn(90, 90, generator=seeded(0), dtype=torch.float64))
    estimate = ESTIMATORS[name](Dense((basis * values) @ basis.T), 0, 40, tolerance=1e-6)
    assert estimate.value == pytest.approx(1.5, rel=1e-9)
    assert estimate.standard_error < 1e-9
    assert estimate.stopped in ("tolerance", "exact")


@pytest.mark.parametrize("products", [24, 64])
def test_a_range_of_few_coordinates_is_found_whole(products, matrices):
    truth = matrices["few"].trace().item()
    runs = [run_xtrace(Dense(matrices["few"]), seed, products, tolerance=0.0) for seed in range(50)]
    assert {(run.stopped, run.products) for run in runs} == {("exact", 19)}
    assert [run.value for run in runs] == pytest.approx([truth] * 50, rel=1e-9)


def test_probes_that_agree_by_chance_are_not_believed():
    """Every other sign vector sees nothing of the only difference that matters."""
    matrix = torch.zeros(90, 90, dtype=torch.float64)
    matrix[:2, :2] = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
    runs = [run_hutchinson(Dense(matrix), seed, 40, tolerance=0.5) for seed in range(SEEDS)]
    assert {run.stopped for run in runs} == {"tolerance"}
    assert all(run.standard_error > 0 for run in runs)
    assert max(run.n for run in runs) > 8
    few = [run_hutchinson(Dense(matrix), seed, 3) for seed in range(20)]
    alike = [run for run in few if len(set(run.samples)) == 1]
    assert alike
    assert all(math.isnan(run.standard_error) and run.stopped == "limit" for run in alike)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_products_are_counted_and_reported(name, matrices):
    heard = []
    operator = Dense(matrices["outliers"])
    estimate = ESTIMATORS[name](
        operator, 0, 30, tolerance=0.05, report=lambda done, total: heard.append((done, total))
    )
    assert estimate.products == operator.products == heard[-1][0]
    assert {total for _, total in heard} == {30}
    assert all(done <= 30 for done, _ in heard)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_not_a_number_ends_it(name):
    operator = Dense(torch.full((90, 90), math.nan, dtype=torch.float64))
    estimate = ESTIMATORS[name](operator, 0, 20)
    assert estimate.stopped == "not_finite"
    assert math.isnan(estimate.value)
    assert operator.products <= 2


@pytest.mark.parametrize("name", ESTIMATORS)
def test_one_seed_one_estimate(name, matrices):
    first, second, other = (
        ESTIMATORS[name](Dense(matrices["outliers"]), seed, 20).value for seed in (1, 1, 2)
    )
    assert first == second != other


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("wrong", [{"tolerance": -1.0}, {"tolerance": math.nan}])
def test_impossible_tolerances_are_refused(name, wrong, matrices):
    with pytest.raises(ValueError, match="expected a fraction"):
        ESTIMATORS[name](Dense(matrices["outliers"]), 0, 20, **wrong)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_too_few_products_are_refused(name, matrices):
    with pytest.raises(ValueError, match="at least 2"):
        ESTIMATORS[name](Dense(matrices["outliers"]), 0, 1)
