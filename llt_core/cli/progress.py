"""Progress on standard error: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Self

from rich.console import Console, RenderableType
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
KEPT_FREE = 3
"""Lines of a terminal that bars leave to other output."""


class _TimeLeft(TimeRemainingColumn):
    """The time left as the task says it, else by the rate of its units."""

    def render(self, task: Task) -> Text:
        """Return a few words."""
        said = task.fields.get("left")
        return Text.assemble(("left ", "dim"), super().render(task)) if said is None else Text(said)


class _Bars(Progress):
    """As many bars as the terminal has lines for, the oldest first, and how many more there are."""

    def get_renderables(self) -> Iterable[RenderableType]:
        """Return the bars, and one line more."""
        tasks = self.tasks
        # Rich asks once before there is a console, and before there are bars.
        room = max(2, self.console.height - KEPT_FREE) if tasks else 0
        yield self.make_tasks_table(tasks[:room])
        if len(tasks) > room:
            yield Text(f"… and {len(tasks) - room} more running", style="dim")


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
        self._progress = _Bars(
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
        self._done = 0
        if todo and self._live:
            self._progress.start()
            # Importing PyTorch takes seconds in which no cell can say anything.
            self._wait("starting", "loading PyTorch")

    def noted(self, text: str) -> None:
        """Say it, on quiet runs too."""
        if self._live:
            self._progress.console.print(Text(f"note: {text}"))
        else:
            print(f"note: {text}", file=sys.stderr, flush=True)

    def waiting(self, text: str) -> None:
        """Say for whom this process waits, in a bar or in a line."""
        if self._live:
            self._wait(text, "")
        elif self._plain:
            print(text, file=sys.stderr, flush=True)

    def started(self, cells: Sequence[PlannedCell]) -> None:
        """Say no more that this process waits for another one."""
        if self._live and self._waiting is not None:
            self._wait("starting", "loading PyTorch")

    def retrying(self, result: CellResult, attempt: int) -> None:
        """Say which cell is tried again, and why."""
        self._drop(result.planned)
        reason = (result.message.splitlines() or [result.failure or "failed"])[0]
        self._tell(result.planned, f"attempt {attempt} failed, another follows: {reason}", "yellow")

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
        self._drop(result.planned)
        if self._plain:
            seconds = f" in {result.record.seconds:.1f} s" if result.record else ""
            count = f"[{self._done}/{len(self._todo)}]"
            print(
                f"{count} {result.planned.label}: {result.origin}{seconds}{self._note()}",
                file=sys.stderr,
                flush=True,
            )

    def _drop(self, planned: PlannedCell) -> None:
        """Take the bar of a cell away, if it has one."""
        task = self._tasks.pop(planned.digest, None)
        if task is not None:
            self._progress.remove_task(task)

    def _tell(self, planned: PlannedCell, text: str, style: str) -> None:
        """Say something of a cell above the bars, or in a line of its own."""
        if self._live:
            line = Text.assemble((planned.label, style), f": {text}")
            self._progress.console.print(line)
        elif self._plain:
            print(f"{planned.label}: {text}", file=sys.stderr, flush=True)

    def _note(self) -> str:
        """Return what a plain line says at its end."""
        return ""

    def _wait(self, what: str, text: str) -> None:
        """Draw a bar without an end that says why no cell has one."""
        if self._waiting is None:
            self._waiting = self._progress.add_task(what, total=None, text=text)
        self._progress.update(self._waiting, description=what, text=text)

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._progress.remove_task(self._waiting)
            self._waiting = None
