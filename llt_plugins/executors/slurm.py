"""Run jobs under Slurm, as job arrays, on machines that share the store's file system."""

from __future__ import annotations

import shlex
import shutil
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from pydantic import PrivateAttr, field_validator

from llt_core.errors import RequestError
from llt_core.interfaces import THREADS_VARIABLE, Executor, Job, Outcome, Report
from llt_core.interfaces.component import parameter
from llt_core.plugins import code_copy
from llt_plugins.executors.slurm_files import Batch, all_batches, keep_log
from llt_plugins.executors.slurm_queue import Queue, State

GATHER = 1.0
"""Seconds for which a job waits for others to go with it as one array."""

LOOK_EVERY = 0.5
"""Seconds between two looks for files that say how a job ended."""

GRACE, FILE_GRACE, LOST_GRACE = 2.0, 30.0, 15.0
"""Seconds from when Slurm says that a job has failed, completed, or that it knows no such job,
until that is believed: a requeued job comes back, and a file may reach this machine late."""

PATIENCE = 600.0
"""Seconds for which an array that sbatch refuses is offered again: queues have limits."""

DAY = 86400.0

_OWN_OPTIONS = {
    "array": "batch and parallel", "output": "", "error": "", "wrap": "", "parsable": "",
    "test-only": "", "wait": "", "job-name": "", "clusters": "", "nodes": "", "ntasks": "",
    "partition": "partition", "time": "time", "gres": "gres", "account": "account", "qos": "qos",
    "constraint": "constraint", "cpus-per-task": "cpus_per_task", "mem": "mem_gb",
}  # fmt: skip


@dataclass
class _Task:
    """A job on its way: where its files are, Slurm's name of it, and since when it seems over."""

    job: Job
    report: Report
    batch: Batch
    index: int
    name: str
    state: State | None = None
    ended: float | None = None
    told: Any = None


@dataclass
class _Waiting:
    """Jobs that no array has been made of yet."""

    jobs: list[tuple[Job, Report]] = field(default_factory=list)
    since: float = 0.0
    again: float = 0.0
    refused_since: float | None = None
    refusal: str = ""


class Slurm(Executor):
    """Jobs go to Slurm in arrays and run whether or not a driver is there.

    They see the store and the data under the same paths, run a copy of the code made when
    the driver started, and write their results themselves. A job that Slurm ends is reported
    as what ended it; one that Slurm requeues (preemption, a lost node) just goes on.
    """

    summary: ClassVar[str] = "Run jobs under Slurm, in job arrays; they outlive the driver"
    outlives_driver: ClassVar[bool] = True

    partition: str = parameter("", description="Partition; empty: the cluster's default")
    time: int = parameter(60, ge=1, description="Time limit of one job", unit="minutes")
    gres: str = parameter("", description="Generic resources of one job: gpu:1")
    account: str = parameter("", description="Account that is charged")
    qos: str = parameter("", description="Quality of service")
    constraint: str = parameter("", description="Features a node must have")
    cpus_per_task: int = parameter(
        1, ge=1, description="CPU cores of one job, and its threads", unit="cores"
    )
    mem_gb: float = parameter(
        0.0, ge=0, description="Memory of one job; 0: the cluster's default", unit="GB"
    )
    setup: tuple[str, ...] = parameter(
        (), description="Shell lines that run before each job: module load …"
    )
    extra: dict[str, str | int | float | bool] = parameter(
        {}, description="Further options of sbatch, by their long names without dashes"
    )
    python: str = parameter(
        "", description="Command that starts Python in a job; empty: the driver's own interpreter"
    )
    batch: int = parameter(100, ge=1, description="Jobs of one array at most", unit="jobs")
    parallel: int = parameter(
        0, ge=0, description="Jobs of one array that may run at once; 0: any number", unit="jobs"
    )
    max_jobs: int = parameter(
        500, ge=1, description="Jobs on their way at once, waiting ones included", unit="jobs"
    )
    poll_seconds: float = parameter(
        10.0, gt=0, description="Time between two questions to Slurm", unit="seconds"
    )

    _workspace: Path = PrivateAttr(default=Path())
    _code: code_copy.CodeCopy | None = PrivateAttr(default=None)
    _queue: Queue = PrivateAttr(default_factory=Queue)
    _waiting: _Waiting = PrivateAttr(default_factory=_Waiting)
    _tasks: dict[str, _Task] = PrivateAttr(default_factory=dict)
    _failed: list[Outcome] = PrivateAttr(default_factory=list)
    _states: dict[str, State] | None = PrivateAttr(default=None)
    _asked: float = PrivateAttr(default=float("-inf"))

    @field_validator("extra")
    @classmethod
    def _check_extra(cls, extra: dict[str, Any]) -> dict[str, Any]:
        for name in extra:
            known = _OWN_OPTIONS.get(name.replace("_", "-"))
            if known is not None:
                raise ValueError(f"{name} is set by {known or 'the executor itself'}")
        return extra

    def capacity(self) -> int:
        """Return ``max_jobs``."""
        return self.max_jobs

    def start(self, workspace: Path) -> None:
        """Copy the code, and ask Slurm whether it takes such jobs."""
        for command in ("sbatch", "squeue", "scancel"):
            if shutil.which(command) is None:
                raise RequestError(
                    f"there is no command {command} here",
                    expected="a machine from which jobs are submitted to Slurm",
                    next_step="log in to one, or --executor local",
                )
        try:
            from llt_plugins.executors.slurm_submit import ArraySubmission, SubmissionError
        except ImportError as error:
            raise RequestError(
                f"the executor slurm needs a package that is not installed: {error}",
                next_step="pip install 'llt[slurm]'",
            ) from error
        self._workspace = workspace.absolute()
        self._workspace.mkdir(parents=True, exist_ok=True)
        try:
            ArraySubmission(self._workspace, self.batch, self._options()).try_out()
        except SubmissionError as error:
            raise RequestError(
                f"Slurm would not take such jobs: {error}",
                where="parameters of the executor slurm",
                expected="what sinfo and sacctmgr show of this cluster",
                next_step="llt show slurm",
            ) from error
        self._code = code_copy.take(self._workspace / "code")
        self._clean()

    def submit(self, job: Job, report: Report) -> None:
        """Keep a job until others that are ready now can go with it."""
        if not self._waiting.jobs:
            self._waiting.since = time.monotonic()
        self._waiting.jobs.append((job, report))

    def poll(self, timeout: float | None = None) -> list[Outcome]:
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
        """Cancel every job of this driver, waiting or running."""
        self._queue.cancel(task.name for task in self._tasks.values())
        for task in self._tasks.values():
            task.batch.drop(task.index, task.name)
        self._forget()

    def close(self) -> None:
        """Leave the jobs that Slurm has; what it has not been given is dropped."""
        self._forget()

    def handles(self) -> Mapping[str, str]:
        """Return ``ARRAY_TASK``, Slurm's name, of each job that Slurm has."""
        return {job: task.name for job, task in self._tasks.items()}

    def attach(self, job: Job, handle: str, report: Report) -> bool:
        """Take over a job of an earlier driver; without a handle, look for it by its id."""
        found = self._find(job.id, handle)
        if found is None:
            return False
        batch, index, name = found
        task = _Task(job, report, batch, index, name)
        if batch.outcome(index) is None and self._vanished(name):
            batch.drop(index, name)
            return False
        self._tasks[job.id] = task
        return True

    # ---------------------------------------------------------------- to Slurm

    def _options(self) -> dict[str, Any]:
        """Return the options of an array, as submitit calls them."""
        threads = " ".join(
            f"{name}={self.cpus_per_task}"
            for name in (THREADS_VARIABLE, "OMP_NUM_THREADS", "MKL_NUM_THREADS")
        )
        named = {
            name: value
            for name in ("partition", "gres", "account", "qos", "constraint")
            if (value := getattr(self, name))
        }
        extra = {name.replace("_", "-"): value for name, value in self.extra.items()}
        return named | {
            "job_name": "llt",
            "time": self.time,
            "cpus_per_task": self.cpus_per_task,
            "mem": f"{round(self.mem_gb * 1024)}M" if self.mem_gb else None,
            "setup": [f"export {threads}", *self.setup],
            "array_parallelism": self.parallel or self.batch,
            "additional_parameters": {"requeue": True} | _without_false(extra),
            "use_srun": False,  # a job is one process, and srun would not pass on its cores
            "wckey": None,
        }

    def _submit_due(self) -> None:
        """Make arrays of what waits: of a full batch at once, of fewer after a moment."""
        waiting = self._waiting
        while waiting.jobs and time.monotonic() >= waiting.again:
            due = time.monotonic() >= waiting.since + GATHER
            if not due and len(waiting.jobs) < self.batch:
                return
            batch = waiting.jobs[: self.batch]
            del waiting.jobs[: self.batch]
            self._submit_array(batch)

    def _submit_array(self, jobs: list[tuple[Job, Report]]) -> None:
        from llt_plugins.executors.slurm_submit import ArraySubmission, SubmissionError

        assert self._code is not None, "start() comes first"
        folder = Batch.create(self._workspace, [job for job, _ in jobs], self._code.folder.name)
        options = self._options() | {"job_name": f"llt-{folder.folder.name}"}
        try:
            array = ArraySubmission(folder.log, len(jobs), options)
            number = array.submit_command(self._command(folder))
        except SubmissionError as error:
            folder.remove()
            self._refused(jobs, str(error))
            return
        folder.submitted(number)
        self._waiting.refused_since = None
        for index, (job, report) in enumerate(jobs):
            self._tasks[job.id] = _Task(job, report, folder, index, f"{number}_{index}")

    def _command(self, batch: Batch) -> str:
        """Return the command line of a task; its variables come after all setup lines."""
        assert self._code is not None
        variables = dict(self._code.environment)
        path = shlex.quote(variables.pop("PYTHONPATH")) + "${PYTHONPATH:+:$PYTHONPATH}"
        words = [f"PYTHONPATH={path}", *(f"{k}={shlex.quote(v)}" for k, v in variables.items())]
        python = self.python or shlex.quote(sys.executable)
        # -P: the folder a job runs in must not come before the copy of the code.
        words += [
            python,
            "-P -u -m llt_plugins.executors.slurm_job",
            shlex.quote(str(batch.folder)),
        ]
        return " ".join(words)

    def _refused(self, jobs: list[tuple[Job, Report]], why: str) -> None:
        """Offer an array again a little later; after many minutes, let its jobs fail."""
        waiting, now = self._waiting, time.monotonic()
        since = waiting.refused_since if waiting.refused_since is not None else now
        waiting.refused_since = since
        if now - since < PATIENCE:
            waiting.jobs[:0] = jobs
            waiting.again = now + min(60.0, 2.0 + (now - since) / 2)
            return
        message = f"Slurm has not taken the job for {PATIENCE / 60:.0f} minutes: {why}"
        self._failed += [Outcome(job.id, failure="killed", message=message) for job, _ in jobs]

    # ---------------------------------------------------------------- from Slurm

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
                outcome = self._lost(task)
            if outcome is not None:
                ended.append(self._finish(task, outcome))
        return ended

    def _ask(self) -> None:
        """Ask Slurm for the state of all jobs at once, if it is time to."""
        now = time.monotonic()
        doubtful = any(task.ended is not None for task in self._tasks.values())
        if now < self._asked + (min(GRACE, self.poll_seconds) if doubtful else self.poll_seconds):
            return
        states = self._refresh()
        if states is None:
            return
        gone = {task.name for task in self._tasks.values() if task.name not in states}
        states = self._queue.remembered(gone) | states
        for task in self._tasks.values():
            task.state = states.get(task.name)
            over = task.state is None or task.state.ended or task.state.stuck
            task.ended = (task.ended or now) if over else None
            if task.state is not None and task.state.word == "RUNNING":
                self._pass_on_progress(task)

    def _refresh(self) -> dict[str, State] | None:
        self._states, self._asked = self._queue.states(), time.monotonic()
        return self._states

    @staticmethod
    def _pass_on_progress(task: _Task) -> None:
        progress = task.batch.progress(task.index)
        if progress is not None and progress != task.told:
            task.told = progress
            task.report(progress)

    def _lost(self, task: _Task) -> Outcome | None:
        """Say how a job ended that has not said so itself; None while that may still come."""
        if task.ended is None:
            return None
        over, state = time.monotonic() - task.ended, task.state
        if state is None:
            if over < LOST_GRACE:
                return None
            what = "is unknown to Slurm: cancelled before it began, or ended long ago"
            return self._failure(task, "killed", what)
        if over < (FILE_GRACE if state.word == "COMPLETED" else GRACE):
            return None
        if state.stuck:
            self._queue.cancel([task.name])
            return self._failure(task, "killed", f"could not be started: {state.reason}")
        if state.failure == "timeout":
            return self._failure(task, "timeout", f"reached its time limit of {self.time} min")
        if state.failure == "out_of_memory":
            return self._failure(task, "out_of_memory", "used more memory than it may")
        if state.word == "CANCELLED":
            return self._failure(task, "killed", f"was cancelled {state.reason_of_end}".rstrip())
        if state.word == "COMPLETED":
            return self._failure(task, "killed", "ended without saying how")
        return self._failure(task, "killed", f"ended: {state.word} {state.reason_of_end}")

    def _failure(self, task: _Task, kind: Any, what: str) -> Outcome:
        words = task.batch.last_words(task.name)
        tail = "\n".join(words.splitlines()[-10:])
        message = f"Slurm job {task.name} {what.strip()}" + (f"\n{tail}" if tail else "")
        return Outcome(task.job.id, failure=kind, message=message)

    def _finish(self, task: _Task, outcome: Outcome) -> Outcome:
        """Forget a job whose outcome is told, and keep what it said if it failed."""
        self._pass_on_progress(task)
        if outcome.failure is not None:
            words = task.batch.last_words(task.name)
            keep_log(self._workspace, task.name, f"{outcome.message}\n\n{words}")
        task.batch.drop(task.index, task.name)
        del self._tasks[task.job.id]
        return outcome

    def _find(self, job: str, handle: str) -> tuple[Batch, int, str] | None:
        """Return the files and the name of an earlier driver's job."""
        array, _, task = handle.partition("_")
        for batch in all_batches(self._workspace):
            number = batch.facts["array"] or self._array_called(f"llt-{batch.folder.name}")
            if not number or (array and number != array):
                continue
            for index in [int(task)] if task.isdigit() else batch.indices():
                described = batch.job(index)
                if described is not None and described.id == job:
                    return batch, index, f"{number}_{index}"
        return None

    def _array_called(self, name: str) -> str:
        """Return the number of an array whose driver died before it could note it."""
        for task, state in (self._recent() or {}).items():
            if state.name == name:
                return task.partition("_")[0]
        return ""

    def _recent(self) -> dict[str, State] | None:
        stale = time.monotonic() >= self._asked + self.poll_seconds
        return self._refresh() if stale else self._states

    def _vanished(self, name: str) -> bool:
        """Whether Slurm, where it answers, knows nothing of a job any more."""
        states = self._recent()
        return states is not None and name not in states and not self._queue.remembered({name})

    def _clean(self) -> None:
        """Remove what no driver came back for in weeks, and copies of code that nothing runs."""
        used, now = set(), time.time()
        states = self._refresh()
        alive = {name.partition("_")[0] for name, s in (states or {}).items() if not s.ended}
        for batch in all_batches(self._workspace):
            facts, age = batch.facts, now - batch.folder.stat().st_mtime
            if states is not None and facts["array"] not in alive and age > 30 * DAY:
                batch.remove()
            else:
                used.add(facts["code"])
        code_copy.tidy(self._workspace / "code", used, now - DAY)

    def _forget(self) -> None:
        self._tasks.clear()
        self._failed.clear()
        self._waiting = _Waiting()


def _without_false(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not False}
