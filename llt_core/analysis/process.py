"""A Gaussian process with noise, fitted to a few cells (Rasmussen and Williams 2006, ch. 2, 5).

The function is a level, a slope along each axis, and a Matérn-3/2 process: once differentiable,
as a boundary that bends calls for, with one length an axis. What the marginal likelihood alone
could not tell from fifteen cells is held by priors.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from llt_core.analysis.table import Floats

LENGTH_PRIOR = (-0.7, 0.4)
"""Of the logarithm of a length, in widths of the grid: mean (half a grid) and deviation."""
SIZE_PRIOR = (0.0, 0.7)
"""Of the logarithm of the standard deviation of the process, in that of the values."""
NOISE_PRIOR = (-1.6, 0.7)
"""Of the logarithm of the standard deviation of the noise, in that of the values."""
LEVEL = 4.0
"""Variance of the level."""
SLOPE = 1.0
"""Variance of the slope along each axis, per width of the grid."""
JITTER = 1e-8
MOST_FITTED = 300
"""Cells that lengths and sizes are fitted to; the posterior reads all."""
NEAREST = 400
"""Measured cells that a marginal is computed from, the nearest."""
BLOCK = 100
"""Places at most that share their nearest cells."""


@dataclass(frozen=True)
class Hyper:
    """What a process has beside its data.

    Attributes
    ----------
    lengths
        Shape (d,), in widths of the grid.
    size, noise
        Standard deviations, in that of the values.
    """

    lengths: Floats
    size: float
    noise: float

    @property
    def logarithms(self) -> Floats:
        """All of them as one vector, shape (d + 2,)."""
        return np.asarray(np.log([*self.lengths, self.size, self.noise]), dtype=np.float64)

    @classmethod
    def of(cls, logarithms: Floats) -> Hyper:
        """Return what a vector of logarithms means."""
        values = np.exp(logarithms)
        return cls(values[:-2], float(values[-2]), float(values[-1]))


def prior(axes: int) -> tuple[Floats, Floats]:
    """Return means and deviations of the logarithms, shape (axes + 2,) each."""
    both = np.array([*[LENGTH_PRIOR] * axes, SIZE_PRIOR, NOISE_PRIOR])
    return both[:, 0], both[:, 1]


def covariance(a: Floats, b: Floats, hyper: Hyper) -> Floats:
    """Return the covariance of the function at places (n, d) and (m, d), shape (n, m)."""
    squares = np.zeros((len(a), len(b)))
    for left, right, length in zip(a.T, b.T, hyper.lengths, strict=True):
        squares += ((left[:, None] - right) / length) ** 2
    return np.asarray(hyper.size**2 * _matern(np.sqrt(squares))[0] + _trend(a, b))


def variance(places: Floats, hyper: Hyper) -> Floats:
    """Return the diagonal of :func:`covariance`, shape (n,)."""
    return np.asarray(hyper.size**2 + LEVEL + SLOPE * ((places - 0.5) ** 2).sum(axis=1))


def objective(
    logarithms: Floats, squares: Floats, trend: Floats, values: Floats
) -> tuple[float, Floats]:
    """Return the negative log posterior density, up to a constant, and its gradient.

    Parameters
    ----------
    squares
        Squared differences of the places along each axis, shape (d, n, n).
    trend
        What level and slopes add to the covariance, shape (n, n).
    values
        Shape (n,).
    """
    from scipy.linalg.lapack import dpotrf, dpotri

    n, axes = len(values), len(squares)
    inverse_squares = np.exp(-2 * logarithms[:axes])
    size, noise = np.exp(2 * logarithms[-2:])
    matern, fall = _matern(np.sqrt(np.tensordot(inverse_squares, squares, 1)))
    matrix = size * matern + trend
    matrix[np.diag_indices(n)] += noise + JITTER
    factor, bad = dpotrf(matrix, lower=1)
    if bad:
        return 1e10, np.zeros_like(logarithms)
    inverse = np.tril(dpotri(factor, lower=1)[0])
    inverse += np.tril(inverse, -1).T
    weights = inverse @ values
    pull = inverse - np.outer(weights, weights)
    gradient = np.empty_like(logarithms)
    steep = size * pull * fall
    for axis in range(axes):
        gradient[axis] = 0.5 * inverse_squares[axis] * np.vdot(steep, squares[axis])
    gradient[-2] = size * np.vdot(pull, matern)
    gradient[-1] = noise * np.trace(pull)
    centre, width = prior(axes)
    off = (logarithms - centre) / width
    value = 0.5 * values @ weights + np.log(np.diagonal(factor)).sum() + 0.5 * off @ off
    return float(value), gradient + off / width


def fit(places: Floats, values: Floats) -> Hyper:
    """Return lengths, size and noise of the highest posterior density near the priors' means."""
    return scored(places, values)[1]


def scored(places: Floats, values: Floats) -> tuple[float, Hyper]:
    """Return what :func:`fit` finds, behind the objective there: of two places, less is better.

    Parameters
    ----------
    places
        Shape (n, d), in the unit cube.
    values
        Shape (n,), standardised.
    """
    from scipy.optimize import minimize

    if len(values) > MOST_FITTED:
        chosen = np.random.default_rng(0).choice(len(values), MOST_FITTED, replace=False)
        places, values = places[chosen], values[chosen]
    centre, width = prior(places.shape[1])
    if not len(values):
        return 0.0, Hyper.of(centre)
    squares = np.square(places.T[:, :, None] - places.T[:, None, :])
    found = minimize(
        objective,
        centre,
        args=(squares, _trend(places, places), values),
        jac=True,
        method="L-BFGS-B",
        bounds=list(zip(centre - 4 * width, centre + 4 * width, strict=True)),
        options={"maxiter": 40, "ftol": 1e-5},
    )
    return float(found.fun), Hyper.of(found.x)


@dataclass(frozen=True)
class Posterior:
    """A process given n measured cells: their ``places`` (n, d) and ``values`` (n,)."""

    places: Floats
    values: Floats
    hyper: Hyper

    def marginal(self, at: Floats) -> tuple[Floats, Floats]:
        """Return mean and variance of the function at each place (m, d), shape (m,) each.

        What lies far away tells next to nothing beside what is near, so that of many measured
        cells the nearest :data:`NEAREST` are asked, block by block.
        """
        if len(self.values) > NEAREST:
            mean, left = np.empty((2, len(at)))
            for block in _blocks(at / self.hyper.lengths):
                mean[block], left[block] = self._near(at[block]).marginal(at[block])
            return mean, left
        seen = self._seen(at)
        left = variance(at, self.hyper) - (seen**2).sum(axis=0)
        return seen.T @ self._whitened, np.maximum(left, 1e-10)

    def joint(self, at: Floats) -> tuple[Floats, Floats]:
        """Return mean (m,) and covariance (m, m) of the function at places (m, d)."""
        seen = self._seen(at)
        return seen.T @ self._whitened, covariance(at, at, self.hyper) - seen.T @ seen

    def _near(self, at: Floats) -> Posterior:
        """Return what the measured cells nearest to the middle of places (m, d) tell."""
        middle = (at.min(axis=0) + at.max(axis=0)) / 2
        squares = (((self.places - middle) / self.hyper.lengths) ** 2).sum(axis=1)
        near = np.sort(np.argpartition(squares, NEAREST)[:NEAREST])
        return Posterior(self.places[near], self.values[near], self.hyper)

    @cached_property
    def _factor(self) -> Floats:
        """The lower Cholesky factor of the covariance of the measurements, shape (n, n)."""
        matrix = covariance(self.places, self.places, self.hyper)
        matrix[np.diag_indices(len(matrix))] += self.hyper.noise**2 + JITTER
        return np.asarray(np.linalg.cholesky(matrix), dtype=np.float64)

    @cached_property
    def _whitened(self) -> Floats:
        """The values seen through the factor, shape (n,)."""
        return self._solved(self.values)

    def _seen(self, at: Floats) -> Floats:
        return self._solved(covariance(self.places, at, self.hyper))

    def _solved(self, right: Floats) -> Floats:
        from scipy.linalg import solve_triangular

        return np.asarray(solve_triangular(self._factor, right, lower=True))


def _blocks(places: Floats) -> list[npt.NDArray[np.intp]]:
    """Return which of the places (m, d) lie together: halved along their widest side and again.

    >>> [block.tolist() for block in _blocks(np.arange(200.0)[:, None])][1][:3]
    [100, 101, 102]
    """
    parts, small = [np.arange(len(places))], []
    while parts:
        part = parts.pop()
        if len(part) <= BLOCK:
            small.append(part)
            continue
        along = places[part, np.argmax(np.ptp(places[part], axis=0))]
        order = np.argsort(along, kind="stable")
        parts += [part[order[len(part) // 2 :]], part[order[: len(part) // 2]]]
    return small


def _matern(distance: Floats) -> tuple[Floats, Floats]:
    """Return the correlation (Matérn 3/2), and minus its derivative over the distance."""
    scaled = np.sqrt(3.0) * distance
    falling = np.exp(-scaled)
    return (1 + scaled) * falling, 3 * falling


def _trend(a: Floats, b: Floats) -> Floats:
    return np.asarray(LEVEL + SLOPE * (a - 0.5) @ (b - 0.5).T)
