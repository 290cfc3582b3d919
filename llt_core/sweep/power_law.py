"""A power law through a few points: how long work takes, from how much there is of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_DOUBT = 0.02
"""Variance of log seconds about the law, over the variance of an exponent about its guess."""


@dataclass(frozen=True)
class PowerLaw:
    """``log seconds = level + Σ exponent · (log x − centre)``."""

    level: float
    exponents: Mapping[str, float]
    centres: Mapping[str, float]

    @classmethod
    def fit(
        cls,
        points: Sequence[tuple[Mapping[str, float], float, int]],
        guesses: Mapping[str, float],
    ) -> PowerLaw:
        """Fit by least squares, each exponent drawn to its guess where the points say little.

        Parameters
        ----------
        points
            Positive numbers by name, seconds, and how often they were taken.
        guesses
            Exponents expected beforehand, 0 where none is given.

        >>> law = PowerLaw.fit([({"x": 1.0}, 2.0, 99), ({"x": 10.0}, 20.0, 99)], {})
        >>> round(law.at({"x": 100.0}))
        200
        >>> round(PowerLaw.fit([({"x": 4.0}, 1.0, 1)], {"x": 0.5}).at({"x": 16.0}), 3)
        2.0
        """
        import numpy as np

        names = sorted({name for numbers, _, _ in points for name in numbers})
        weights = np.array([float(count) for _, _, count in points])
        logs = np.array([[math.log(n.get(name, 1.0)) for name in names] for n, _, _ in points])
        logs = logs.reshape(len(points), len(names))
        seconds = np.array([math.log(max(value, 1e-9)) for _, value, _ in points])
        shares = weights / weights.sum()
        centres, level = shares @ logs, float(shares @ seconds)
        x, y = logs - centres, seconds - level
        guess = np.array([guesses.get(name, 0.0) for name in names])
        left = x.T @ (weights[:, None] * x) + _DOUBT * np.eye(len(names))
        found = guess + np.linalg.solve(left, x.T @ (weights * (y - x @ guess)))
        return cls(
            level,
            dict(zip(names, found.tolist(), strict=True)),
            dict(zip(names, centres.tolist(), strict=True)),
        )

    def at(self, numbers: Mapping[str, float]) -> float:
        """Return the seconds that go with these numbers; what is not known of is ignored."""
        steps = (
            exponent * (math.log(numbers[name]) - self.centres[name])
            for name, exponent in self.exponents.items()
            if name in numbers
        )
        return math.exp(self.level + sum(steps))
