"""The contract of an executor: where jobs run."""

from __future__ import annotations

import importlib
import traceback
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from llt_core.errors import LltError
from llt_core.interfaces.component import Component
from llt_core.kinds import Kind

FailureKind = Literal["code", "request", "out_of_memory", "timeout", "killed"]
"""Why a job failed. Only causes outside the code (the last three) are worth a retry."""


@dataclass(frozen=True)
class Job:
    """A function to call in some process: ``entry`` is ``module:function``.

    ``payload`` is JSON, so a job can cross any process boundary. The function is called
    as ``function(payload, report)`` and returns JSON.
    """

    id: str
    entry: str
    payload: dict[str, Any]


@dataclass(frozen=True)
class Progress:
    """How far one job is: ``done`` of ``total`` units, and a few words."""

    job: str
    done: int
    total: int
    text: str = ""


@dataclass(frozen=True)
class Outcome:
    """How one job ended: a result, or a failure with its cause."""

    job: str
    result: dict[str, Any] | None = None
    failure: FailureKind | None = None
    message: str = ""
    traceback: str = ""


Report = Callable[[Progress], None]


class Executor(Component):
    """Runs jobs, here or elsewhere; knows nothing of what they compute."""

    kind: ClassVar[Kind] = "executor"

    @abstractmethod
    def capacity(self) -> int:
        """Return how many jobs can run at once."""

    @abstractmethod
    def submit(self, job: Job, report: Report) -> None:
        """Accept a job. ``report`` is called from inside :meth:`poll` as it advances."""

    @abstractmethod
    def poll(self, timeout: float | None = None) -> list[Outcome]:
        """Wait up to ``timeout`` seconds for jobs to end and return how they did."""

    @abstractmethod
    def cancel(self) -> None:
        """Drop what waits and stop what runs; finished work stays finished."""


def perform(job: Job, report: Report) -> Outcome:
    """Run ``job`` in this process and turn whatever happens into an :class:`Outcome`.

    Executors call this on the far side of whatever boundary they cross.
    """
    try:
        module, _, name = job.entry.partition(":")
        function = getattr(importlib.import_module(module), name)
        return Outcome(job.id, result=function(job.payload, report))
    except (Exception, SystemExit) as error:  # a plugin's sys.exit() costs its job, no more
        return Outcome(job.id, **describe_failure(error))


def describe_failure(error: BaseException) -> dict[str, Any]:
    """Return kind, message and traceback of what went wrong.

    A wrong request explains itself and gets no traceback.
    """
    if isinstance(error, LltError):
        return {"failure": "request", "message": str(error), "traceback": ""}
    memory = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return {
        "failure": "out_of_memory" if memory else "code",
        "message": f"{type(error).__name__}: {error}",
        "traceback": traceback.format_exc(),
    }
