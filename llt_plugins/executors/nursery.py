"""The driver's handle on the process that starts workers."""

from __future__ import annotations

import os
import pickle
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from llt_plugins.executors import frames
from llt_plugins.executors.child import KILL_SECONDS, TERM_SECONDS, command


class Nursery:
    """Asks a process of its own (:class:`~llt_plugins.executors.child.Nurse`) for workers.

    Parameters
    ----------
    preload
        Module that workers are born with.
    environment
        Variables that hold for every worker.
    fresh
        Start each worker as a new interpreter, with nothing loaded.
    """

    def __init__(self, preload: str, environment: Mapping[str, str], fresh: bool) -> None:
        self._socket, theirs = socket.socketpair()
        self.notices = frames.Inbox(self._socket)
        self._ready = False
        self._pids: dict[int, int] = {}
        with theirs, _without_interrupts():
            self._process = subprocess.Popen(
                command("nursery", theirs.fileno()),
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env={**os.environ, **environment},
            )
        self._write({"driver": os.getpid(), "preload": preload, "fresh": fresh})

    def start(self, number: int, environment: Mapping[str, str]) -> socket.socket:
        """Start worker ``number``; return the driver's end of its socket."""
        ours, theirs = socket.socketpair()
        with theirs:
            self._write(("start", number, dict(environment), os.getcwd()))
            with suppress(OSError):  # gone: the notices say so
                socket.send_fds(self._socket, [b"\0"], [theirs.fileno()])
        return ours

    def signal(self, number: int, which: int) -> None:
        """Send a signal to a worker, if it is still there."""
        self._write(("signal", number, which))

    def _write(self, message: Any) -> None:
        with suppress(OSError):  # gone: the notices say so
            frames.write(self._socket, message)

    def hear(self) -> list[tuple[int, int]]:
        """Return number and exit code of workers that have ended since the last call."""
        ended = []
        for notice in map(pickle.loads, self.notices.take()):
            if notice[0] == "ready":
                self._ready = True
            elif notice[0] == "started":
                self._pids[notice[1]] = notice[2]
            else:
                self._pids.pop(notice[1], None)
                ended.append((notice[1], notice[2]))
        return ended

    @property
    def gone(self) -> bool:
        """Whether the process has ended, as far as was heard."""
        return self.notices.closed

    def stop(self, patience: float) -> None:
        """End all workers, after ``patience`` seconds at most by force, and the nursery."""
        self.hear()
        limit = patience + TERM_SECONDS + KILL_SECONDS
        try:
            if self._ready:
                self._write(("stop", patience))
            else:  # still loading, deaf, and without children
                self._process.kill()
            self._process.wait(limit)
        except subprocess.TimeoutExpired:
            self.clear_away()
        finally:
            self._socket.close()  # if all else fails: it ends all workers when it sees this

    def clear_away(self) -> int:
        """Make an end of what is left; return the exit code of the nursery."""
        try:
            code = self._process.wait(TERM_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        for pid in self._pids.values():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._pids.clear()
        self._socket.close()
        return code


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Hold SIGINT back, so that a process started here meets none before it ignores them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
