"""Getting published files: all of them or nothing, and never over what is there."""

from __future__ import annotations

import os
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path

from llt_core.interfaces import LltError

TIMEOUT = 30.0
"""Seconds without a byte after which a download is given up."""

_ARCHIVES = (".gz", ".tar", ".tgz", ".zip")


def is_offline() -> bool:
    """Return whether the user forbids downloads by setting ``LLT_OFFLINE``."""
    return os.environ.get("LLT_OFFLINE", "") not in ("", "0")


def download(root: Path, fetch: Callable[[Path], None]) -> str:
    """Call ``fetch`` on a temporary folder inside ``root`` and move what it put there.

    Files that exist stay as they are. Whatever ends the download early, Ctrl-C included,
    the temporary folder goes and ``root`` is as it was.

    Returns
    -------
    str
        Empty when done, otherwise in a few words why not.
    """
    if is_offline():
        return "LLT_OFFLINE is set"
    new_root = not root.exists()
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".llt-download-", dir=root) as folder:
            # Progress belongs on stderr; some torchvision versions also print to stdout.
            with _socket_timeout(TIMEOUT), redirect_stdout(sys.stderr):
                fetch(Path(folder))
            _move_in(Path(folder), root)
    except Exception as error:
        return in_a_few_words(error)
    finally:
        if new_root:
            with suppress(OSError):  # not empty: the download succeeded
                root.rmdir()
    return ""


def in_a_few_words(error: Exception) -> str:
    """Return the last line of an error's message, with its type."""
    if isinstance(error, LltError):
        return error.what
    lines = str(error).strip().splitlines()
    text = lines[-1].strip().strip("<>") if lines else ""
    return f"{type(error).__name__}: {text}"[:200] if text else type(error).__name__


def _move_in(folder: Path, root: Path) -> None:
    """Move the unpacked files of ``folder`` to the same places under ``root``."""
    for source in sorted(folder.rglob("*")):
        target = root / source.relative_to(folder)
        if source.is_file() and source.suffix not in _ARCHIVES and not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            source.rename(target)


@contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    """Limit how long new connections wait: torchvision's downloads set no limit themselves."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
