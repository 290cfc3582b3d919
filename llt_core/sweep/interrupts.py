"""Ctrl-C: once to finish what runs, twice to stop now; a request to terminate: stop now."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Self


class Interrupts:
    """Counts interruptions inside a ``with`` block.

    The first is noted, the second raises :class:`KeyboardInterrupt`. Elsewhere than in the main
    thread signals cannot be caught, and every interruption raises there, as it does if not
    ``patient``. A request to terminate (SIGTERM: a machine that shuts down, a batch system)
    raises at once, so that there is time to sign off; the next ones are not heard.
    """

    def __init__(self, patient: bool, tell: Callable[[], None]) -> None:
        self.asked = False
        self._tell = tell
        main = threading.current_thread() is threading.main_thread()
        # Who started us in the background may have said that we ignore them.
        self._catch = patient and main and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN
        self._end = main and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL

    def __enter__(self) -> Self:
        """Listen."""
        if self._catch:
            self._before = signal.signal(signal.SIGINT, self._heard)
        if self._end:
            signal.signal(signal.SIGTERM, self._terminate)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave interruptions to whoever had them before."""
        if self._catch:
            signal.signal(signal.SIGINT, self._before)
        if self._end:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def _heard(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.ask()

    def _terminate(self, number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise KeyboardInterrupt

    def ask(self) -> None:
        """Take note of a first interruption, from wherever it comes."""
        self.asked = True
        self._tell()
