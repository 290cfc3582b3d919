"""How far work is that is counted: a bar on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

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
    if quiet:
        yield _ignore
    elif sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import Progress

        with Progress(console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task(what, total=None)
            yield lambda done, of=None, /: progress.update(task, completed=done, total=of)
    else:
        yield _lines(what)


def _ignore(done: int, of: int | None = None, /) -> None:
    """Say nothing."""


def _lines(what: str) -> Told:
    last = time.monotonic()

    def line(done: int, of: int | None = None, /) -> None:
        nonlocal last
        if time.monotonic() - last >= PLAIN_EVERY:
            last = time.monotonic()
            share = f"{done:,}" if of is None else f"{done:,} of {of:,}"
            print(f"{share} {what}", file=sys.stderr, flush=True)

    return line
