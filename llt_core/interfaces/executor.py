"""The contract of an executor: where jobs run."""

from __future__ import annotations

import errno
import importlib
import os
import traceback
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

from llt_core.errors import LltError
from llt_core.interfaces.component import Component
from llt_core.interfaces.places import culprit, said
from llt_core.kinds import Kind

FailureKind = Literal["code", "request", "storage", "damaged", "out_of_memory", "timeout", "killed"]
"""Why a job failed: a bug, a wrong request, a store that cannot be written (a full disk), a model
whose file is damaged, or a cause outside all of these. Only the last three are worth a retry."""

THREADS_VARIABLE = "LLT_THREADS"
"""Environment variable by which an executor tells its workers how many CPU threads to use."""


def threads_asked() -> int:
    """Return how many CPU threads the environment asks for; 0 where it does not say.

    What an executor says counts before what the user says in ``OMP_NUM_THREADS``, of which the
    first number counts: others are for loops inside of loops.
    """
    for name in (THREADS_VARIABLE, "OMP_NUM_THREADS"):
        first = os.environ.get(name, "").partition(",")[0].strip()
        if first.isdecimal() and int(first):
            return int(first)
    return 0


@dataclass(frozen=True)
class Job:
    """A function to call in some process: ``entry`` is ``module:function``.

    ``payload`` is JSON, except that it may hold ``bytes`` where the executor does not share
    files, so a job can cross any process boundary. The function is called as
    ``function(payload, report)`` and returns the like. ``id`` is free again once the outcome
    has been told.
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
    """Runs jobs, here or elsewhere; knows nothing of what they compute.

    The driver calls :meth:`start` once, then :meth:`submit` while fewer than :meth:`capacity`
    jobs are on their way, and :meth:`poll` until all have ended; at the end, however it comes,
    :meth:`close`. All from one thread.

    An executor whose jobs share the machine with each other sets :data:`THREADS_VARIABLE` in
    their environment, so that together they use no more threads than there are cores.

    Attributes
    ----------
    outlives_driver
        Whether jobs go on when the driver is gone. Then :meth:`handles` and :meth:`attach`
        let another driver take them over.
    """

    kind: ClassVar[Kind] = "executor"
    outlives_driver: ClassVar[bool] = False

    @property
    def shares_files(self) -> bool:
        """Whether jobs see the driver's store and data under the same paths."""
        return True

    def at_once(self) -> int | None:
        """Return how many jobs will run side by side, if that is known before :meth:`start`.

        Estimates of time are divided by it.
        """
        return None

    def start(self, workspace: Path) -> None:
        """Get ready for jobs.

        Parameters
        ----------
        workspace
            A folder for the executor's own files, the same for all drivers of one store. It
            need not exist yet.

        Raises
        ------
        RequestError
            Something is missing that jobs need: a cluster, a command, an extra.
        """

    def reconnect(self, workspace: Path) -> None:
        """Get ready to :meth:`attach` jobs and :meth:`cancel` them, not to submit any.

        By default all that :meth:`start` does.
        """
        self.start(workspace)

    @abstractmethod
    def capacity(self) -> int:
        """Return how many jobs may be on their way at once, waiting ones included."""

    @abstractmethod
    def submit(self, job: Job, report: Report) -> None:
        """Accept a job. ``report`` is called from inside :meth:`poll` as it advances."""

    @abstractmethod
    def poll(self, timeout: float | None = None) -> list[Outcome]:
        """Wait up to ``timeout`` seconds for a job to end; return how those did that have ended.

        Returns at once when no job is on its way. None: wait until one ends. An interruption
        of the driver may end the wait early.
        """

    @abstractmethod
    def cancel(self) -> None:
        """Drop what waits and stop what runs, now; finished work stays finished."""

    def withdraw(self) -> list[str]:
        """Drop what has not begun, and return the ids of these jobs; what runs goes on.

        Called where :attr:`outlives_driver`, when somebody asks the driver to stop.
        """
        return []

    def close(self) -> None:
        """Let go of everything: processes, connections. Jobs that outlive the driver go on."""

    def handles(self) -> Mapping[str, str]:
        """Return a durable name for each job on its way that has one, by the job's id."""
        return {}

    def attach(self, job: Job, handle: str, report: Report) -> bool:
        """Take over a job that an earlier driver submitted and called ``handle``.

        Returns whether its outcome will be told by :meth:`poll`: because it waits or runs, or
        has ended since.
        """
        return False


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

    A wrong request explains itself and gets no traceback. Of other errors the message says in
    which line of a plugin they came up, if one was at work.
    """
    if isinstance(error, LltError):
        kind = _cause(error.__cause__) if isinstance(error.__cause__, OSError) else "code"
        failure = "storage" if kind == "storage" else known_kind(error.failure, "request")
        return {"failure": failure, "message": str(error), "traceback": ""}
    where = culprit(error)
    return {
        "failure": _cause(error),
        "message": said(error) + (where and f"\n  where: {where}"),
        "traceback": traceback.format_exc(),
    }


def known_kind(kind: str | None, otherwise: FailureKind) -> FailureKind:
    """Return ``kind`` if it is one, whatever a stranger's code calls its failures."""
    return next((known for known in get_args(FailureKind) if known == kind), otherwise)


_NO_MEMORY = ("can't allocate memory", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
"""How torch says in a plain RuntimeError that memory ran out: on the CPU, MPS, in a library."""


def _cause(error: BaseException) -> FailureKind:
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return "out_of_memory"
    if isinstance(error, RuntimeError) and any(words in str(error) for words in _NO_MEMORY):
        return "out_of_memory"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
        return "storage"
    return "code"
