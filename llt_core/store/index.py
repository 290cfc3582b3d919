"""A searchable cache of the cell folders. Delete it whenever you like: it is rebuilt.

It holds one row a record, as it is and as tables have it, and is brought up to date from the
folders before every use, so it can be stale only about a cell whose record was rewritten by one of
the same length within the clock's resolution.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Literal

from llt_core.store.cells import RECORD_FILE, Store
from llt_core.store.export import Measured, measured
from llt_core.store.records import Record
from llt_core.uncollected import uncollected

INDEX_FORMAT = 2
"""Raised when :class:`~llt_core.store.export.Measured` says something else of the same record."""
_SCHEMA = f"""
    BEGIN IMMEDIATE;
    DROP TABLE IF EXISTS records;
    DROP TABLE IF EXISTS measured;
    CREATE TABLE records (digest TEXT PRIMARY KEY, stamp INTEGER, size INTEGER, json TEXT);
    CREATE TABLE measured (digest TEXT PRIMARY KEY, json TEXT);
    PRAGMA user_version = {INDEX_FORMAT};
    COMMIT;
"""
_FILE = "index.sqlite"

Progress = Callable[[int, int], None]


def records(
    store: Store, only: Collection[str] | None = None, progress: Progress | None = None
) -> Iterator[Record]:
    """Yield every record of the store, by digest, reading only what changed since last time.

    Or ``only`` those of some digests: to look through what nobody asked for takes longest.
    ``progress`` is told how many of the changed ones are read, and of how many.

    Where the database cannot be used (a read-only or network file system, a damaged file)
    the folders are read instead; a damaged file is removed.
    """
    texts = _texts(store, "records", progress)
    if texts is None:
        yield from _from_folders(store, only)
        return
    for digest, text in texts:
        if only is None or digest in only:
            yield Record.model_validate_json(text)


@uncollected()
def measured_cells(
    store: Store, only: Collection[str] | None = None, progress: Progress | None = None
) -> list[Measured]:
    """Return what tables say of every cell that was measured, or ``only`` of some, by digest.

    The same as of :func:`records`, in a fraction of the time.
    """
    texts = _texts(store, "measured", progress)
    if texts is None:
        return measured(_from_folders(store, only))
    return [Measured(*json.loads(text)) for digest, text in texts if only is None or digest in only]


def _from_folders(store: Store, only: Collection[str] | None) -> Iterator[Record]:
    for digest in store.digests():
        record = store.read(digest) if only is None or digest in only else None
        if record is not None:
            yield record


def _texts(
    store: Store, table: Literal["records", "measured"], progress: Progress | None
) -> list[tuple[str, str]] | None:
    """Return the JSON texts of a table, each with its digest; None without a usable database."""
    try:
        with closing(sqlite3.connect(store.root / _FILE, timeout=10)) as connection:
            with connection:
                _refresh(store, connection, progress or (lambda done, of: None))
            return connection.execute(
                f"SELECT digest, json FROM {table} ORDER BY digest"
            ).fetchall()
    except (sqlite3.OperationalError, OSError):
        pass  # locked, read-only, or cells coming and going: no fault of the file
    except sqlite3.Error:
        with suppress(OSError):
            (store.root / _FILE).unlink()
    return None


@uncollected()
def _refresh(store: Store, connection: sqlite3.Connection, progress: Progress) -> None:
    if connection.execute("PRAGMA user_version").fetchone() != (INDEX_FORMAT,):
        connection.executescript(_SCHEMA)
    stamps = connection.execute("SELECT digest, stamp, size FROM records")
    known = {digest: (stamp, size) for digest, stamp, size in stamps}
    present = _stamps(store.root / "cells")
    gone = [(digest,) for digest, stamp in known.items() if present.get(digest) != stamp]
    for table in ("records", "measured"):
        connection.executemany(f"DELETE FROM {table} WHERE digest = ?", gone)
    changed = sorted(digest for digest, stamp in present.items() if known.get(digest) != stamp)
    for number, digest in enumerate(changed):
        progress(number, len(changed))
        record = store.read(digest)
        if record is None:
            continue
        row = (digest, *present[digest], record.model_dump_json())
        connection.execute("INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?)", row)
        for cell in measured([record]):
            connection.execute(
                "INSERT OR REPLACE INTO measured VALUES (?, ?)", (digest, json.dumps(cell))
            )


def _stamps(folder: Path) -> dict[str, tuple[int, int]]:
    """Return when each record was written, in nanoseconds, and its length in bytes, by digest."""
    found = {}
    for shard in os.listdir(folder) if folder.is_dir() else ():
        with suppress(FileNotFoundError, NotADirectoryError):
            for digest in os.listdir(folder / shard):
                with suppress(FileNotFoundError, NotADirectoryError):
                    # One look at each, there may be many.
                    seen = os.stat(f"{folder}/{shard}/{digest}/{RECORD_FILE}")
                    found[digest] = (seen.st_mtime_ns, seen.st_size)
    return found
