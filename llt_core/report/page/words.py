"""How columns, axes and phases are called and drawn on the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llt_core.analysis import PHASES, Axis
from llt_core.report.display import (
    PHASE_COLOURS,
    PHASE_MARKERS,
    PHASE_MEANING,
    axis_facts,
    metric_facts,
)

FIRST = (
    "train_loss",
    "test_loss",
    "train_accuracy",
    "test_accuracy",
    "hessian_trace",
    "hessian_top_eigenvalue",
    "mode_connectivity",
    "mode_connectivity_peak",
    "mode_connectivity_test_error",
    "linear_connectivity",
    "cka",
    "l2_distance",
    "ensemble_accuracy",
    "bleu",
)
"""What a reader looks for first, where a table has many columns."""
MANY = 14
_SHORTHANDS = ("cka", "l2", "bleu", "js")
_BOUNDED = ("accuracy", "error", "cka", "agreement", "cosine", "similarity", "bleu", "negative")


def main_columns(names: Sequence[str]) -> list[str]:
    """Return the columns that a reader looks for first, of few columns all.

    >>> main_columns(["cka", "cka_layers"])
    ['cka', 'cka_layers']
    """
    known = [name for name in names if name in FIRST]
    return known if known and len(names) > MANY else list(names)


def title_of(name: str) -> str:
    """Return what to call a column at the beginning of a line.

    >>> title_of("hessian_trace"), title_of("cka_logits")
    ('Hessian trace', 'CKA logits')
    """
    words = metric_facts(name).title.split()
    title = " ".join(word.upper() if word in _SHORTHANDS else word for word in words)
    return title[:1].upper() + title[1:]


def column_facts(name: str) -> dict[str, Any]:
    """Return what the page knows of a column by its name.

    ``diverging``: its sign matters most. ``steep``: drawn logarithmically once its values span
    orders of magnitude; shares and similarities never are. ``logged``: by its logarithm in all
    pictures, so that values that are not positive stand apart. ``better``: low, high or None.

    >>> column_facts("cka")
    {'title': 'CKA', 'diverging': False, 'steep': False, 'logged': False, 'better': 'high'}
    """
    facts = metric_facts(name)
    diverging = "connectivity" in name
    steep = not diverging and not any(word in name for word in _BOUNDED)
    return {
        "title": title_of(name),
        "diverging": diverging,
        "steep": steep,
        "logged": facts.transform == "log",
        "better": facts.better,
    }


def axis_title(axis: Axis) -> str:
    """Return what to call an axis.

    >>> axis_title(Axis("train.batch_size", (16, 32)))
    'batch size'
    """
    return axis_facts(axis).title


def phase_facts() -> list[dict[str, str]]:
    """Return colour, shape and meaning of each phase, as all pictures have them."""
    shapes = {"v": "down", "^": "up", "s": "square", "D": "diamond", "o": "disc"}
    return [
        {
            "colour": PHASE_COLOURS[phase].lower(),
            "shape": shapes[PHASE_MARKERS[phase]],
            "meaning": PHASE_MEANING[phase],
        }
        for phase in PHASES
    ]
