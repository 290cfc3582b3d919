"""How far work is that is counted: a bar on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

SOON = 2.0
"""Seconds after which a bar is worth its while: most work is done sooner."""
PLAIN_EVERY = 10.0
"""Seconds between two lines when the output is not a terminal."""


class Told(Protocol):
    """Hears how many are done, and of how many if that is known."""

    def __call__(self, done: int, of: int | None = None, /) -> None:
        """Draw it, if it is time to."""


@contextmanager
def counting(what: str, *, quiet: bool = False) -> Iterator[Told]:
    """Give what to tell how many are done.

    Parameters
    ----------
    what
        What is counted, with what is done to it: "cells read".
    """
    with ExitStack() as stack:
        if quiet:
            yield _ignore
        else:
            yield _bar(what, stack) if sys.stderr.isatty() else _lines(what)


def _ignore(done: int, of: int | None = None, /) -> None:
    """Say nothing."""


def _bar(what: str, stack: ExitStack) -> Told:
    start = time.monotonic()
    drawn: tuple[Progress, TaskID] | None = None

    def bar(done: int, of: int | None = None, /) -> None:
        nonlocal drawn
        if drawn is None:
            if time.monotonic() - start < SOON:
                return
            from rich.console import Console
            from rich.progress import Progress

            progress = stack.enter_context(Progress(console=Console(stderr=True), transient=True))
            drawn = progress, progress.add_task(what, total=of)
        drawn[0].update(drawn[1], completed=done, total=of)

    return bar


def _lines(what: str) -> Told:
    last = time.monotonic()

    def line(done: int, of: int | None = None, /) -> None:
        nonlocal last
        if time.monotonic() - last >= PLAIN_EVERY:
            last = time.monotonic()
            share = f"{done:,}" if of is None else f"{done:,} of {of:,}"
            print(f"{share} {what}", file=sys.stderr, flush=True)

    return line
