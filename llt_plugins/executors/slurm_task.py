"""One job that Slurm has, and how it is told that it ended."""

from __future__ import annotations

import time
from dataclasses import dataclass

from llt_core.interfaces import FailureKind, Job, Outcome, Progress, Report
from llt_plugins.executors.slurm_files import Batch
from llt_plugins.executors.slurm_queue import State

GRACE, FILE_GRACE, LOST_GRACE = 2.0, 30.0, 15.0
"""Seconds from when Slurm says that a job has failed, completed, or that it knows no such job,
until that is believed: a requeued job comes back, and a file may reach this machine late."""


@dataclass
class Task:
    """A job on its way.

    Attributes
    ----------
    name
        Slurm's name of it: ``ARRAY_TASK``.
    state
        What Slurm last said of it; None if it knows no such job, or was not asked yet.
    over_since
        Since when it seems to have ended without saying how.
    """

    job: Job
    report: Report
    batch: Batch
    index: int
    name: str
    state: State | None = None
    over_since: float | None = None
    _told: Progress | None = None

    @property
    def stuck(self) -> bool:
        """Whether Slurm holds the job for ever."""
        return self.state is not None and self.state.stuck

    def seen(self, state: State | None) -> None:
        """Note what Slurm says now."""
        self.state = state
        if state is not None and not state.ended and not state.stuck:
            self.over_since = None
            if state.word == "RUNNING":
                self.pass_on_progress()
        elif self.over_since is None:
            self.over_since = time.monotonic()

    def pass_on_progress(self) -> None:
        """Report how far the job is, if it has got any further."""
        progress = self.batch.progress(self.index)
        if progress is not None and progress != self._told:
            self._told = progress
            self.report(progress)

    def lost(self) -> Outcome | None:
        """Say how a job ended that has not said so itself; None while that may still come."""
        if self.over_since is None:
            return None
        over = time.monotonic() - self.over_since
        if self.state is None:
            what = "is unknown to Slurm: cancelled before it began, or ended long ago"
            return self._failure("killed", what) if over >= LOST_GRACE else None
        if over < (FILE_GRACE if self.state.word == "COMPLETED" else GRACE):
            return None
        return self._failure(*_explained(self.state))

    def _failure(self, kind: FailureKind, what: str) -> Outcome:
        words = self.batch.last_words(self.name)
        tail = "\n".join(words.splitlines()[-10:])
        message = f"Slurm job {self.name} {what}" + (f"\n{tail}" if tail else "")
        return Outcome(self.job.id, failure=kind, message=message)


def _explained(state: State) -> tuple[FailureKind, str]:
    """Return what kind of failure a state is, and its words."""
    reason = "" if state.reason in ("", "None") else f" ({state.reason})"
    if state.stuck:
        return "killed", f"could not be started by its node{reason}"
    if state.word in ("TIMEOUT", "DEADLINE"):
        return "timeout", "reached its time limit"
    if state.word == "OUT_OF_MEMORY":
        return "out_of_memory", "used more memory than it may"
    if state.word == "CANCELLED":
        return "killed", f"was cancelled{reason}"
    if state.word == "COMPLETED":
        return "killed", "ended without saying how"
    return "killed", f"ended: {state.word}{reason}"
