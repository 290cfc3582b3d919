"""One function called many times, here or in several processes, that tells how far it is."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ProcessPoolExecutor, wait
from typing import Any, TypeVar

Result = TypeVar("Result")
Told = Callable[[int], None]
"""Called with how much was done since the last time."""

LOOK_EVERY = 0.5
"""Seconds between two looks at how far the others are."""

_shared: tuple[Any, Any] | None = None
"""In a process that works for another: how much was done by all, and whether to stop."""


def alone(
    function: Callable[..., Result], calls: Sequence[tuple[Any, ...]], told: Told
) -> list[Result]:
    """Return ``function(*arguments, told)`` for each tuple of arguments."""
    return [function(*arguments, told) for arguments in calls]


def together(
    function: Callable[..., Result], calls: Sequence[tuple[Any, ...]], jobs: int, told: Told
) -> list[Result]:
    """Return the same from up to ``jobs`` processes.

    After an interruption each of them goes on to where it would have told something.
    """
    # Spawned: a fork of a process with threads may hang.
    context = multiprocessing.get_context("spawn")
    done, stop = context.Value("q", 0), context.Event()
    size = min(jobs, len(calls))
    with ProcessPoolExecutor(size, context, _begin, (done, stop)) as pool:
        futures = [pool.submit(_call, function, arguments) for arguments in calls]
        try:
            seen, left = 0, set(futures)
            while left:
                ended, left = wait(left, LOOK_EVERY, FIRST_EXCEPTION)
                for future in ended:
                    future.result()
                seen, before = done.value, seen
                told(seen - before)
        except BaseException:
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise
    return [future.result() for future in futures]


def _begin(done: Any, stop: Any) -> None:
    global _shared
    _shared = done, stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all: the driver says when


def _call(function: Callable[..., Result], arguments: tuple[Any, ...]) -> Result:
    return function(*arguments, _tell)


def _tell(count: int) -> None:
    assert _shared is not None
    done, stop = _shared
    if stop.is_set():
        raise KeyboardInterrupt
    with done.get_lock():
        done.value += count
