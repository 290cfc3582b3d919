"""A searchable cache of the cell folders. Delete it whenever you like: it is rebuilt.

It holds one row a record and is brought up to date from the folders before every use, so
it can be stale only about a cell whose record was rewritten within the clock's resolution.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Collection, Iterator
from contextlib import closing, suppress
from pathlib import Path

from llt_core.store.cells import RECORD_FILE, Store
from llt_core.store.records import Record

_SCHEMA = "CREATE TABLE IF NOT EXISTS records (digest TEXT PRIMARY KEY, stamp INTEGER, json TEXT)"
_FILE = "index.sqlite"


def records(store: Store, only: Collection[str] | None = None) -> Iterator[Record]:
    """Yield every record of the store, by digest, reading only what changed since last time.

    Or ``only`` those of some digests: to look through what nobody asked for takes longest.

    Where the database cannot be used (a read-only or network file system, a damaged file)
    the folders are read instead; a damaged file is removed.
    """
    texts = None
    try:
        texts = _refresh(store)
    except (sqlite3.OperationalError, OSError):
        pass  # locked, read-only, or cells coming and going: no fault of the file
    except sqlite3.Error:
        with suppress(OSError):
            (store.root / _FILE).unlink()
    if texts is None:
        for digest in store.digests():
            wanted = only is None or digest in only
            record = store.read(digest) if wanted else None
            if record is not None:
                yield record
        return
    for digest, text in texts:
        if only is None or digest in only:
            yield Record.model_validate_json(text)


def _refresh(store: Store) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(store.root / _FILE, timeout=10)) as connection, connection:
        connection.execute(_SCHEMA)
        known = dict(connection.execute("SELECT digest, stamp FROM records"))
        present = _stamps(store.root / "cells")
        changed = [digest for digest, stamp in known.items() if present.get(digest) != stamp]
        connection.executemany("DELETE FROM records WHERE digest = ?", [(d,) for d in changed])
        for digest, stamp in present.items():
            if known.get(digest) != stamp:
                record = store.read(digest)
                if record is not None:
                    connection.execute(
                        "INSERT OR REPLACE INTO records VALUES (?, ?, ?)",
                        (digest, stamp, record.model_dump_json()),
                    )
        return connection.execute("SELECT digest, json FROM records ORDER BY digest").fetchall()


def _stamps(folder: Path) -> dict[str, int]:
    """Return when each record was written, by digest; one look at each, there may be many."""
    found = {}
    for shard in os.listdir(folder) if folder.is_dir() else ():
        with suppress(FileNotFoundError, NotADirectoryError):
            for digest in os.listdir(folder / shard):
                with suppress(FileNotFoundError, NotADirectoryError):
                    file = f"{folder}/{shard}/{digest}/{RECORD_FILE}"
                    found[digest] = os.stat(file).st_mtime_ns
    return found
