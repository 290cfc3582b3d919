"""Progress of a sweep: one bar over all cells with the time left, and the cell at work."""

from __future__ import annotations

import sys
import time

from rich.progress import TaskID
from rich.text import Text

from llt_core.cli.durations import duration
from llt_core.cli.progress import ProgressListener
from llt_core.sweep import CellResult, PlannedCell
from llt_core.sweep.estimate import Estimator

GUESS_EVERY = 2.0
"""Seconds between two estimates of the time left, at least,"""
_SHARE = 50
"""and this many times what one takes."""


class SweepProgress(ProgressListener):
    """Draws the whole sweep beside the cells being computed, and failures as they happen."""

    def __init__(self, *, quiet: bool = False) -> None:
        super().__init__(quiet=quiet)
        self._estimator = Estimator()
        self._left: dict[str, PlannedCell] = {}
        self._failed = 0
        self._next_guess = 0.0
        self._time_left = ""
        self._overall: TaskID | None = None

    def noted(self, text: str) -> None:
        """Say it, on quiet runs too."""
        print(f"note: {text}", file=sys.stderr, flush=True)

    def planned(self, todo: list[PlannedCell], cached: int) -> None:
        """Start drawing if there is anything to compute."""
        self._left = {planned.digest: planned for planned in todo}
        if todo and self._live:
            self._overall = self._progress.add_task(
                "[bold]sweep", total=len(todo), text=f"{len(todo)} cells", left=""
            )
        if todo and self._plain:
            print(f"{len(todo)} cells to do, {cached} in the store", file=sys.stderr, flush=True)
        super().planned(todo, cached)

    def finished(self, result: CellResult) -> None:
        """Move the bar on, and say what failed and why."""
        self._left.pop(result.planned.digest, None)
        if result.record is not None:
            self._estimator.add(result.record)
        if result.origin == "failed":
            self._failed += 1
            self._tell_failure(result)
        super().finished(result)
        if self._overall is not None:
            text = f"{len(self._left)} cells" + (f", {self._failed} failed" * bool(self._failed))
            self._progress.update(self._overall, advance=1, text=text, left=self._remaining())

    def _note(self) -> str:
        left = self._remaining()
        return f", {left}" if left else ""

    def _tell_failure(self, result: CellResult) -> None:
        lines = result.message.splitlines()
        reason = lines[0] if lines else "failed"
        if self._live:
            text = Text.assemble((result.planned.label, "red"), f": {reason}")
            self._progress.console.print(text)
        elif self._plain:
            print(f"{result.planned.label}: {reason}", file=sys.stderr, flush=True)

    def _remaining(self) -> str:
        """Return the time left in words, judged by the cells that are finished."""
        if not self._left:
            return ""
        start = time.monotonic()
        if start >= self._next_guess:
            guesses = [self._estimator.seconds(planned) for planned in self._left.values()]
            known = [seconds for seconds in guesses if seconds is not None]
            self._time_left = ""
            if len(known) > len(guesses) / 2:
                total = sum(known) * len(guesses) / len(known)
                self._time_left = f"about {duration(total)} left"
            end = time.monotonic()
            self._next_guess = end + max(GUESS_EVERY, _SHARE * (end - start))
        return self._time_left
