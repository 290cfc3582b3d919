"""The far side of the ray executor: what runs in Ray's workers, and how their ends are told."""

from __future__ import annotations

import os
import platform
import time
from contextlib import suppress
from typing import Any

from llt_core.interfaces import FailureKind, Job, Outcome, Progress, perform
from llt_core.version import __version__

TELL_EVERY = 0.5
"""Seconds between two reports that a job sends to the board."""


class Board:
    """A small actor on which jobs leave word of their progress, and the driver reads it.

    It keeps the latest word of each job alone, so it stays small whatever happens.
    """

    def __init__(self) -> None:
        self._latest: dict[str, Progress] = {}

    def tell(self, job: str, progress: Progress) -> None:
        """Leave word of a job."""
        self._latest[job] = progress

    def take(self) -> dict[str, Progress]:
        """Return what is new since the last time."""
        taken, self._latest = self._latest, {}
        return taken


def run(job: Job, board: Any, version: str, folder: str) -> Outcome:
    """Perform a job in a Ray task.

    Parameters
    ----------
    board
        Handle of the :class:`Board`.
    version
        The driver's version of llt; another one would compute other numbers.
    folder
        The driver's working folder. The job has it too, where it exists.
    """
    if version != __version__:
        return Outcome(
            job.id,
            failure="request",
            message=f"node {platform.node()} has llt {__version__}, the driver has {version}\n"
            "  expected: the same version of llt on all nodes\n"
            f"  next: pip install llt=={version} on that node",
        )
    last = float("-inf")

    def report(progress: Progress) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= TELL_EVERY:
            last = now
            board.tell.remote(job.id, progress)

    with suppress(OSError):
        os.chdir(folder)
    return perform(job, report)


def describe_loss(error: Exception) -> dict[str, Any]:
    """Return kind and message of the failure of a task that brought no outcome.

    Parameters
    ----------
    error
        Of ``ray.exceptions``.
    """
    name, text = type(error).__name__, str(error).strip()
    first = text.splitlines()[0] if text else ""
    kind: FailureKind = "killed"
    if name in ("OutOfMemoryError", "ObjectStoreFullError"):
        kind = "out_of_memory"
    elif name == "OutOfDiskError":
        kind = "storage"
    elif name == "RuntimeEnvSetupError" or "RayTaskError" in name:
        # perform() catches whatever a job raises: what is left is code that could not be loaded.
        kind, first = "request", text.splitlines()[-1] if text else ""
        first = (
            f"a Ray worker could not load llt: {first}\n"
            "  expected: llt, its plugins and the driver's Python version on every node"
        )
    return {"failure": kind, "message": f"{name}: {first}" if first else name, "traceback": text}
