"""Progress on standard error: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    Task,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from llt_core.interfaces import Progress as CellProgress
from llt_core.sweep import CellResult, Listener, PlannedCell

PLAIN_EVERY = 10.0
"""Seconds between two lines about one cell when the output is not a terminal."""


class _TimeLeft(TimeRemainingColumn):
    """The time left as the task says it, else by the rate of its units."""

    def render(self, task: Task) -> Text:
        """Return a few words."""
        said = task.fields.get("left")
        return Text.assemble(("left ", "dim"), super().render(task)) if said is None else Text(said)


class ProgressListener(Listener):
    """Draws the cells being computed. A run answered from the store draws nothing."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._console = Console(stderr=True, quiet=quiet)
        self._live = sys.stderr.isatty() and not quiet
        self._plain = not self._live and not quiet
        self._todo: dict[str, PlannedCell] = {}
        self._done = 0
        self._last_line = time.monotonic()
        self._tasks: dict[str, TaskID] = {}
        self._waiting: TaskID | None = None
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TaskProgressColumn(),
            TextColumn("[dim]{task.fields[text]}"),
            TimeElapsedColumn(),
            _TimeLeft(),
            console=self._console,
            transient=True,
        )

    def __enter__(self) -> Self:
        """Do nothing yet: drawing starts with the first cell to compute."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the terminal clean, however the run ended."""
        if self._live:
            self._progress.stop()

    def planned(self, todo: list[PlannedCell], cached: int) -> None:
        """Start drawing if there is anything to compute."""
        self._todo = {planned.digest: planned for planned in todo}
        if todo and self._live:
            self._progress.start()
            # Importing PyTorch takes seconds in which no cell can say anything.
            self._waiting = self._progress.add_task("starting", total=None, text="loading PyTorch")

    def progress(self, progress: CellProgress) -> None:
        """Move one bar, or say how far a cell is every few seconds."""
        planned = self._todo.get(progress.job)
        if planned is None:
            return
        self._stop_waiting()
        if self._live:
            if progress.job not in self._tasks:
                self._tasks[progress.job] = self._progress.add_task(planned.label, text="")
            self._progress.update(
                self._tasks[progress.job],
                completed=progress.done,
                total=progress.total,
                text=progress.text,
            )
        elif self._plain and time.monotonic() - self._last_line >= PLAIN_EVERY:
            self._last_line = time.monotonic()
            percent = 100 * progress.done // max(progress.total, 1)
            print(f"{planned.label}: {percent} % ({progress.text})", file=sys.stderr, flush=True)

    def finished(self, result: CellResult) -> None:
        """Take the bar away; on plain output say what came out."""
        self._stop_waiting()
        self._done += 1
        task = self._tasks.pop(result.planned.digest, None)
        if task is not None:
            self._progress.remove_task(task)
        if self._plain:
            seconds = f" in {result.record.seconds:.1f} s" if result.record else ""
            count = f"[{self._done}/{len(self._todo)}]"
            print(
                f"{count} {result.planned.label}: {result.origin}{seconds}{self._note()}",
                file=sys.stderr,
                flush=True,
            )

    def _note(self) -> str:
        """Return what a plain line says at its end."""
        return ""

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._progress.remove_task(self._waiting)
            self._waiting = None
