"""The driver's side of the Slurm executor: which jobs wait, which Slurm has, which have ended."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from llt_core.interfaces import Job, Outcome, Report
from llt_plugins.executors.slurm_files import Batch, all_batches, keep_log
from llt_plugins.executors.slurm_queue import Queue, State
from llt_plugins.executors.slurm_task import GRACE, Task

if TYPE_CHECKING:
    from llt_plugins.executors.slurm_submit import Arrays

GATHER = 1.0
"""Seconds for which a job waits for others to go with it as one array."""

LOOK_EVERY = 0.5
"""Seconds between two looks for files that say how a job ended."""

PATIENCE = 600.0
"""Seconds for which an array that sbatch refuses is offered again: queues have limits."""


@dataclass
class _Waiting:
    """Jobs that Slurm does not have yet."""

    jobs: list[tuple[Job, Report]] = field(default_factory=list)
    since: float = 0.0
    again: float = 0.0
    pause: float = 0.0
    refused_since: float | None = None


@dataclass
class Desk:
    """All jobs of one driver.

    Attributes
    ----------
    batch
        Jobs of one array at most.
    poll_seconds
        Seconds between two questions to Slurm.
    """

    workspace: Path
    arrays: Arrays
    queue: Queue
    batch: int
    poll_seconds: float
    _waiting: _Waiting = field(default_factory=_Waiting, init=False)
    _tasks: dict[str, Task] = field(default_factory=dict, init=False)
    _failed: list[Outcome] = field(default_factory=list, init=False)
    _states: dict[str, State] | None = field(default=None, init=False)
    _asked: float = field(default=float("-inf"), init=False)

    def submit(self, job: Job, report: Report) -> None:
        """Keep a job until others that are ready now can go with it."""
        if not self._waiting.jobs:
            self._waiting.since = time.monotonic()
        self._waiting.jobs.append((job, report))

    def poll(self, timeout: float | None) -> list[Outcome]:
        """Submit what waits, and return how jobs ended that have."""
        deadline = float("inf") if timeout is None else time.monotonic() + timeout
        while self._waiting.jobs or self._tasks or self._failed:
            self._submit_due()
            ended = [*self._failed, *self._look()]
            self._failed = []
            left = deadline - time.monotonic()
            if ended or left <= 0:
                return ended
            time.sleep(min(LOOK_EVERY, left))
        return []

    def cancel(self) -> None:
        """Cancel every job, waiting or running."""
        self.queue.cancel([task.name for task in self._tasks.values()])
        for task in self._tasks.values():
            task.batch.drop(task.index, task.name)
        self._tasks.clear()
        self._failed.clear()
        self._waiting = _Waiting()

    def withdraw(self) -> list[str]:
        """Cancel the jobs that have not begun, and return their ids."""
        dropped = [job.id for job, _ in self._waiting.jobs]
        self._waiting = _Waiting()
        if not self._tasks:
            return dropped
        before = self._refresh() or {}
        self.queue.cancel([task.name for task in self._tasks.values()], waiting=True)
        after = self._refresh()
        if after is None:
            return dropped
        for task in list(self._tasks.values()):
            waited = task.name in before and before[task.name].word == "PENDING"
            if waited and (task.name not in after or after[task.name].word == "CANCELLED"):
                task.batch.drop(task.index, task.name)
                del self._tasks[task.job.id]
                dropped.append(task.job.id)
        return dropped

    def handles(self) -> Mapping[str, str]:
        """Return Slurm's name of each job that Slurm has."""
        return {job: task.name for job, task in self._tasks.items()}

    def attach(self, job: Job, handle: str, report: Report) -> bool:
        """Take over a job of an earlier driver; False if nobody knows what became of it."""
        found = self._find(job.id, handle)
        if found is None:
            return False
        batch, index, name = found
        if batch.outcome(index) is None and self._vanished(name):
            batch.drop(index, name)
            return False
        self._tasks[job.id] = Task(job, report, batch, index, name)
        return True

    # ---------------------------------------------------------------- to Slurm

    def _submit_due(self) -> None:
        """Make arrays of what waits: of a full batch at once, of fewer after a moment."""
        waiting = self._waiting
        while waiting.jobs and time.monotonic() >= waiting.again:
            due = time.monotonic() >= waiting.since + GATHER
            if not due and len(waiting.jobs) < self.batch:
                return
            jobs = waiting.jobs[: self.batch]
            del waiting.jobs[: self.batch]
            self._submit_array(jobs)

    def _submit_array(self, jobs: list[tuple[Job, Report]]) -> None:
        from llt_plugins.executors.slurm_submit import SubmissionError

        try:
            batch, number = self.arrays.submit([job for job, _ in jobs])
        except SubmissionError as error:
            self._refused(jobs, str(error))
            return
        self._waiting.refused_since, self._waiting.pause = None, 0.0
        for index, (job, report) in enumerate(jobs):
            self._tasks[job.id] = Task(job, report, batch, index, f"{number}_{index}")

    def _refused(self, jobs: list[tuple[Job, Report]], why: str) -> None:
        """Offer an array again a little later; after many minutes, let its jobs fail.

        As long as Slurm has other jobs of llt's, the queue may just be full of them.
        """
        waiting, now = self._waiting, time.monotonic()
        since = waiting.refused_since
        if since is None or self._tasks or self.others():
            since = waiting.refused_since = now
        if now - since < PATIENCE:
            waiting.jobs[:0] = jobs
            waiting.pause = min(60.0, 2.0 + 1.5 * waiting.pause)
            waiting.again = now + waiting.pause
            return
        waiting.refused_since, waiting.pause = None, 0.0
        message = f"Slurm has not taken the job for {PATIENCE / 60:.0f} minutes: {why}"
        self._failed += [Outcome(job.id, failure="killed", message=message) for job, _ in jobs]

    def others(self) -> bool:
        """Whether Slurm has jobs of this user's that other drivers submitted."""
        states = (self._recent() or {}).values()
        return any(state.name.startswith("llt-") and not state.ended for state in states)

    # -------------------------------------------------------------- from Slurm

    def _look(self) -> list[Outcome]:
        """Return how jobs ended: as they say themselves, else as Slurm says."""
        self._ask()
        batches = {task.batch.folder: task.batch for task in self._tasks.values()}
        said = {folder: batch.ended() for folder, batch in batches.items()}
        ended = []
        for task in list(self._tasks.values()):
            outcome = None
            if task.index in said[task.batch.folder]:
                outcome = task.batch.outcome(task.index)
            if outcome is None:
                outcome = task.lost()
            if outcome is not None:
                ended.append(self._finish(task, outcome))
        return ended

    def _ask(self) -> None:
        """Ask Slurm for the state of all jobs at once, if it is time to."""
        doubtful = any(task.over_since is not None for task in self._tasks.values())
        pause = min(GRACE, self.poll_seconds) if doubtful else self.poll_seconds
        if not self._tasks or time.monotonic() < self._asked + pause:
            return
        states = self._refresh()
        if states is None:
            return
        gone = {task.name for task in self._tasks.values() if task.name not in states}
        states = self.queue.remembered(gone) | states
        for task in self._tasks.values():
            task.seen(states.get(task.name))

    def _refresh(self) -> dict[str, State] | None:
        self._states, self._asked = self.queue.states(), time.monotonic()
        return self._states

    def _finish(self, task: Task, outcome: Outcome) -> Outcome:
        """Forget a job whose outcome is told, and keep what it said if it failed."""
        task.pass_on_progress()
        if task.stuck:
            self.queue.cancel([task.name])
        if outcome.failure is not None:
            words = task.batch.last_words(task.name)
            keep_log(self.workspace, task.name, f"{outcome.message}\n\n{words}")
        task.batch.drop(task.index, task.name)
        del self._tasks[task.job.id]
        return replace(outcome, job=task.job.id)

    # ----------------------------------------------------- from an earlier driver

    def _find(self, job: str, handle: str) -> tuple[Batch, int, str] | None:
        """Return the files and the name of an earlier driver's job."""
        array, _, task = handle.partition("_")
        for batch in all_batches(self.workspace):
            number = batch.facts["array"] or self._array_called(batch.slurm_name)
            if not number or (handle and number != array):
                continue
            for index in [int(task)] if task.isdigit() else batch.indices():
                described = batch.job(index)
                if described is not None and _is_it(described, job, sure=bool(handle)):
                    return batch, index, f"{number}_{index}"
        return None

    def _array_called(self, name: str) -> str:
        """Return the number of an array whose driver died before it could note it."""
        for task, state in (self._recent() or {}).items():
            if state.name == name:
                return task.partition("_")[0]
        return ""

    def _vanished(self, name: str) -> bool:
        """Whether Slurm, where it answers, knows nothing of a job any more."""
        states = self._recent()
        return states is not None and name not in states and not self.queue.remembered({name})

    def _recent(self) -> dict[str, State] | None:
        stale = time.monotonic() >= self._asked + self.poll_seconds
        return self._refresh() if stale else self._states


def _is_it(described: Job, job: str, *, sure: bool) -> bool:
    """Whether a task does the job of an earlier driver that is called ``job`` now.

    Some of what a job computes may be done when it is taken over. Then it may be called by
    another part of its payload than when it was submitted; its handle tells which it is. Not
    the handle alone: Slurm counts from one again when its controller is set up anew.
    """
    return described.id == job or (sure and json.dumps(job) in json.dumps(described.payload))
