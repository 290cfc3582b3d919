"""Products with random signs, made once and read by every estimator that wants them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from llt_plugins.curvature.basis import Basis
from llt_plugins.curvature.estimates import (
    TraceEstimate,
    TraceStop,
    not_finite,
    spread,
)
from llt_plugins.curvature.types import Report, SymmetricOperator, ignore

_BELIEVED = 32
"""Samples that must all be alike before they are taken for the value itself.

Of a matrix with two coordinates that matter every other sign vector says the same: that 8 of
them agree has a chance of 1 in 128, that 32 do one in two thousand million.
"""


class Probes:
    """Quadratic forms ``vᵀBv`` with random signs v (Hutchinson 1990), drawn on demand.

    B is the operator A, or what a basis Q leaves of it: ``B = (I − QQᵀ) A (I − QQᵀ)``. Given
    Q, each form is an unbiased estimate of tr B. Only numbers are kept, never vectors, and
    the sequence is only appended to: what is read from its first n probes is the same however
    far another reader has already extended it.

    Parameters
    ----------
    operator
        Symmetric, P × P.
    generator
        On the CPU: the same vectors on every device.
    basis
        The vectors to leave out, if any; Q is made of the first ``deflated`` of them.
    deflated
        How many vectors of ``basis`` are left out; None for all it holds now.
    sizes
        Lengths that cut a vector of length P into parts, for :attr:`parts`.

    Attributes
    ----------
    samples
        ``vᵀBv`` of each probe.
    increments
        What each probe but the first adds to the sum of squares of ``v ∘ Bv`` about its mean
        (Welford 1962), summed over entries; see :func:`~.estimates.spread`.
    squares
        ``‖Bv‖²`` of each probe, an unbiased estimate of ``‖B‖²_F``.
    parts
        ``v ∘ Bv`` of each probe, summed over each part: float64, shape ``(parts,)``.
    """

    def __init__(
        self,
        operator: SymmetricOperator,
        generator: torch.Generator,
        *,
        basis: Basis | None = None,
        deflated: int | None = None,
        sizes: Sequence[int] = (),
    ) -> None:
        self.operator = operator
        self.samples: list[float] = []
        self.increments: list[float] = []
        self.squares: list[float] = []
        self.parts: list[np.ndarray[Any, np.dtype[np.float64]]] = []
        self._generator = generator
        self._basis = basis
        self._deflated = basis.count if basis is not None and deflated is None else deflated
        self._sizes = list(sizes)
        self._mean: Tensor | None = None

    @property
    def finite(self) -> bool:
        """Whether the last product was free of NaN and infinity."""
        return not self.samples or math.isfinite(self.samples[-1] + self.squares[-1])

    @property
    def diagonal(self) -> Tensor:
        """Mean of ``v ∘ Bv`` over all probes so far: an unbiased estimate of diag B.

        Float64, shape ``(P,)`` (Bekas et al. 2007).
        """
        if self._mean is None:
            raise ValueError("no probe has been drawn, so there is no diagonal yet")
        return self._mean

    def reach(self, n: int) -> bool:
        """Draw until there are ``n`` probes; return whether the first n are all finite."""
        while len(self.samples) < n and self.finite:
            self._draw()
        return len(self.samples) >= n and math.isfinite(self.samples[n - 1] + self.squares[n - 1])

    def _draw(self) -> None:
        signs = rademacher(self.operator.size, self._generator)
        vector = signs.double()
        if self._basis is None:
            image = self.operator.matvec(signs).double()
            vector = vector.to(image.device)
        else:
            vector = vector.to(self._basis[0].device) if self._deflated else vector
            inside = self._basis.project_out(vector, self._deflated)
            image = self.operator.matvec(inside).double()
            image = self._basis.project_out(image, self._deflated)
            vector = vector.to(image.device)
        entries = image * vector
        self.squares.append(float(image @ image))
        self.samples.append(float(entries.sum()))
        if self._sizes:
            parts = torch.stack([part.sum() for part in torch.split(entries, self._sizes)])
            self.parts.append(parts.cpu().numpy())
        if self._mean is None:
            self._mean = entries
            return
        before = entries - self._mean
        self._mean = self._mean + before / len(self.samples)
        self.increments.append(float(before @ (entries - self._mean)))


def average(
    probes: Probes,
    *,
    exact: float = 0.0,
    spent: int = 0,
    tolerance: float,
    max_vectors: int,
    min_vectors: int,
    report: Report = ignore,
) -> TraceEstimate:
    """Return ``exact + tr B``, drawing probes until the standard error is small enough.

    Parameters
    ----------
    probes
        The sequence to read and to extend.
    exact, spent
        The part of the trace that is known, and the products that it took.
    tolerance
        Stop when the standard error is at most this fraction of the value's magnitude.
    max_vectors, min_vectors
        Number of probes, at most and before the stopping rule is consulted; at least 2.
    report
        Called after each probe.
    """
    stopped: TraceStop = "limit"
    for n in range(1, max_vectors + 1):
        finite = probes.reach(n)
        report(spent + n, spent + max_vectors)
        if not finite or not math.isfinite(exact):
            return not_finite(np.asarray(probes.samples[:n]), spent + n)
        if n < max_vectors and (n < min_vectors or tolerance == 0):
            continue
        variance, freedom = spread(probes.increments[: n - 1])
        value = exact + math.fsum(probes.samples[:n]) / n
        unknown = variance == 0 and n < _BELIEVED
        error = math.nan if unknown else math.sqrt(variance / n)
        if error <= tolerance * abs(value):
            stopped = "tolerance"
            break
    samples = exact + np.asarray(probes.samples[:n])
    return TraceEstimate(value, error, n, stopped, samples, freedom, spent + n)


def rademacher(size: int, generator: torch.Generator) -> Tensor:
    """Draw independent signs: float32 (exact for ±1), shape ``(size,)``, on the CPU."""
    bits = torch.randint(0, 2, (size,), generator=generator, dtype=torch.int8)
    return bits.to(torch.float32).mul_(2).sub_(1)
