"""Files a user asked for: written beside, then renamed, so that they are whole or not there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from llt_core.errors import LltError


@contextmanager
def written_whole(path: Path, what: str) -> Iterator[Path]:
    """Give the path to write to; it becomes ``path`` when the block ends well.

    Parameters
    ----------
    path
        Where the file shall be.
    what
        What it is, for the message: "table".

    Raises
    ------
    LltError
        The folder is missing or cannot be written.
    """
    beside = path.with_name(f".{path.name}.part")
    try:
        yield beside
        beside.replace(path)
    except OSError as error:
        raise LltError(
            f"cannot write the {what}: {error.strerror or error}",
            where=str(path),
            expected="a folder that exists and can be written",
            next_step="-o FILE",
        ) from error
    finally:
        with suppress(OSError):
            beside.unlink()
