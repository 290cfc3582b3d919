"""Reading in peace: no garbage collection while millions of objects are made that all stay."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Let no garbage be collected meanwhile; also a decorator of functions.

    The collector looks through all that is there again and again while it grows: validating
    eight thousand records took 119 µs each with it, 37 without.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
