"""Run jobs on a Ray cluster, or on a local Ray."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import PrivateAttr, model_validator

from llt_core.interfaces import (
    THREADS_VARIABLE,
    Executor,
    Job,
    Outcome,
    Report,
    RequestError,
    parameter,
)
from llt_core.version import __version__
from llt_plugins.executors.ray_connection import Connection, added_paths
from llt_plugins.executors.ray_places import Places
from llt_plugins.executors.ray_worker import Board, describe_loss, run

LOOK_EVERY = 0.25
"""Seconds between two looks at the board of progress while jobs run."""
CANCEL_SECONDS = 10.0
"""How long cancelled jobs are waited for."""


@dataclass(frozen=True)
class _OnItsWay:
    id: str
    report: Report


class RayCluster(Executor):
    """Each job is a Ray task of its own; Ray finds it a place and reuses worker processes.

    A task is given to Ray once. What Ray loses (a worker, a node) is told as ``killed``, so
    that the driver's limit on retries holds: Ray's own retries would run a job that kills its
    worker again without leaving a trace of the first attempt.
    """

    summary: ClassVar[str] = "Run jobs on a Ray cluster, or on a Ray started for the occasion"

    address: str = parameter(
        "",
        description="HOST:PORT of a cluster that this machine is part of, or local; empty: "
        "RAY_ADDRESS, and without that a Ray of this machine, started and stopped by llt",
    )
    cpus: float = parameter(
        1, description="CPUs set aside for each job, and its threads", unit="CPUs", gt=0
    )
    gpus: float = parameter(
        0, description="GPUs of each job; 0.5: two jobs share one", unit="GPUs", ge=0
    )
    resources: Mapping[str, float] = parameter(
        {}, description="Custom resources of each job, by the names given to ray start"
    )
    shared_files: bool = parameter(
        True,
        description="Whether all nodes see the store under the same path; false: models and "
        "results travel through Ray",
    )
    jobs: int = parameter(
        0,
        description="Jobs on their way at once, waiting ones included; 0: as many as the nodes "
        "have places for, and a quarter more",
        unit="jobs",
        ge=0,
    )

    _connection: Connection | None = PrivateAttr(default=None)
    _running: dict[Any, _OnItsWay] = PrivateAttr(default_factory=dict)
    _task: Any = PrivateAttr(default=None)
    _board: Any = PrivateAttr(default=None)
    _asked: Any = PrivateAttr(default=None)
    _places: Places | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.gpus > 1 and self.gpus != int(self.gpus):
            raise ValueError("gpus: Ray gives a job a part of one GPU, or whole GPUs")
        if any(amount <= 0 for amount in self.resources.values()):
            raise ValueError("resources: each amount must be above 0")
        if "://" in self.address:
            raise ValueError(
                "address: HOST:PORT is expected, without ://, and a driver on a machine that is "
                "part of the cluster (any node, also one started with --num-cpus=0)"
            )
        return self

    @property
    def shares_files(self) -> bool:
        """As told by the user."""
        return self.shared_files

    def start(self, workspace: Path) -> None:
        """Connect to the cluster, or start a Ray on this machine.

        Raises
        ------
        RequestError
            Ray is not installed or does not answer, or no node has room for a single job.
        """
        self._connection = Connection.open(self.address)
        self._places = Places({"CPU": self.cpus, "GPU": self.gpus, **self.resources})
        try:
            if not self.jobs and not self._places.count():
                raise self._places.none()
            self._prepare()
        except BaseException:
            self.close()
            raise

    def capacity(self) -> int:
        """Return the number of places, and a quarter more; it grows as nodes join.

        The surplus waits in Ray, where an autoscaler counts it as demand.
        """
        if self.jobs:
            return self.jobs
        assert self._places is not None
        places = max(1, self._places.count())
        return places + math.ceil(places / 4)

    def submit(self, job: Job, report: Report) -> None:
        """Hand the job to Ray."""
        reference = self._task.remote(job, self._board, __version__, os.getcwd())
        self._running[reference] = _OnItsWay(job.id, report)

    def poll(self, timeout: float | None = None) -> list[Outcome]:
        """Wait for a job to end, passing progress on meanwhile.

        Raises
        ------
        RequestError
            The Ray node of this machine is gone: no job can be run any more.
        """
        import ray

        end = math.inf if timeout is None else time.monotonic() + timeout
        while self._running:
            left = max(0.0, end - time.monotonic())
            ended, _ = ray.wait(list(self._running), timeout=min(left, LOOK_EVERY))
            self._pass_on()
            if ended:
                count = len(self._running)
                ended, _ = ray.wait(list(self._running), num_returns=count, timeout=0)
                return list(self._settled(ended))
            if not left:
                break
        return []

    def cancel(self) -> None:
        """Kill the workers of running jobs, take back the jobs that wait."""
        import ray

        references = list(self._running)
        self._running.clear()
        for reference in references:
            with contextlib.suppress(Exception):  # ended in between, or its node is gone
                ray.cancel(reference, force=True)
        if references:
            ray.wait(references, num_returns=len(references), timeout=CANCEL_SECONDS)

    def close(self) -> None:
        """Leave the cluster; stop a Ray that was started here."""
        if self._connection is None:
            return
        import ray

        for reference in self._running:
            with contextlib.suppress(Exception):
                ray.cancel(reference, force=True)
        if self._board is not None:
            with contextlib.suppress(Exception):
                ray.kill(self._board)
        self._connection.close()
        self._connection = self._task = self._board = self._asked = None
        self._running = {}

    def _prepare(self) -> None:
        """Tell Ray what a job needs, and put up the board of progress on this machine."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        assert self._connection is not None
        environment = {
            **{name: value for name, value in os.environ.items() if name.startswith("LLT_")},
            **self._connection.variables,
            THREADS_VARIABLE: str(max(1, int(self.cpus))),
        }
        if paths := added_paths():
            environment["PYTHONPATH"] = os.pathsep.join([*paths, "${PYTHONPATH}"])
        surroundings = {"env_vars": environment}
        self._task = ray.remote(run).options(
            num_cpus=self.cpus,
            num_gpus=self.gpus,
            resources=dict(self.resources),
            max_retries=0,
            runtime_env=surroundings,
        )
        here = ray.get_runtime_context().get_node_id()
        self._board = (
            ray.remote(Board)
            .options(
                num_cpus=0,
                max_restarts=-1,
                runtime_env=surroundings,
                scheduling_strategy=NodeAffinitySchedulingStrategy(here, soft=True),
            )
            .remote()
        )

    def _pass_on(self) -> None:
        """Report what is new on the board; ask it again once it has answered."""
        import ray

        if self._asked is not None:
            if not ray.wait([self._asked], timeout=0)[0]:
                return
            news: dict[str, Any] = {}
            with contextlib.suppress(ray.exceptions.RayError):  # the board is being restarted
                news = ray.get(self._asked)
            for job in self._running.values():
                if job.id in news:
                    job.report(news[job.id])
        self._asked = self._board.take.remote()

    def _settled(self, references: list[Any]) -> Iterator[Outcome]:
        """Yield how tasks ended. What cannot be told is left to the next time, after the rest."""
        for count, reference in enumerate(references):
            try:
                outcome = self._outcome(reference)
            except RequestError:
                if count:
                    return
                raise
            del self._running[reference]
            yield outcome

    def _outcome(self, reference: Any) -> Outcome:
        import ray

        try:
            outcome: Outcome = ray.get(reference)
        except ray.exceptions.LocalRayletDiedError as error:
            raise RequestError(
                "the Ray node of this machine is gone, and with it the way to the cluster",
                where=self.address or "a local Ray",
                next_step="start Ray again (ray start), then the same command; finished cells "
                "are kept",
            ) from error
        except ray.exceptions.RayError as error:
            return Outcome(self._running[reference].id, **describe_loss(error))
        return outcome
