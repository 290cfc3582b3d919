"""What a Slurm job runs: ``python -P -m llt_plugins.executors.slurm_job BATCH``.

One task of an array does one job, and says in a file of the batch how it ended. A task that
was preempted or requeued comes here again: it does the job again, and whatever the job itself
kept (a checkpoint) it goes on from.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from pathlib import Path

from llt_core.interfaces import Job, Outcome, Progress, perform
from llt_core.plugins import code_copy
from llt_plugins.executors.slurm_files import Batch

REPORT_EVERY = 1.0
"""Seconds between two writes of the progress file."""


def main(folder: str) -> int:
    """Do the task that the environment names; return the exit status."""
    batch = Batch(Path(folder))
    index = int(os.environ["SLURM_ARRAY_TASK_ID"])
    job = batch.job(index)
    if job is None or batch.outcome(index) is not None:
        print("nothing to do: cancelled, or done before it was requeued", file=sys.stderr)
        return 0
    outcome = _refused(job) or perform(job, _Reporter(batch, index))
    batch.end(index, outcome)
    return 0 if outcome.failure is None else 1


def _refused(job: Job) -> Outcome | None:
    """Refuse to compute with other libraries than the job was submitted with."""
    known = code_copy.facts()
    differences = code_copy.changed(known) if known else []
    if not differences:
        return None
    message = (
        f"the libraries have changed since the job was submitted: {'; '.join(differences)}\n"
        "  expected: the libraries of then, so that all cells of a driver are computed alike\n"
        "  next: the same command again submits it with the libraries of now"
    )
    return Outcome(job.id, failure="request", message=message)


class _Reporter:
    """Writes progress into a file, now and then."""

    def __init__(self, batch: Batch, index: int) -> None:
        self._batch, self._index, self._next = batch, index, 0.0

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + REPORT_EVERY
            with suppress(OSError):  # a full disk stops the job where it matters, not here
                self._batch.report(self._index, progress)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
