"""Which process is which: on this machine since its start, in this container, at this moment."""

from __future__ import annotations

import functools
import hashlib
import os
import socket
from contextlib import suppress
from pathlib import Path


def place() -> str:
    """Name the machine since its start, and the container: where process numbers mean the same."""
    parts = [socket.gethostname()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
    with suppress(OSError):
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return " ".join(parts)


def started(pid: int) -> str | None:
    """Return when a process began, in ticks since the machine did; None if it is over.

    None, too, where the system does not say (it has no ``/proc``).
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    state, *fields = text.rpartition(")")[2].split()
    return None if state in "ZX" else fields[18]


def runs(pid: int, since: str) -> bool:
    """Whether the process that :func:`started` at ``since`` still runs, in this place."""
    found = started(pid)
    if found is not None:
        return found == since
    if Path("/proc/self/stat").exists():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def mark() -> str:
    """Return a short name of this process, ``PLACE.PID-STARTED``, for files that it makes."""
    pid = os.getpid()
    return f"{_place_mark()}.{pid}-{started(pid) or 0}"


def is_gone(called: str) -> bool:
    """Whether a process, by its :func:`mark`, ran in this place and is over.

    >>> is_gone(mark())
    False
    >>> is_gone(f"{mark().partition('.')[0]}.999999999-1")
    True
    """
    where, _, process = called.partition(".")
    pid, _, since = process.partition("-")
    return where == _place_mark() and pid.isdigit() and not runs(int(pid), since)


@functools.cache
def _place_mark() -> str:
    return hashlib.sha256(place().encode()).hexdigest()[:12]
