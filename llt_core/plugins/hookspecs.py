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
def llt_sweep_started(summary: dict[str, Any]) -> None:
    """Hear what was asked for, once, before the first cell starts.

    Keys: ``name`` of the sweep (empty for a run), ``command``, ``fields`` (the dotted names of
    what it varies), ``store`` (its folder), ``executor``, ``force`` (whether everything is
    computed again), ``cells`` and ``todo``: how many cells there are by kind, and how many of
    them have to be computed.
    """


@hookspec
def llt_cell_started(digest: str, kind: str, label: str, composition: dict[str, Any]) -> None:
    """Hear that a cell starts.

    ``kind`` is ``train`` or ``measure``; ``label`` names it in a few words, with the values of
    the varied fields; ``composition`` has every parameter, defaults included, as in a record.
    """


@hookspec
def llt_cell_finished(digest: str, kind: str, label: str, record: dict[str, Any]) -> None:
    """Hear that a cell is in the store; ``record`` is a copy of its record.

    Cells that were there before are not told of.
    """


@hookspec
def llt_cell_failed(
    digest: str, kind: str, label: str, composition: dict[str, Any], failure: dict[str, Any]
) -> None:
    """Hear that an attempt at a cell failed, with the failure as it is recorded.

    Where the cause lay outside, the cell may be started again.
    """


@hookspec
def llt_sweep_finished(summary: dict[str, Any]) -> None:
    """Hear that a request has ended, also by an interruption or an error.

    Keys: ``name`` as above, ``cells`` that have ended, by outcome, ``complete`` (whether all
    have), ``seconds``.
    """
