"""Driving an executor as the engine does, for the checks of :mod:`llt_core.testing.executor`."""

from __future__ import annotations

import contextlib
import os
import platform
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar
from unittest import SkipTest

from llt_core.interfaces import Executor, Job, Outcome, Report
from llt_core.testing.component import ComponentConformance


def job(name: str, entry: str, **payload: Any) -> Job:
    """Return a job of :mod:`llt_core.testing.jobs`."""
    return Job(name, f"llt_core.testing.jobs:{entry}", payload)


class Driving(ComponentConformance):
    """What the checks of an executor do with it.

    Attributes
    ----------
    own_processes, several, patience, step
        See :class:`~llt_core.testing.executor.ExecutorConformance`.
    """

    component: ClassVar[Executor]
    own_processes: ClassVar[bool] = True
    several: ClassVar[int] = 8
    patience: ClassVar[float] = 60.0
    step: ClassVar[float] = 0.1

    @contextlib.contextmanager
    def workspace(self) -> Iterator[Path]:
        """Lend a folder that drivers, and jobs of an executor that shares files, can write."""
        with tempfile.TemporaryDirectory() as name:
            yield Path(name)

    @contextlib.contextmanager
    def running(self, workspace: Path | None = None) -> Iterator[Executor]:
        """Lend a new executor like ``component``; stop what still runs at the end."""
        executor = type(self.component).model_validate(self.component.model_dump())
        with contextlib.ExitStack() as stack:
            folder = workspace or stack.enter_context(self.workspace())
            executor.start(folder / "executor")
            stack.callback(executor.close)
            stack.callback(executor.cancel)
            yield executor

    def outcomes(
        self, executor: Executor, jobs: Iterable[Job], report: Report = lambda progress: None
    ) -> dict[str, Outcome]:
        """Have all ``jobs`` done, as a driver would; return the outcome of each by its id."""
        waiting = list(jobs)
        running: set[str] = set()
        ended: dict[str, Outcome] = {}
        while waiting or running:
            while waiting and len(running) < executor.capacity():
                running.add(waiting[0].id)
                executor.submit(waiting.pop(0), report)
            found = self.next_outcomes(executor)
            for outcome in found:
                assert outcome.job in running, (
                    f"{self.who}.poll() tells how {outcome.job!r} ended, which is not on its "
                    "way: tell the end of each job once"
                )
                running.remove(outcome.job)
                ended[outcome.job] = outcome
        return ended

    def next_outcomes(self, executor: Executor) -> list[Outcome]:
        """Wait until jobs have ended."""
        end = time.monotonic() + self.patience
        while time.monotonic() < end:
            if found := executor.poll(timeout=1):
                return found
        raise AssertionError(
            f"no job of {self.who} ended within {self.patience:g} s: see to it that poll() "
            "notices every end, or raise `patience`"
        )

    def outcome(self, executor: Executor, one: Job) -> Outcome:
        """Have one job done."""
        return self.outcomes(executor, [one])[one.id]

    def _needs_own_processes(self) -> None:
        if not self.own_processes:
            raise SkipTest("jobs run in the driver's process")

    def _returns_at_once(self, executor: Executor) -> None:
        start = time.monotonic()
        found = executor.poll(timeout=self.patience)  # none, and a wrong one waits for ever
        seconds = time.monotonic() - start
        assert found == [], f"{self.who}: no job is on its way, and poll() returns {found}"
        assert seconds < self.patience / 2, f"{self.who}.poll() took {seconds:.1f} s for nothing"

    def _ends(self, host: str, pid: int) -> None:
        """Check that a process is gone before long, if it ran where it can be seen from here."""
        if host != platform.node():
            return
        end = time.monotonic() + self.patience
        while _alive(pid):
            assert time.monotonic() < end, f"{self.who} left process {pid} running after cancel()"
            time.sleep(0.05)


def _alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits to be noticed does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state != "Z"
