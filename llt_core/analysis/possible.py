"""Which values the well-known fields can have, so that a wrong one is not taken for a setting."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

MISSING = frozenset({"", "nan", "na", "n/a", "none", "null", "-"})
"""What stands where there is no number, in any case."""


@dataclass(frozen=True)
class Span:
    """The numbers from ``low`` to ``high``; ``above``: without ``low`` itself."""

    low: float
    high: float = math.inf
    above: bool = False
    whole: bool = False

    def holds(self, number: float) -> bool:
        """Return whether a finite number lies in it.

        >>> Span(0, 1, above=True).holds(0), Span(0, 1, above=True).holds(1)
        (False, True)
        """
        inside = self.low < number if self.above else self.low <= number
        return (
            math.isfinite(number)
            and inside
            and number <= self.high
            and (not self.whole or float(number).is_integer())
        )

    def __str__(self) -> str:
        """Return it in words.

        >>> str(Span(1, whole=True)), str(Span(0, 1, above=True))
        ('a whole number from 1 on', 'a number above 0 and up to 1')
        """
        kind = "a whole number" if self.whole else "a number"
        start = f"above {self.low:g}" if self.above else f"from {self.low:g}"
        if math.isinf(self.high):
            return f"{kind} {start}" + ("" if self.above else " on")
        return f"{kind} {start} {'and up to' if self.above else 'to'} {self.high:g}"


POSITIVE, NOT_NEGATIVE = Span(0, above=True), Span(0)
SPANS = {
    "architecture.width": POSITIVE,  # others than ours may be multiples of some width
    "architecture.depth": NOT_NEGATIVE,
    "architecture.embedding_dim": POSITIVE,
    "train.batch_size": Span(1, whole=True),
    "train.learning_rate": POSITIVE,
    "train.weight_decay": NOT_NEGATIVE,
    "data_subset.fraction": Span(0, 1, above=True),
    "label_noise.fraction": Span(0, 1),
    "pixel_noise.magnitude": NOT_NEGATIVE,
}
"""By the name of the field, without the ``perturbation.`` before it."""


def impossible(field: str, value: Any) -> str:
    """Return what a field should be instead of a value; nothing if it can be that.

    Any value can be one of a field that is not known here; so can a word, which names something.

    >>> impossible("train.batch_size", 0)
    'a whole number from 1 on'
    >>> impossible("train.batch_size", "small"), impossible("optimizer.restarts", -1)
    ('', '')
    """
    span = SPANS.get(field.removeprefix("perturbation."))
    if span is None or value is None:
        return ""
    if isinstance(value, str):
        return str(span) if value.strip().lower() in MISSING else ""
    return "" if span.holds(value) else str(span)
