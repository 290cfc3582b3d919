"""How numbers become colours. Importing this imports matplotlib."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import BoundaryNorm, Colormap, ListedColormap, Normalize

from llt_core.analysis import PHASES
from llt_core.analysis.table import Floats
from llt_core.report.display import (
    DIVERGING,
    PHASE_COLOURS,
    SEQUENTIAL,
    UNDETERMINED_COLOUR,
    End,
    MetricFacts,
)


@dataclass(frozen=True)
class Colours:
    """A colour map with its limits; what has no value is left empty."""

    map: Colormap
    norm: Normalize

    @classmethod
    def of(cls, values: Floats, facts: MetricFacts) -> Colours:
        """Return colours from the least to the largest finite value, or two ways from zero.

        Limits are what occurs: nothing is cut off. On a diverging scale they are equally far
        from zero.
        """
        if facts.two_sided(values):
            return cls.around_zero(values, facts.better)
        held = values[np.isfinite(values)]
        low, high = (float(held.min()), float(held.max())) if held.size else (0.0, 1.0)
        if low == high:
            room = abs(low) / 10 or 1.0
            low, high = low - room, high + room
        return cls(_empty_where_bad(SEQUENTIAL), Normalize(low, high))

    @classmethod
    def around_zero(cls, values: Floats, better: End | None = None) -> Colours:
        """Return colours with zero in the middle: red below, or above if low is better."""
        held = np.abs(values[np.isfinite(values)])
        most = float(held.max(initial=0.0)) or 1.0
        name = f"{DIVERGING}_r" if better == "low" else DIVERGING
        return cls(_empty_where_bad(name), Normalize(-most, most))


def phase_colours() -> Colours:
    """Return the colours of codes −1 (undetermined), 0, …, 4."""
    listed = ListedColormap([UNDETERMINED_COLOUR, *(PHASE_COLOURS[p] for p in PHASES)])
    edges = np.arange(-1.5, len(PHASES) + 0.5)
    norm = BoundaryNorm(edges.tolist(), listed.N)
    return Colours(listed.with_extremes(bad=(0, 0, 0, 0)), norm)


def _empty_where_bad(name: str) -> Colormap:
    return colormaps[name].with_extremes(bad=(0, 0, 0, 0))
