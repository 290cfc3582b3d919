"""The Gaussian process against its formulas."""

import numpy as np
import pytest
from scipy.optimize import approx_fprime
from scipy.stats import multivariate_normal

from llt_core.analysis import process
from llt_core.analysis.process import Hyper, Posterior, covariance, fit, objective, prior, variance

HYPER = Hyper(np.array([0.4, 0.9]), 1.3, 0.2)


@pytest.fixture
def data():
    generator = np.random.default_rng(1)
    return generator.random((12, 2)), generator.standard_normal(12)


def test_the_covariance_is_matern_three_halves_with_level_and_slopes(data):
    places, _ = data
    a, b = places[0], places[1]
    distance = np.sqrt((((a - b) / HYPER.lengths) ** 2).sum())
    matern = 1.3**2 * (1 + np.sqrt(3) * distance) * np.exp(-np.sqrt(3) * distance)
    trend = process.LEVEL + process.SLOPE * (a - 0.5) @ (b - 0.5)
    assert covariance(places, places, HYPER)[0, 1] == pytest.approx(matern + trend)
    assert variance(places, HYPER) == pytest.approx(np.diagonal(covariance(places, places, HYPER)))


def test_the_objective_is_the_negative_log_posterior_density(data):
    places, values = data
    squares = np.square(places.T[:, :, None] - places.T[:, None, :])
    trend = process._trend(places, places)

    def density(hyper):
        matrix = covariance(places, places, hyper) + (hyper.noise**2 + 1e-8) * np.eye(12)
        centre, width = prior(2)
        off = (hyper.logarithms - centre) / width
        return -multivariate_normal(np.zeros(12), matrix).logpdf(values) + 0.5 * off @ off

    other = Hyper(np.array([0.7, 0.3]), 0.8, 0.5)
    found = [objective(h.logarithms, squares, trend, values)[0] for h in (HYPER, other)]
    assert found[0] - found[1] == pytest.approx(density(HYPER) - density(other))


def test_its_gradient_is_that_of_finite_differences(data):
    places, values = data
    squares = np.square(places.T[:, :, None] - places.T[:, None, :])
    trend = process._trend(places, places)
    at = HYPER.logarithms
    differences = approx_fprime(at, lambda v: objective(v, squares, trend, values)[0], 1e-6)
    assert objective(at, squares, trend, values)[1] == pytest.approx(differences, abs=1e-4)


def test_the_posterior_is_that_of_a_joint_normal(data):
    places, values = data
    at = np.random.default_rng(2).random((5, 2))
    posterior = Posterior(places, values, HYPER)
    inner = covariance(places, places, HYPER) + (0.2**2 + 1e-8) * np.eye(12)
    cross = covariance(at, places, HYPER)
    mean = cross @ np.linalg.solve(inner, values)
    left = covariance(at, at, HYPER) - cross @ np.linalg.solve(inner, cross.T)
    assert posterior.joint(at)[0] == pytest.approx(mean)
    assert posterior.joint(at)[1] == pytest.approx(left, abs=1e-9)
    assert posterior.marginal(at)[0] == pytest.approx(mean)
    assert posterior.marginal(at)[1] == pytest.approx(np.diagonal(left))


def test_without_noise_it_goes_through_the_values(data):
    places, values = data
    posterior = Posterior(places, values, Hyper(np.array([0.4, 0.4]), 1.0, 1e-6))
    mean, spread = posterior.marginal(places)
    assert mean == pytest.approx(values, abs=1e-4)
    assert spread.max() < 1e-6


def test_without_data_it_is_the_prior():
    hyper = fit(np.empty((0, 2)), np.empty(0))
    assert hyper.logarithms == pytest.approx(prior(2)[0])
    mean, spread = Posterior(np.empty((0, 2)), np.empty(0), hyper).marginal(np.full((1, 2), 0.5))
    assert mean == pytest.approx([0.0])
    assert spread == pytest.approx([process.LEVEL + hyper.size**2])


def test_the_nearest_of_many_cells_tell_what_all_do():
    generator = np.random.default_rng(4)
    places, at = generator.random((1200, 2)), generator.random((700, 2))
    hyper = Hyper(np.array([0.3, 0.5]), 1.0, 0.2)
    values = np.sin(7 * places[:, 0] + 4 * places[:, 1] ** 2) + 0.2 * generator.standard_normal(
        1200
    )
    posterior = Posterior(places, values, hyper)
    mean, spread = posterior.marginal(at)
    exact, joint = posterior.joint(at)
    assert len(places) > process.NEAREST
    assert 0 < np.abs(mean - exact).max() < 0.1
    assert np.sqrt(np.mean((mean - exact) ** 2)) < 0.02
    assert np.sqrt(spread / np.diagonal(joint)) == pytest.approx(np.ones(700), abs=0.15)


def test_blocks_hold_every_place_once_and_are_small():
    places = np.random.default_rng(5).random((1000, 3)) * (1, 5, 1)
    blocks = process._blocks(places)
    assert sorted(np.concatenate(blocks)) == list(range(1000))
    assert max(map(len, blocks)) <= process.BLOCK
    assert max(np.ptp(places[block, 1]) for block in blocks) < 2


def test_the_fit_is_a_stationary_point(data):
    places, values = data
    found = fit(places, np.sin(6 * places[:, 0]) + 0.05 * values)
    squares = np.square(places.T[:, :, None] - places.T[:, None, :])
    trend = process._trend(places, places)
    gradient = objective(
        found.logarithms, squares, trend, np.sin(6 * places[:, 0]) + 0.05 * values
    )[1]
    assert np.abs(gradient).max() < 0.2
    assert found.lengths[0] < found.lengths[1]  # the second axis does not matter


def test_known_lengths_and_noise_are_found_again():
    generator = np.random.default_rng(3)
    places = generator.random((250, 1))
    hyper = Hyper(np.array([0.3]), 1.0, 0.1)
    matrix = covariance(places, places, hyper) + 0.1**2 * np.eye(250)
    found = fit(places, np.linalg.cholesky(matrix) @ generator.standard_normal(250))
    assert found.noise == pytest.approx(0.1, rel=0.2)
    assert found.lengths[0] == pytest.approx(0.3, rel=0.6)
