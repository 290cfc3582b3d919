"""Cell folders: the only truth of the store.

Layout::

    STORE/store.json                  format of the store
    STORE/cells/ab/abcd…/record.json  one finished cell, with its files beside
    STORE/failures/abcd…/1.json       one failed attempt
    STORE/sweeps/NAME.json            which cells a sweep asked for (see llt_core.store.sweeps)
    STORE/drivers/TOKEN.json          a driver at work (see llt_core.store.drivers)
    STORE/claims/abcd…/1              who has a cell computed (see llt_core.store.claims)
    STORE/executors/NAME/             files of an executor
    STORE/logs/abcd….log              what workers say of a cell (see llt_core.store.logs)
    STORE/partial/abcd…/              a training under way (see llt_core.store.partials)
    STORE/tables/NAME.parquet         a table that was imported (see llt_core.store.tables)
    STORE/maps/NAME.json              what an adaptive sweep inferred (see llt_core.store.maps)
    STORE/tmp/…                       work in progress, renamed into place when complete
    STORE/broken/…                    cells that could not be read, moved aside

A reader sees a cell whole or not at all: a folder appears under ``cells`` by one rename,
after everything in it has reached the disk.
"""

from __future__ import annotations

import errno
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from pydantic import ValidationError

from llt_core.errors import LltError
from llt_core.store import processes
from llt_core.store.files import permissions, sync, write_whole
from llt_core.store.records import Failure, Record

STORE_FORMAT = 1
RECORD_FILE = "record.json"


class StoreError(LltError):
    """The folder is no store, or cannot be used as one."""


class Store:
    """A folder of finished cells, shared by everything that knows their digests."""

    def __init__(self, root: Path | str, *, create: bool = True) -> None:
        """Open the store at ``root``, making it if ``create``.

        Raises
        ------
        StoreError
            No store there, not a store, a newer format, or not writable.
        """
        self.root = Path(root).absolute()
        marker = self.root / "store.json"
        if not marker.is_file():
            if not create:
                raise StoreError(
                    "there is no store here",
                    where=str(self.root),
                    expected="a folder that llt run has written",
                    next_step="--store DIR, or run something first: llt run --task digits "
                    "--metric hessian_trace",
                )
            self._initialise(marker)
        self._check_format(marker)

    @classmethod
    def existing(cls, root: Path) -> Self | None:
        """Open the store at ``root``; None where there is none yet and one could be made.

        Raises
        ------
        StoreError
            There is something else, or a newer format.
        """
        try:
            empty = not any(root.iterdir())
        except FileNotFoundError:
            return None
        except OSError:  # a file, say
            empty = False
        return None if empty else cls(root, create=False)

    def path(self, digest: str) -> Path:
        """Return the folder of a cell, whether it exists or not."""
        return self.root / "cells" / digest[:2] / digest

    def __contains__(self, digest: str) -> bool:
        """Whether the cell is finished."""
        return (self.path(digest) / RECORD_FILE).is_file()

    def digests(self) -> Iterator[str]:
        """Yield the digests of all finished cells, in order."""
        for shard in sorted(self._children(self.root / "cells")):
            for folder in sorted(self._children(shard)):
                if (folder / RECORD_FILE).is_file():
                    yield folder.name

    def read(self, digest: str) -> Record | None:
        """Return the record of a cell, or None when there is none.

        A record that makes no sense is moved to ``broken/`` and counts as absent, so that the
        cell is computed again instead of stopping everything.

        Raises
        ------
        StoreError
            It cannot be read just now: too many open files, no permission, a file server that
            is away.
        """
        path = self.path(digest) / RECORD_FILE
        try:
            return Record.model_validate_json(_read(path))
        except FileNotFoundError:
            return None
        except (ValidationError, IsADirectoryError, NotADirectoryError):
            self.set_aside(digest)
            return None
        except OSError as error:
            raise cannot_read(path, error) from error

    def set_aside(self, digest: str) -> None:
        """Move an unusable cell to ``broken/``, where a person can look at it.

        It stays where it is if the store cannot be written, or if another process was first.
        """
        target = self.root / "broken"
        with suppress(OSError):
            target.mkdir(exist_ok=True)
            _rename_away(self.path(digest), target / digest)

    @contextmanager
    def staging(self, digest: str) -> Iterator[Path]:
        """Give a private folder to build a cell in; whatever is left of it is removed.

        Raises
        ------
        StoreError
            The store cannot be written.
        """
        parent = self.root / "tmp"
        prefix = f"{digest}.{processes.mark()}."
        try:
            parent.mkdir(exist_ok=True)
            folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        except OSError as error:
            raise cannot_write(self.root, error) from error
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def commit(self, record: Record, staged: Path, *, replace: bool = False) -> None:
        """Put ``staged`` with its ``record`` in place as one finished cell.

        If another process finished the same cell first, its result stands (the same
        digest means the same result) unless ``replace``.
        """
        (staged / RECORD_FILE).write_text(record.model_dump_json(indent=1), encoding="utf-8")
        staged.chmod(permissions(0o777))
        for file in staged.iterdir():
            file.chmod(permissions(0o666))
            sync(file)
        sync(staged)
        target = self.path(record.digest)
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists() and not (replace or self.read(record.digest) is None):
            return
        if target.exists():
            # Another process may replace the same cell just now: then this move finds nothing.
            with self.staging("replaced") as old, suppress(FileNotFoundError):
                _rename_away(target, old / "cell")
        try:
            staged.rename(target)
        except OSError as error:
            # Another process put the same cell there in between: as good as this one.
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        sync(target.parent)

    def record_failure(self, failure: Failure) -> Path:
        """Write one failed attempt and return its file."""
        folder = self.root / "failures" / failure.digest
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{failure.attempt}.json"
        write_whole(path, failure.model_dump_json(indent=1))
        return path

    def attempts(self, digest: str) -> int:
        """Return how many attempts at a cell have failed so far."""
        return len(list((self.root / "failures" / digest).glob("*.json")))

    def clean(self) -> int:
        """Remove what dead processes of this machine left under ``tmp``; return how many."""
        removed = 0
        for folder in self._children(self.root / "tmp"):
            if is_abandoned(folder.name):
                shutil.rmtree(folder, ignore_errors=True)
                removed += 1
        return removed

    def _initialise(self, marker: Path) -> None:
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            strange = [p for p in self.root.iterdir() if not p.name.startswith(f".{marker.name}.")]
            if strange and not marker.is_file():  # another process may have made it since
                raise StoreError(
                    "this folder is not empty and not a store",
                    where=str(self.root),
                    expected="a store, or an empty or new folder",
                    next_step="--store DIR",
                )
            write_whole(marker, json.dumps({"format": STORE_FORMAT}) + "\n")
        except OSError as error:
            raise StoreError(
                f"cannot make a store: {error.strerror or error}",
                where=str(self.root),
                expected="a folder that can be written",
                next_step="--store DIR, or set LLT_STORE",
            ) from error

    def _check_format(self, marker: Path) -> None:
        try:
            found = json.loads(marker.read_text(encoding="utf-8"))["format"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StoreError(
                "the store's marker cannot be read", where=str(marker), expected='{"format": 1}'
            ) from error
        if found != STORE_FORMAT:
            raise StoreError(
                f"the store has format {found}",
                where=str(self.root),
                expected=f"format {STORE_FORMAT}",
                next_step="use the version of llt that wrote it, or another --store",
            )

    @staticmethod
    def _children(folder: Path) -> list[Path]:
        return [path for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []


def cannot_write(where: Path, error: OSError) -> StoreError:
    """Return what to raise where the store cannot be written."""
    return StoreError(
        f"cannot write to the store: {error.strerror or error}",
        where=str(where),
        expected="a store that can be written",
        next_step="--store DIR, or set LLT_STORE",
    )


def cannot_read(where: Path, error: OSError) -> StoreError:
    """Return what to raise where a result is there and cannot be read just now."""
    return StoreError(
        f"a result cannot be read: {error.strerror or error}",
        where=str(where),
        expected="a file that can be read",
        next_step="the same command again, once it can; or delete it, to have it computed again",
    )


def _read(path: Path) -> bytes:
    """Read a file, once more if it was replaced on a file server while it was opened."""
    try:
        return path.read_bytes()
    except OSError as error:
        if error.errno != errno.ESTALE:
            raise
    return path.read_bytes()


def _rename_away(source: Path, target: Path) -> None:
    """Move a folder under a name that is free."""
    number = 0
    while target.exists():
        number += 1
        target = target.with_name(f"{source.name}.{number}")
    source.rename(target)


def is_abandoned(name: str) -> bool:
    """Whether the process that made a temporary folder ran here and is gone."""
    _, dot, rest = name.partition(".")
    return bool(dot) and processes.is_gone(rest.rpartition(".")[0])
