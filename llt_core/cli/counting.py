"""How far work is that is counted: a bar on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType

PLAIN_EVERY = 10.0
"""Seconds between two lines when the output is not a terminal."""


class Counting:
    """A context that yields a function to be told how many are done, and of how many."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._last = time.monotonic()

    def __enter__(self) -> Callable[[int, int], None]:
        """Start drawing."""
        if not sys.stderr.isatty():
            self._progress = None
            return self._line
        from rich.console import Console
        from rich.progress import Progress

        progress = self._progress = Progress(console=Console(stderr=True), transient=True)
        progress.start()
        task = progress.add_task(self._what, total=None)
        return lambda done, of: progress.update(task, completed=done, total=of)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the terminal clean."""
        if self._progress is not None:
            self._progress.stop()

    def _line(self, done: int, of: int) -> None:
        if time.monotonic() - self._last >= PLAIN_EVERY:
            self._last = time.monotonic()
            print(f"{done} of {of} {self._what}", file=sys.stderr, flush=True)
