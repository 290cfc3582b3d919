"""Progress for programs: one JSON object a line on standard output."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from llt_core.interfaces import Progress
from llt_core.spec.naming import work_name
from llt_core.sweep import CellResult, Listener, PlannedCell

PROGRESS_EVERY = 1.0
"""Seconds between two lines about how far one cell is."""


class JsonLines(Listener):
    """Writes what happens, each as one object with ``event`` and ``time``.

    ======== =================================================================================
    event    other keys
    ======== =================================================================================
    note     ``text``
    planned  ``todo`` and ``cached`` (how many cells), ``kinds`` (how many to do of each)
    waiting  ``text``: who computes what is left, so that nothing can start here
    started  ``digest``, ``label``, ``kind``
    progress ``digest``, ``label``, ``done``, ``total``, ``text``; at most one a second a cell
    retrying ``digest``, ``label``, ``failure``, ``message``, ``attempt`` (the one that failed)
    finished ``digest``, ``label``, ``kind``, ``origin`` (new, or cached: another driver was
             first), ``status`` (done or diverged), ``seconds``, ``measurements``
    failed   ``digest``, ``label``, ``kind``, ``origin`` (failed or blocked), ``failure``,
             ``message``, ``file``
    summary  ``cells`` (how many new, cached, failed, blocked; diverged ones are new or cached),
             ``seconds``, ``ended`` (done, interrupted or error); the last line
    ======== =================================================================================
    """

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._counts: Counter[str] = Counter()
        self._planned: dict[str, PlannedCell] = {}
        self._next: dict[str, float] = {}

    def __enter__(self) -> Self:
        """Begin to count the time."""
        self._start = time.monotonic()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Write the summary, however the run ended."""
        ended = "done" if kind is None else "error"
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            ended = "interrupted"
        origins = ("new", "cached", "failed", "blocked")
        cells = {origin: self._counts[origin] for origin in origins}
        seconds = round(time.monotonic() - self._start, 3)
        if not (kind is not None and issubclass(kind, BrokenPipeError)):
            self._write("summary", cells=cells, seconds=seconds, ended=ended)

    def noted(self, text: str) -> None:
        """Pass a note on."""
        self._write("note", text=text)

    def planned(self, todo: list[PlannedCell], cached: int) -> None:
        """Say how much there is to do."""
        self._planned = {planned.digest: planned for planned in todo}
        self._counts["cached"] += cached
        kinds = Counter(work_name(planned.cell) for planned in todo)
        self._write("planned", todo=len(todo), cached=cached, kinds=dict(kinds))

    def blocked(self, result: CellResult) -> None:
        """Say what cannot be measured, whatever is done."""
        self.finished(result)

    def waiting(self, text: str) -> None:
        """Say for whom this process waits."""
        self._write("waiting", text=text)

    def started(self, cells: Sequence[PlannedCell]) -> None:
        """Say which cells a job computes."""
        for planned in cells:
            self._write("started", **_named(planned), kind=planned.cell.kind)

    def progress(self, progress: Progress) -> None:
        """Say how far a cell is, unless that was just said."""
        planned, now = self._planned.get(progress.job), time.monotonic()
        if planned is None or now < self._next.get(progress.job, 0.0):
            return
        self._next[progress.job] = now + PROGRESS_EVERY
        facts = {"done": progress.done, "total": progress.total, "text": progress.text}
        self._write("progress", **_named(planned), **facts)

    def retrying(self, result: CellResult, attempt: int) -> None:
        """Say which cell is tried again, and why."""
        facts = {"failure": result.failure, "message": result.message, "attempt": attempt}
        self._write("retrying", **_named(result.planned), **facts)

    def finished(self, result: CellResult) -> None:
        """Say what came out."""
        self._counts[result.origin] += 1
        self._next.pop(result.planned.digest, None)
        facts = {**_named(result.planned), "kind": result.planned.cell.kind}
        facts["origin"] = result.origin
        record = result.record
        if record is None:
            file = None if result.failure_file is None else str(result.failure_file)
            why = {"failure": result.failure, "message": result.message, "file": file}
            self._write("failed", **facts, **why)
            return
        kept = ("name", "value", "standard_error", "unit", "n", "status")
        measured = [{key: getattr(m, key) for key in kept} for m in record.measurements]
        self._write(
            "finished",
            **facts,
            status=record.status,
            seconds=record.seconds,
            measurements=measured,
        )

    def _write(self, event: str, **facts: Any) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        print(json.dumps({"event": event, "time": now, **facts}, allow_nan=False), flush=True)


def _named(planned: PlannedCell) -> dict[str, Any]:
    return {"digest": planned.digest, "label": planned.label}
