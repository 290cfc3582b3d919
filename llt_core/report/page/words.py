"""How columns are called and drawn on the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_TITLES = {
    "train_loss": "Training loss",
    "test_loss": "Test loss",
    "train_accuracy": "Training accuracy",
    "test_accuracy": "Test accuracy",
    "hessian_trace": "Hessian trace",
    "hessian_top_eigenvalue": "Hessian top eigenvalue",
    "mode_connectivity": "Mode connectivity",
    "mode_connectivity_peak": "Mode connectivity, peak",
    "mode_connectivity_test_error": "Mode connectivity, test error",
    "linear_connectivity": "Linear connectivity",
    "cka": "CKA",
    "cka_logits": "CKA of logits",
    "l2_distance": "L2 distance",
    "ensemble_accuracy": "Ensemble accuracy",
}
_BOUNDED = ("accuracy", "error", "cka", "agreement", "cosine", "similarity", "bleu", "negative")


MANY = 14
"""Of more columns than this, only the well-known ones come first."""


def main_columns(names: Sequence[str]) -> list[str]:
    """Return the columns that a reader looks for first, of few columns all.

    >>> main_columns(["cka", "cka_layers"])
    ['cka', 'cka_layers']
    """
    known = [name for name in names if name in _TITLES]
    return known if known and len(names) > MANY else list(names)


def column_facts(name: str) -> dict[str, Any]:
    """Return what to call a column, whether its sign matters most, and whether it may be steep.

    What is steep is drawn logarithmically once its values span orders of magnitude; shares and
    similarities never are.

    >>> column_facts("hessian_trace")
    {'title': 'Hessian trace', 'diverging': False, 'steep': True}
    """
    words = name.replace("_", " ")
    title = _TITLES.get(name) or words[:1].upper() + words[1:]
    diverging = "connectivity" in name
    steep = not diverging and not any(word in name for word in _BOUNDED)
    return {"title": title, "diverging": diverging, "steep": steep}
