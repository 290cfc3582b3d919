"""Files that a reader sees whole, that outlive a crash, and that others may read."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

_UMASK = os.umask(0)
os.umask(_UMASK)  # asked once: it can only be asked by setting it, for all threads


def write_whole(path: Path, text: str, *, durable: bool = True) -> None:
    """Write a file so that a reader sees all of it or the file that was there before.

    After a crash of the machine too, if ``durable``.
    """
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        Path(name).chmod(permissions(0o666))
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def permissions(wanted: int) -> int:
    """Return ``wanted`` less the user's umask: temporary files are private, results are not."""
    return wanted & ~_UMASK


def sync(path: Path) -> None:
    """Have a file, or the names in a folder, reach the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
