"""A claim, and what a table says to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from llt_core.analysis.statistics import Estimate

Outcome = Literal["holds", "does not hold", "cannot be said"]
NO_NUMBER = "–"


@dataclass(frozen=True)
class Claim:
    """A claim, and what a table says to it.

    Attributes
    ----------
    name
        One word for machines.
    statement
        The claim.
    verdict
        Whether it holds in this table.
    number
        What decides, in words and with its unit.
    explanation
        How it was decided, and how sure that is; or what is missing.
    details
        The numbers, for machines.
    """

    name: str
    statement: str
    verdict: Outcome
    number: str
    explanation: str
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def evidence(self) -> str:
        """The number, and how it was decided."""
        number = "" if self.number == NO_NUMBER else f"{self.number}; "
        return number + self.explanation


def unknown(name: str, statement: str, why: str) -> Claim:
    """Return a claim of which nothing can be said, and why."""
    return Claim(name, statement, "cannot be said", NO_NUMBER, why)


def ends_text(ends: tuple[float, float]) -> str:
    """Return the ends of an interval in words; nothing if they are not known.

    >>> ends_text((0.5, 1.25))
    '[0.50, 1.25]'
    """
    return "" if np.isnan(ends[0]) else f"[{ends[0]:.2f}, {ends[1]:.2f}]"


def numbers_of(estimate: Estimate) -> dict[str, float]:
    """Return an estimate for machines."""
    return {"value": estimate.value, "low": estimate.low, "high": estimate.high}
