"""Telling published files from others, and reading what may be broken."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path

from llt_core.interfaces import DataError, LltError
from llt_plugins.tasks.download import in_a_few_words


def check_md5(title: str, root: Path, published: Mapping[str, str]) -> None:
    """Refuse files under ``root`` that are not the published ones; missing ones are ignored.

    Parameters
    ----------
    title
        Name of the data set, for the message.
    published
        Name relative to ``root`` → md5 of the published file.

    Raises
    ------
    DataError
        Names the first such file, its md5, the published one, and the ways on.
    """
    for name, expected in published.items():
        path = root / name
        if not path.is_file():
            continue
        with reading(path):
            status = path.stat()
            found = _md5(path, status.st_size, status.st_mtime_ns)
        if found != expected:
            raise DataError(
                f"{name} is not the published file of {title}: its md5 is {found}",
                where=str(path.absolute()),
                expected=f"md5 {expected}",
                next_step="add --set task.verify=false if these are your own files in this "
                "layout, or remove the file so that it is downloaded again",
            )


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn whatever goes wrong while ``path`` is read into a :class:`DataError` naming it.

    Readers of foreign formats fail in many ways (EOFError, KeyError, zlib.error, …), and
    for all of them the answer is the same: this file is broken. Running out of memory is
    not the file's fault and passes through.
    """
    try:
        yield
    except (LltError, MemoryError):
        raise
    except Exception as error:
        raise DataError(
            f"{path.name} cannot be read ({in_a_few_words(error)})",
            where=str(path.absolute()),
            expected="a complete file in the layout of the original data set",
            next_step="remove or replace the file",
        ) from error


@lru_cache(maxsize=256)
def _md5(path: Path, size: int, mtime_ns: int) -> str:
    """Hash a file once per process, as long as its size and time stay the same."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, partial(hashlib.md5, usedforsecurity=False)).hexdigest()
