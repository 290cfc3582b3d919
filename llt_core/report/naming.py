"""What a result is called: the title of its picture, and the words beside it."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Any

from llt_core.spec import MeasureCell
from llt_core.spec.naming import work_name
from llt_core.store import Record

_LONGEST = 120
"""Characters of a file name; the table, the digest and the ending fit beside them everywhere."""


def title(record: Record) -> str:
    """Return what was done: the metric with the parameters that were set, or ``training``."""
    if not isinstance(record.cell, MeasureCell):
        return "training"
    return work_name(record.cell)


def subtitle(record: Record) -> str:
    """Return what it was done to: task, perturbations, architecture, seeds, and n."""
    composition = record.composition
    data = [composition["task"], *composition["perturbations"]]
    seeds = "+".join(map(str, composition["seeds"]))
    parts = [
        " + ".join(map(_called, data)),
        _called(composition["architecture"]),
        f"{'seeds' if '+' in seeds else 'seed'} {seeds}",
    ]
    counts = dict.fromkeys(f"{m.n} {m.counted}" for m in record.measurements if m.n)
    if counts:
        parts.append(f"n = {', '.join(counts)}")
    return " · ".join(parts)


def file_stem(record: Record) -> str:
    """Return a file name without its ending: what was measured, and the first digits."""
    metric = record.composition.get("metric", {"name": "training"})["name"]
    return f"{metric.rpartition('/')[2]}-{record.digest[:8]}"


def _called(part: dict[str, Any]) -> str:
    inside = ", ".join(f"{key}={_short(value)}" for key, value in part["parameters"].items())
    short: str = part["name"].rpartition("/")[2]
    return f"{short}({inside})" if inside else short


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def safe_stem(name: str) -> str:
    """Return a name that every file system takes.

    >>> safe_stem("a/b c.csv")
    'a-b-c.csv'
    """
    return "".join(sign if sign.isalnum() or sign in "._-" else "-" for sign in name) or "table"


def own_stem(name: str) -> str:
    """Return such a name that no other one has: where signs are lost, it ends in a digest.

    >>> own_stem("grid-cka"), own_stem("grid-cka-where-width > 2")
    ('grid-cka', 'grid-cka-where-width-2-b5d5c5')
    """
    plain = re.sub("-+", "-", safe_stem(name)).strip("-")[:_LONGEST]
    return plain if plain == name else f"{plain}-{sha256(name.encode()).hexdigest()[:6]}"
