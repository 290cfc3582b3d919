"""How far long work is that is counted: a bar on a terminal, lines every few seconds elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress

SOON = 2.0
"""Seconds after which a bar is worth its while."""
PLAIN_EVERY = 10.0
"""Seconds between two lines when the output is not a terminal."""


class Counting:
    """A context that yields a function to be told how many are done, and of how many."""

    def __init__(self, what: str, *, quiet: bool = False) -> None:
        self._what = what
        self._quiet = quiet
        self._last = time.monotonic()
        self._progress: Progress | None = None

    def __enter__(self) -> Callable[[int, int], None]:
        """Draw nothing yet: most work is soon done."""
        if self._quiet:
            return lambda done, of: None
        return self._bar if sys.stderr.isatty() else self._line

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the terminal clean."""
        if self._progress is not None:
            self._progress.stop()

    def _bar(self, done: int, of: int) -> None:
        if self._progress is None:
            if time.monotonic() - self._last < SOON:
                return
            from rich.console import Console
            from rich.progress import Progress

            self._progress = Progress(console=Console(stderr=True), transient=True)
            self._task = self._progress.add_task(self._what, total=of)
            self._progress.start()
        self._progress.update(self._task, completed=done, total=of)

    def _line(self, done: int, of: int) -> None:
        if time.monotonic() - self._last >= PLAIN_EVERY:
            self._last = time.monotonic()
            print(f"{done} of {of} {self._what}", file=sys.stderr, flush=True)
