"""What a worker says about one cell, appended to the cell's log as it happens."""

from __future__ import annotations

import faulthandler
import logging
import os
import platform
import sys
import time
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TextIO

from llt_core.errors import LltError
from llt_core.store import Store
from llt_core.store.logs import log_file

LINE_EVERY = 1.0
"""Seconds between two lines of routine; of those in between, the last one is written."""


class CellLog:
    """Appends lines to a file, or to none; it never raises."""

    def __init__(self, file: TextIO | None) -> None:
        self._file = file
        self._held = ""
        self._last = -LINE_EVERY

    def note(self, text: str) -> None:
        """Write ``text`` now, with the time of day."""
        self._release()
        self._write(_stamped(text))

    def routine(self, text: str) -> None:
        """Write ``text``, unless a line like it was written less than a second ago."""
        self._held = _stamped(text)
        now = time.monotonic()
        if now - self._last >= LINE_EVERY:
            self._last = now
            self._release()

    def _release(self) -> None:
        held, self._held = self._held, ""
        if held:
            self._write(held)

    def _write(self, text: str) -> None:
        if self._file is not None:
            # A full disk, or a file system that is gone: the work is worth more than its log.
            with suppress(OSError, ValueError):
                self._file.write(text)
                self._file.flush()


@contextmanager
def cell_log(store: Store, digest: str, work: str) -> Iterator[CellLog]:
    """Log what happens inside the block: how it ends, and every warning and crash on the way.

    Warnings go to the log instead of the terminal, where they would break the display. A log
    that cannot be written costs nothing but the log.

    Parameters
    ----------
    work
        What is done, for the header of this attempt.
    """
    start = time.perf_counter()
    with _opened(store, digest, work) as file:
        log = CellLog(file)
        try:
            with _crashes_in(file), _warnings_in(log):
                yield log
        except BaseException as error:
            log.note(f"{_said_of(error)}\nfailed after {time.perf_counter() - start:.2f} s")
            raise
        log.note(f"done in {time.perf_counter() - start:.2f} s")


def log_failure(store: Store, digest: str, work: str, error: BaseException) -> None:
    """Append to the log of a cell that its work failed before it began."""
    with _opened(store, digest, work) as file:
        CellLog(file).note(_said_of(error))


@contextmanager
def _opened(store: Store, digest: str, work: str) -> Iterator[TextIO | None]:
    """Open the log of a cell, if that can be done, and begin an attempt in it."""
    path = log_file(store, digest)
    try:
        path.parent.mkdir(exist_ok=True)
        file = path.open("a", encoding="utf-8", errors="backslashreplace")
    except OSError:
        yield None
        return
    attempt = store.attempts(digest) + 1
    now = datetime.now(UTC).isoformat(timespec="seconds")
    try:
        with suppress(OSError):
            where = f"{platform.node()} process {os.getpid()}"
            file.write(f"== {now} {work}, attempt {attempt}, {where}\n")
            file.flush()
        yield file
    finally:
        with suppress(OSError):
            file.close()


def _stamped(text: str) -> str:
    return f"{time.strftime('%H:%M:%S', time.gmtime())} {text}\n"


def _said_of(error: BaseException) -> str:
    """Return the traceback, except of a wrong request, which explains itself."""
    if isinstance(error, LltError):
        return str(error)
    return "".join(traceback.format_exception(error)).rstrip()


@contextmanager
def _crashes_in(file: TextIO | None) -> Iterator[None]:
    """Have the tracebacks of a process that is about to crash written to ``file``."""
    if file is None:
        yield
        return
    before = faulthandler.is_enabled()
    faulthandler.enable(file)
    try:
        yield
    finally:
        faulthandler.disable()
        if before and sys.__stderr__ is not None:  # where to was not told: as it is by default
            with suppress(OSError, ValueError, RuntimeError):
                faulthandler.enable(sys.__stderr__)


@contextmanager
def _warnings_in(log: CellLog) -> Iterator[None]:
    """Write warnings, and what libraries log as one, to ``log``."""

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        log.note(f"{category.__name__}: {message} ({filename}:{lineno})")

    handler = _Handler(log)
    root = logging.getLogger()
    with warnings.catch_warnings():
        warnings.showwarning = show
        root.addHandler(handler)
        try:
            yield
        finally:
            root.removeHandler(handler)


class _Handler(logging.Handler):
    def __init__(self, log: CellLog) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record of the standard library's logging."""
        try:
            self._log.note(f"{record.levelname} of {record.name}: {record.getMessage()}")
        except Exception:  # a message whose arguments do not fit
            self.handleError(record)
