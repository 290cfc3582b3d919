"""Run jobs under Slurm, as job arrays, on machines that share the store's file system."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import PrivateAttr, field_validator

from llt_core.errors import RequestError
from llt_core.interfaces import (
    THREADS_VARIABLE,
    Executor,
    Job,
    Outcome,
    Report,
    parameter,
)
from llt_core.plugins import code_copy
from llt_plugins.executors.slurm_desk import Desk
from llt_plugins.executors.slurm_files import all_batches
from llt_plugins.executors.slurm_queue import Queue

if TYPE_CHECKING:
    from llt_plugins.executors.slurm_submit import Arrays

DAY = 86400.0
OLD, UNUSED = 30 * DAY, DAY
"""Age at which arrays nobody came back for are removed, and copies of the code nothing runs."""

_OWN_OPTIONS = {
    "array": "batch and parallel", "output": "", "error": "", "wrap": "", "parsable": "",
    "test-only": "", "wait": "", "job-name": "", "clusters": "", "nodes": "", "ntasks": "",
    "partition": "partition", "time": "time", "gres": "gres", "account": "account", "qos": "qos",
    "constraint": "constraint", "cpus-per-task": "cpus_per_task", "mem": "mem_gb",
}  # fmt: skip


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

    _desk: Desk | None = PrivateAttr(default=None)

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
        arrays = self._open(workspace)
        from llt_plugins.executors.slurm_submit import SubmissionError

        try:
            arrays.try_out(self.batch)
        except SubmissionError as error:
            # A queue that is full of llt's own jobs has room later, and these can be taken up.
            if not (_is_full(error) and self._started.others()):
                self._desk = None
                raise RequestError(
                    f"Slurm would not take such jobs: {error}",
                    where="parameters of the executor slurm",
                    expected="what this cluster has: sinfo shows its partitions",
                    next_step="llt show slurm",
                ) from error
        arrays.code = code_copy.take(workspace.absolute() / "code")
        _clean(workspace.absolute(), Queue())

    def reconnect(self, workspace: Path) -> None:
        """Look for the jobs of earlier drivers; Slurm is asked nothing yet."""
        self._open(workspace)

    def _open(self, workspace: Path) -> Arrays:
        for command in ("sbatch", "squeue", "scancel"):
            if shutil.which(command) is None:
                raise RequestError(
                    f"there is no command {command} here",
                    expected="a machine from which jobs are submitted to Slurm",
                    next_step="log in to one, or --executor local",
                )
        try:
            from llt_plugins.executors.slurm_submit import Arrays
        except ImportError as error:
            raise RequestError(
                f"the executor slurm needs a package that is not installed: {error}",
                next_step="pip install 'llt[slurm]'",
            ) from error
        workspace = workspace.absolute()
        workspace.mkdir(parents=True, exist_ok=True)
        arrays = Arrays(workspace, self._options(), self.python)
        self._desk = Desk(workspace, arrays, Queue(), self.batch, self.poll_seconds)
        return arrays

    def submit(self, job: Job, report: Report) -> None:
        """Keep a job until others that are ready now can go with it."""
        self._started.submit(job, report)

    def poll(self, timeout: float | None = None) -> list[Outcome]:
        """Submit what waits, and return how jobs ended that have."""
        return self._started.poll(timeout)

    def cancel(self) -> None:
        """Cancel every job of this driver, waiting or running."""
        if self._desk is not None:
            self._desk.cancel()

    def withdraw(self) -> list[str]:
        """Cancel what has not begun, and return the ids of these jobs."""
        return [] if self._desk is None else self._desk.withdraw()

    def close(self) -> None:
        """Leave the jobs that Slurm has; what it has not been given is dropped."""
        self._desk = None

    def handles(self) -> Mapping[str, str]:
        """Return ``ARRAY_TASK``, Slurm's name, of each job that Slurm has."""
        return {} if self._desk is None else self._desk.handles()

    def attach(self, job: Job, handle: str, report: Report) -> bool:
        """Take over a job of an earlier driver; without a handle, look for it by its id."""
        return self._started.attach(job, handle, report)

    @property
    def _started(self) -> Desk:
        if self._desk is None:
            raise RuntimeError("the executor slurm is not started")
        return self._desk

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


def _is_full(error: Exception) -> bool:
    """Whether sbatch speaks of a limit on how many jobs one may have submitted."""
    text = str(error).lower().replace("_", "")
    return "submit limit" in text or "maxsubmit" in text


def _without_false(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not False}


def _clean(workspace: Path, queue: Queue) -> None:
    """Remove what no driver came back for in weeks, and copies of code that nothing runs."""
    used, now = set(), time.time()
    states = queue.states()
    alive = {name.partition("_")[0] for name, s in (states or {}).items() if not s.ended}
    for batch in all_batches(workspace):
        facts = batch.facts
        if states is not None and facts["array"] not in alive and batch.changed < now - OLD:
            batch.remove()
        else:
            used.add(facts["code"])
    code_copy.tidy(workspace / "code", used, now - UNUSED)
