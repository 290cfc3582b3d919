"""What cells are called in tables, progress lines and pictures."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from llt_core.spec.cell import MeasureCell, PluginRef, TrainCell

SWEEP_NAME = re.compile(r"\w[\w.-]*")
"""What a sweep may be called: the name is that of a file in the store."""


def short_name(qualified: str) -> str:
    """Return the name without its package.

    >>> short_name("llt/hessian_trace")
    'hessian_trace'
    """
    return qualified.rpartition("/")[2]


def work_name(cell: TrainCell | MeasureCell) -> str:
    """Return ``train``, or the metric's short name with the parameters that are not defaults.

    ``hessian_trace``, or ``hessian_trace(samples=500)``: never the same for two measurements
    of one composition.
    """
    if isinstance(cell, TrainCell):
        return "train"
    return short_name(cell.metric.name) + settings(cell.metric)


def counted(count: int, what: str) -> str:
    """Write how many there are of something.

    >>> counted(1, "epoch"), counted(1200, "cell")
    ('1 epoch', '1,200 cells')
    """
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def settings(part: PluginRef) -> str:
    """Return the parameters that are not defaults: ``(samples=500)``, empty if all are."""
    changed = ", ".join(f"{key}={value}" for key, value in part.parameters.items())
    return f"({changed})" if changed else ""


def label(cell: TrainCell | MeasureCell, composition: Mapping[str, Any]) -> str:
    """Return a few words for a cell: ``train seed 0``, ``cka(samples=64) seed 0+1``."""
    return f"{work_name(cell)} seed {'+'.join(map(str, composition['seeds']))}"
