"""Small jobs that try an executor: each does one thing that a real job may do.

A job is ``function(payload, report)``; its name is ``llt_core.testing.jobs:NAME``.
"""

from __future__ import annotations

import errno
import os
import platform
import signal
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

from llt_core.errors import RequestError
from llt_core.interfaces import THREADS_VARIABLE, Progress, Report

Payload = dict[str, Any]

ERRORS: dict[str, Exception] = {
    "code": ValueError("a bug in a plugin"),
    "request": RequestError("a wrong request", expected="a right one"),
    "storage": OSError(errno.ENOSPC, "no space left on device"),
    "out_of_memory": MemoryError("not enough memory"),
}
"""An error for each kind of failure that a job can raise."""


def give_back(payload: Payload, report: Report) -> Payload:
    """Return the payload."""
    return payload


def sleep(payload: Payload, report: Report) -> Payload:
    """Sleep for ``seconds``; first write host and process to the file ``begun``, if given."""
    if "begun" in payload:
        beside = Path(payload["begun"] + ".part")
        beside.write_text(f"{platform.node()} {os.getpid()}")
        beside.rename(payload["begun"])
    time.sleep(payload["seconds"])
    return payload


def fail(payload: Payload, report: Report) -> NoReturn:
    """Raise the error of the ``kind`` given."""
    raise ERRORS[payload["kind"]]


def leave(payload: Payload, report: Report) -> NoReturn:
    """Call ``sys.exit``, as a careless plugin may."""
    sys.exit(payload["status"])


def crash(payload: Payload, report: Report) -> NoReturn:
    """End the process at once, as a crash in a library does."""
    os._exit(payload["status"])


def kill(payload: Payload, report: Report) -> NoReturn:
    """Have the process killed, as the kernel does when memory runs out."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("still alive after SIGKILL")


def advance(payload: Payload, report: Report) -> Payload:
    """Report ``steps`` steps, ``seconds`` apart, in the name of ``job``."""
    for step in range(1, payload["steps"] + 1):
        report(Progress(payload["job"], step, payload["steps"], f"step {step}"))
        time.sleep(payload["seconds"])
    return payload


def surroundings(payload: Payload, report: Report) -> Payload:
    """Return what a job can see of its process: number, variables, folder, module path."""
    torch = sys.modules.get("torch")
    return {
        "pid": os.getpid(),
        "parent": os.getppid(),
        "threads": os.environ.get(THREADS_VARIABLE),
        "torch_threads": torch.get_num_threads() if torch else None,
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "path": sys.path,
        "input": None if sys.stdin is None else sys.stdin.read(),
    }
