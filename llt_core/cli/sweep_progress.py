"""Progress of a sweep: one bar over all cells with the time left, and the cell at work."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from rich.progress import TaskID

from llt_core.cli.durations import duration
from llt_core.cli.progress import ProgressListener
from llt_core.interfaces import Progress as CellProgress
from llt_core.sweep import CellResult, PlannedCell
from llt_core.sweep.estimate import Estimator

GUESS_EVERY = 2.0
"""Seconds between two estimates of the time left, at least,"""
_PATIENCE = 50
"""and this many times what one takes."""


class SweepProgress(ProgressListener):
    """Draws the whole sweep beside the cells being computed, and failures as they happen."""

    def __init__(self, *, quiet: bool = False) -> None:
        super().__init__(quiet=quiet)
        self._estimator = Estimator()
        self._left: dict[str, PlannedCell] = {}
        self._failed = 0
        self._jobs = 0
        self._job_of: dict[str, int] = {}
        self._at_once = 1
        self._share: dict[str, float] = {}
        self._next_guess = 0.0
        self._time_left = ""
        self._overall: TaskID | None = None

    def planned(self, todo: list[PlannedCell], cached: int) -> None:
        """Start drawing if there is anything to compute."""
        self._left = {planned.digest: planned for planned in todo}
        if self._overall is not None:  # of an earlier round
            self._progress.remove_task(self._overall)
            self._overall = None
        if todo and self._live:
            self._overall = self._progress.add_task(
                "[bold]sweep", total=len(todo), text=f"{len(todo)} cells", left=""
            )
        if todo and self._plain:
            print(f"{len(todo)} cells to do, {cached} in the store", file=sys.stderr, flush=True)
        super().planned(todo, cached)

    def started(self, cells: Sequence[PlannedCell]) -> None:
        """Note that one more job is on its way; it runs once it has said something."""
        self._jobs += 1
        self._job_of.update({planned.digest: self._jobs for planned in cells})
        super().started(cells)

    def retrying(self, result: CellResult, attempt: int) -> None:
        """Say which cell is tried again; its job has ended."""
        self._end(result.planned.digest)
        super().retrying(result, attempt)

    def progress(self, progress: CellProgress) -> None:
        """Move one bar, and note what is left of the cell."""
        new = progress.job not in self._share
        self._share[progress.job] = min(1.0, progress.done / max(progress.total, 1))
        if new:
            heard = {self._job_of[digest] for digest in self._share if digest in self._job_of}
            self._at_once = max(self._at_once, len(heard))
        super().progress(progress)

    def finished(self, result: CellResult) -> None:
        """Move the bar on, and say what failed and why."""
        self._left.pop(result.planned.digest, None)
        if result.record is not None:
            self._estimator.add(result.record)
        self._end(result.planned.digest)
        if result.origin == "failed":
            self._failed += 1
            self._tell(result.planned, (result.message.splitlines() or ["failed"])[0], "red")
        elif result.record is not None and result.record.status == "diverged":
            self._tell(result.planned, "diverged: its loss is not finite any more", "yellow")
        super().finished(result)
        if self._overall is not None:
            text = f"{len(self._left)} cells" + (f", {self._failed} failed" * bool(self._failed))
            self._progress.update(self._overall, advance=1, text=text, left=self._remaining())

    def _end(self, digest: str) -> None:
        self._job_of.pop(digest, None)
        self._share.pop(digest, None)

    def _note(self) -> str:
        left = self._remaining()
        return f", {left}" if left else ""

    def _remaining(self) -> str:
        """Return the time left in words, judged by the cells that are finished."""
        if not self._left:
            return ""
        start = time.monotonic()
        if start >= self._next_guess:
            seconds = self.seconds_left()
            self._time_left = "" if seconds is None else f"about {duration(seconds)} left"
            end = time.monotonic()
            self._next_guess = end + max(GUESS_EVERY, _PATIENCE * (end - start))
        return self._time_left

    def seconds_left(self) -> float | None:
        """Estimate the time until all is done; None where less than half of it is known.

        What is left of all cells, shared by as many jobs as have run at once so far, as long as
        there are so many cells: but not less than the longest job that is running.
        """
        left: dict[str, float] = {}
        for digest, planned in self._left.items():
            seconds = self._estimator.seconds(planned)
            if seconds is not None:
                left[digest] = seconds * (1 - self._share.get(digest, 0.0))
        if len(left) <= len(self._left) / 2:
            return None
        total = sum(left.values()) * len(self._left) / len(left)
        jobs: dict[int, float] = {}
        for digest, job in self._job_of.items():
            jobs[job] = jobs.get(job, 0.0) + left.get(digest, 0.0)
        return max(total / min(self._at_once, len(self._left)), *jobs.values(), 0.0)
