"""What unmeasured cells are likely to be: a Gaussian process for each quantity the rule reads.

The values are first bent (see :func:`bend`) so that what lies far from every threshold weighs
little, then described by a constant, a slope along each axis, and a Matérn-3/2 process with one
length an axis, plus noise (Rasmussen and Williams 2006, chapters 2 and 5). Lengths, sizes and
noise are those of the highest posterior density given the measured cells.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from llt_core.analysis.phases import PHASES, PhaseRule
from llt_core.analysis.table import Floats

LENGTH_PRIOR = (-0.7, 0.7)
SIZE_PRIOR = (0.0, 0.7)
NOISE_PRIOR = (-2.3, 0.9)
SLOPE = 1.0
LEVEL = 4.0
ROOT3 = float(np.sqrt(3.0))


@dataclass(frozen=True)
class Hyper:
    """Logarithms of what a process has: lengths (d), size, noise, both as standard deviations."""

    vector: Floats

    @property
    def lengths(self) -> Floats:
        return np.exp(self.vector[:-2])

    @property
    def size(self) -> float:
        return float(np.exp(self.vector[-2]))

    @property
    def noise(self) -> float:
        return float(np.exp(self.vector[-1]))


def prior(d: int) -> tuple[Floats, Floats]:
    centre = np.array([LENGTH_PRIOR[0]] * d + [SIZE_PRIOR[0], NOISE_PRIOR[0]])
    width = np.array([LENGTH_PRIOR[1]] * d + [SIZE_PRIOR[1], NOISE_PRIOR[1]])
    return centre, width


KIND = "m32"


def correlation(r: Floats) -> tuple[Floats, Floats]:
    """corr and -(dk/dr)/r."""
    if KIND == "m32":
        e = np.exp(-ROOT3 * r)
        return (1 + ROOT3 * r) * e, 3 * e
    if KIND == "m52":
        s = np.sqrt(5.0) * r
        e = np.exp(-s)
        return (1 + s + s * s / 3) * e, 5 / 3 * (1 + s) * e
    e = np.exp(-r)
    return e, e / np.maximum(r, 1e-9)


def fixed(a: Floats, b: Floats) -> Floats:
    return LEVEL + SLOPE * (a - 0.5) @ (b - 0.5).T


def kernel(a: Floats, b: Floats, hyper: Hyper) -> Floats:
    r = np.sqrt(np.maximum((((a[:, None] - b[None]) / hyper.lengths) ** 2).sum(-1), 0))
    return hyper.size**2 * correlation(r)[0] + fixed(a, b)


def objective(vector: Floats, sq: Floats, base: Floats, y: Floats) -> tuple[float, Floats]:
    """sq (d,n,n) squared differences."""
    n = len(y)
    d = len(sq)
    inv2 = np.exp(-2 * vector[:d])
    size2, noise2 = np.exp(2 * vector[-2]), np.exp(2 * vector[-1])
    r = np.sqrt(np.tensordot(inv2, sq, 1))
    corr, slope = correlation(r)
    K = size2 * corr + base
    K[np.diag_indices(n)] += noise2 + 1e-8
    from scipy.linalg.lapack import dpotrf, dpotri

    L, info = dpotrf(K, lower=1)
    if info:
        return 1e10, np.zeros_like(vector)
    inv, _ = dpotri(L, lower=1)
    inv = np.tril(inv) + np.tril(inv, -1).T
    alpha = inv @ y
    value = 0.5 * y @ alpha + np.log(np.diagonal(L)).sum()
    W = inv - np.outer(alpha, alpha)
    grad = np.empty_like(vector)
    Ws = W * slope
    for i in range(d):
        grad[i] = 0.5 * size2 * inv2[i] * np.vdot(Ws, sq[i])
    grad[-2] = size2 * np.vdot(W, corr)
    grad[-1] = noise2 * np.trace(W)
    c, w = prior(d)
    z = (vector - c) / w
    return float(value + 0.5 * z @ z), grad + z / w


def fit(x: Floats, y: Floats, start: Floats | None = None) -> Hyper:
    from scipy.optimize import minimize

    sq = np.square(x[:, None] - x[None]).transpose(2, 0, 1).copy()
    base = fixed(x, x)
    c, w = prior(x.shape[1])
    best = None
    for s in ([c] if start is None else [start]):
        res = minimize(
            objective, s, args=(sq, base, y), jac=True, method="L-BFGS-B",
            bounds=list(zip(c - 4 * w, c + 4 * w)), options={"maxiter": 40, "ftol": 1e-5},
        )
        if best is None or res.fun < best.fun:
            best = res
    return Hyper(best.x)
