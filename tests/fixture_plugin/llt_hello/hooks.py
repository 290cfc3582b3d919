"""Observers: what happens is appended as JSON lines to the file named by LLT_HELLO_LOG.

All hooks are optional. An exception in one is reported to the user and never fails a cell.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from llt_core.plugins import hookimpl


def log(event: str, **facts: Any) -> None:
    """Append one line to the log, if there is one."""
    file = os.environ.get("LLT_HELLO_LOG")
    if file:
        with Path(file).open("a", encoding="utf-8") as lines:
            lines.write(json.dumps({"event": event, **facts}) + "\n")


@hookimpl
def llt_provenance() -> dict[str, Any]:
    """Record these facts with every result, under the name of this package."""
    return {"greeting": "hello"}


@hookimpl
def llt_cell_started(digest: str, kind: str) -> None:
    """Hear that a cell starts."""
    log("started", digest=digest, kind=kind)


@hookimpl
def llt_cell_finished(digest: str, kind: str, record: dict[str, Any]) -> None:
    """Hear that a cell is in the store."""
    log("finished", digest=digest, kind=kind, seconds=record["seconds"])


@hookimpl
def llt_cell_failed(digest: str, kind: str, failure: dict[str, Any]) -> None:
    """Hear that a cell failed."""
    log("failed", digest=digest, kind=kind, message=failure["message"])


@hookimpl
def llt_sweep_finished(summary: dict[str, Any]) -> None:
    """Hear that all cells of a request have ended."""
    log("sweep", cells=summary["cells"])
