"""Run jobs in worker processes on this machine."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field, PrivateAttr

from llt_core.interfaces import (
    Executor,
    Job,
    Outcome,
    Report,
    RequestError,
    parameter,
    threads_asked,
)
from llt_plugins.executors.machine import choose_gpus, cores, lay_out, visible_gpus
from llt_plugins.executors.pool import Pool

GOODBYE_SECONDS = 3.0
"""How long idle workers may take to end by themselves."""


class Local(Executor):
    """Several jobs at once, each in a worker process that lives as long as the driver.

    A worker is told its threads and its GPU before it runs anything. One that crashes costs
    its own job and is replaced; one that is killed while idle costs nothing. Workers end with
    the driver, however it ends. Ctrl-C reaches the driver alone.
    """

    summary: ClassVar[str] = "Run jobs in worker processes on this machine, one to a core or GPU"

    workers: int = parameter(
        0,
        description="How many worker processes; 0: one for each place on a GPU, else for each core",
        unit="processes",
        ge=0,
    )
    threads: int = parameter(
        0,
        description="CPU threads of each worker; 0: the cores are shared among the workers, "
        "and OMP_NUM_THREADS is the most that one takes",
        unit="threads",
        ge=0,
    )
    gpus: tuple[Annotated[int, Field(ge=0)], ...] = parameter(
        (), description="Numbers of the CUDA devices to use; empty: all that are visible"
    )
    per_gpu: int = parameter(
        1,
        description="Workers that share one GPU; 0: workers see no GPU",
        unit="processes",
        ge=0,
    )
    timeout: float = parameter(
        0.0, description="How long one job may take; 0: as long as it likes", unit="minutes", ge=0
    )
    fresh: bool = parameter(
        False,
        description="Start each worker as a new interpreter, not as a fork of one that has "
        "loaded the libraries: slower; always so on systems other than Linux",
    )

    _slots: list[Mapping[str, str]] = PrivateAttr(default_factory=list)
    _pool: Pool | None = PrivateAttr(default=None)

    def start(self, workspace: Path) -> None:
        """Look at the machine; no process is started before the first job.

        Raises
        ------
        RequestError
            A GPU that was asked for does not exist, or processes cannot be forked here.
        """
        if not hasattr(os, "fork"):
            raise RequestError(
                f"the executor local does not work on {sys.platform}",
                expected="a system of the Unix family",
                next_step="--executor inline",
            )
        self._look()

    def at_once(self) -> int:
        """Return the number of workers."""
        return self.capacity()

    def capacity(self) -> int:
        """Return the number of workers."""
        return len(self._look())

    def submit(self, job: Job, report: Report) -> None:
        """Give the job to an idle worker, a new one if there is room, or let it wait."""
        if self._pool is None:
            self._pool = Pool(self._look(), self.timeout * 60 or None, self._fresh)
        self._pool.submit(job, report)

    def poll(self, timeout: float | None = None) -> list[Outcome]:
        """Wait for a job to end; a signal that was handled ends the wait early."""
        return [] if self._pool is None else self._pool.poll(timeout)

    def cancel(self) -> None:
        """End all workers at once; the next job finds new ones."""
        if self._pool is not None:
            self._pool.stop()

    def close(self) -> None:
        """Let idle workers end by themselves, the others by force."""
        if self._pool is not None:
            self._pool.stop(GOODBYE_SECONDS)

    @property
    def _fresh(self) -> bool:
        """Libraries of other systems do not survive a fork."""
        return self.fresh or sys.platform != "linux"

    def _look(self) -> list[Mapping[str, str]]:
        if not self._slots:
            gpus = choose_gpus(self.gpus, visible_gpus()) if self.per_gpu else []
            asked = (self.workers, self.threads, self.per_gpu)
            self._slots = lay_out(*asked, gpus, cores(), most=threads_asked())
        return self._slots
