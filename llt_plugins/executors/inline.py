"""Run jobs in the calling process."""

from __future__ import annotations

from typing import ClassVar

from pydantic import PrivateAttr

from llt_core.interfaces import Executor, Job, Outcome, Report, perform


class Inline(Executor):
    """One job after the other, in the driver's own process and thread.

    A debugger works, and nothing runs in the background. ``poll`` runs the oldest job to
    its end, whatever the timeout.
    """

    summary: ClassVar[str] = "Run every job in this process, one after the other"

    _queue: list[tuple[Job, Report]] = PrivateAttr(default_factory=list)

    def at_once(self) -> int:
        """Return 1."""
        return 1

    def capacity(self) -> int:
        """Return 1."""
        return 1

    def submit(self, job: Job, report: Report) -> None:
        """Queue a job for the next :meth:`poll`."""
        self._queue.append((job, report))

    def poll(self, timeout: float | None = None) -> list[Outcome]:
        """Run the oldest job and return its outcome; nothing queued, nothing returned."""
        if not self._queue:
            return []
        job, report = self._queue.pop(0)
        return [perform(job, report)]

    def cancel(self) -> None:
        """Drop what waits."""
        self._queue.clear()
