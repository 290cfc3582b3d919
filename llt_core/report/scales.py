"""Axes and colour scales: where a value goes, which ticks, and which bins."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

WIDE = 30.0
"""A surface of positive values that span more than this factor gets a logarithmic scale."""
DECADES = 12
"""A logarithmic axis shows this many powers of ten below its highest value: a density may fall
to 1e-120 between two eigenvalues, and nobody can read what is left at the top then."""


@dataclass(frozen=True)
class Axis:
    """A linear or logarithmic axis from ``low`` to ``high`` (both in the axis' own units)."""

    low: float
    high: float
    log: bool = False

    @classmethod
    def around(cls, values: Floats, log: bool = False) -> Axis:
        """Return the axis that just holds the finite values (the positive ones if ``log``).

        A logarithmic axis ends :data:`DECADES` below its highest value.

        >>> Axis.around(np.array([2.0, np.nan, 5.0]))
        Axis(low=2.0, high=5.0, log=False)
        >>> Axis.around(np.array([1e-300, 1.0]), log=True)
        Axis(low=1e-12, high=1.0, log=True)
        """
        held = values[np.isfinite(values) & ((values > 0) | (not log))]
        if not held.size:
            return cls(1.0, 10.0, True) if log else cls(0.0, 1.0)
        low, high = float(held.min()), float(held.max())
        # Neighbouring numbers can have the same logarithm.
        if low == high or (log and math.log10(low) == math.log10(high)):
            return cls(low / 2, high * 2, log) if log else cls(low - _room(low), high + _room(low))
        return cls(max(low, high / 10.0**DECADES) if log else low, high, log)

    def position(self, values: Floats | list[float]) -> Floats:
        """Return where values lie, 0 at ``low`` and 1 at ``high``; NaN where they cannot.

        >>> Axis(1, 100, log=True).position(np.array([10.0, 0.0]))
        array([0.5, nan])
        """
        with np.errstate(invalid="ignore", divide="ignore"):
            scaled = self._scaled(np.asarray(values, dtype=np.float64))
            low, high = self._scaled(np.array([self.low, self.high]))
            # Halved first, because the difference of two large numbers may overflow.
            place = (scaled / 2 - low / 2) / (high / 2 - low / 2)
        return np.where(np.isfinite(place), place, np.nan)

    def ticks(self, most: int) -> list[float]:
        """Return about ``most`` round numbers on the axis, or its ends if none are round.

        >>> Axis(0.3, 5.2).ticks(4)
        [2.0, 4.0]
        >>> Axis(0.5, 2000, log=True).ticks(4)
        [1.0, 10.0, 100.0, 1000.0]
        """
        if self.log:
            first, last = math.ceil(math.log10(self.low)), math.floor(math.log10(self.high))
            if last > first:
                stride = math.ceil((last - first + 1) / most)
                return [10.0**power for power in range(first, last + 1, stride)]
        elif math.isfinite(self.high - self.low):
            step = _round_step((self.high - self.low) / max(most, 1))
            first, last = math.ceil(self.low / step), math.floor(self.high / step)
            if last > first:
                return [number * step for number in range(first, last + 1)]
        return [self.low, self.high]

    def _scaled(self, values: Floats) -> Floats:
        return np.log10(values) if self.log else values


@dataclass(frozen=True)
class ColourScale:
    """How values become colours.

    ``diverging`` puts zero in the middle, for values of both signs; ``log`` is for surfaces
    that rise by orders of magnitude; ``sequential`` for all others.
    """

    kind: Literal["diverging", "log", "sequential"]
    low: float
    high: float

    @classmethod
    def of(cls, values: Floats, steep: bool = False) -> ColourScale:
        """Choose the scale for the finite ones among ``values``; ``log`` only if ``steep``.

        >>> ColourScale.of(np.array([-1.0, 3.0]))
        ColourScale(kind='diverging', low=-3.0, high=3.0)
        """
        held = values[np.isfinite(values)]
        low, high = float(held.min()), float(held.max())
        if low < 0 < high:
            most = max(-low, high)
            return cls("diverging", -most, most)
        if steep and low > 0 and high > WIDE * low:
            return cls("log", low, high)
        if low == high:
            return cls("sequential", low - _room(low), high + _room(low))
        return cls("sequential", low, high)

    @property
    def axis(self) -> Axis:
        """The axis along the colour bar."""
        return Axis(self.low, self.high, self.kind == "log")


def bin_edges(values: Floats, log: bool, most: int) -> Floats:
    """Return the edges of ``most`` histogram bins or fewer (Freedman & Diaconis 1981).

    Equal widths, on a logarithmic axis equal ratios. The number is bounded because heavy
    tails would ask for millions of bins.
    """
    axis = Axis.around(values, log)
    held = values[np.isfinite(values) & ((values > 0) | (not log))]
    scaled = np.log10(held) if log else held
    quarter, middle = np.quantile(scaled, [0.25, 0.75]) if held.size else (0.0, 0.0)
    width = 2 * (middle - quarter) / max(held.size, 1) ** (1 / 3)
    low, high = (math.log10(end) if log else end for end in (axis.low, axis.high))
    wanted = (high - low) / width if width * most > high - low else most
    edges = np.linspace(low, high, int(min(max(math.ceil(wanted), 1), most)) + 1)
    return 10**edges if log else edges


def _room(value: float) -> float:
    """Return the room left on each side of a single value."""
    return abs(value) / 10 or 1.0


def _round_step(least: float) -> float:
    """Return the smallest of 1, 2, 5 times a power of ten that is not below ``least``."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * 0.999)
