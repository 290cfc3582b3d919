"""A searchable cache of the cell folders. Delete it whenever you like: it is rebuilt.

It holds one row a record and is brought up to date from the folders before every use, so
it can be stale only about a cell whose record was rewritten within the clock's resolution.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

from llt_core.store.cells import RECORD_FILE, Store
from llt_core.store.records import Record

_SCHEMA = "CREATE TABLE IF NOT EXISTS records (digest TEXT PRIMARY KEY, stamp INTEGER, json TEXT)"
_FILE = "index.sqlite"


def records(store: Store) -> Iterator[Record]:
    """Yield every record of the store, by digest, reading only what changed since last time.

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
            record = store.read(digest)
            if record is not None:
                yield record
        return
    for text in texts:
        yield Record.model_validate_json(text)


def _refresh(store: Store) -> list[str]:
    with closing(sqlite3.connect(store.root / _FILE, timeout=10)) as connection, connection:
        connection.execute(_SCHEMA)
        known = dict(connection.execute("SELECT digest, stamp FROM records"))
        present = {digest: _stamp(store.path(digest)) for digest in store.digests()}
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
        rows = connection.execute("SELECT json FROM records ORDER BY digest")
        return [text for (text,) in rows]


def _stamp(folder: Path) -> int:
    return (folder / RECORD_FILE).stat().st_mtime_ns
