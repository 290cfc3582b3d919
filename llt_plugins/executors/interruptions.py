"""Noticing signals while waiting."""

from __future__ import annotations

import os
import signal
import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

NOWHERE = -1


class Interruptions:
    """A descriptor that can be read once Python has handled a signal inside the ``with`` block.

    Python restarts a wait when a signal's handler returns (PEP 475), so a handler that only
    takes a note would be noticed when the wait ends, an hour later perhaps. Works in the main
    thread; elsewhere no handler runs, and nothing is ever noticed.
    """

    def __init__(self) -> None:
        self._read, self._write = socket.socketpair()
        for end in (self._read, self._write):
            end.setblocking(False)
        self._before = NOWHERE
        self._here = False

    def fileno(self) -> int:
        """Return the descriptor to wait for."""
        return self._read.fileno()

    def __enter__(self) -> Self:
        self._here = threading.current_thread() is threading.main_thread()
        if self._here:
            self._before = signal.set_wakeup_fd(self._write.fileno(), warn_on_full_buffer=False)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._here:
            return
        signal.set_wakeup_fd(self._before)
        with suppress(OSError):
            heard = self._read.recv(4096)
            if self._before != NOWHERE:  # an event loop's: it must hear them too
                os.write(self._before, heard)

    def close(self) -> None:
        """Let go of the descriptors."""
        self._read.close()
        self._write.close()
