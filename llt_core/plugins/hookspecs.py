"""The hooks a plugin package may implement: registration and observation.

Registration says what a package offers. Observers hear of what happens; an exception in
one is recorded and never fails a cell, and no hook can change a cell's inputs.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from llt_core.plugins.manifest import Entry

PROJECT = "llt"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def llt_manifest() -> str | Path | Iterable[Entry] | None:
    """Return the path of the package's manifest, or registrations made in Python.

    Only called when no ``registry.toml`` lies beside the package that the entry point
    names: with one there, nothing of the package is imported to list what it offers.
    """


@hookspec
def llt_provenance() -> dict[str, Any] | None:
    """Return facts (JSON values) to record with every result under the package's name."""


@hookspec
def llt_cell_started(digest: str, kind: str) -> None:
    """Hear that a cell starts; ``kind`` is ``train`` or ``measure``."""


@hookspec
def llt_cell_finished(digest: str, kind: str, record: dict[str, Any]) -> None:
    """Hear that a cell is in the store; ``record`` is a copy of its record."""


@hookspec
def llt_cell_failed(digest: str, kind: str, failure: dict[str, Any]) -> None:
    """Hear that a cell failed, with the failure as it is recorded."""


@hookspec
def llt_sweep_finished(summary: dict[str, Any]) -> None:
    """Hear that all cells of a request have ended: counts by outcome and seconds."""
