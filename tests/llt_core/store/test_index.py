"""The index answers as the folders do, and can be lost at any time."""

import os
import sqlite3

import pytest

from llt_core.store import Store
from llt_core.store.cells import RECORD_FILE
from llt_core.store.index import records


@pytest.fixture
def store(tmp_path, record):
    store = Store(tmp_path / "store")
    for number in range(5):
        put(store, record(number))
    return store


def put(store, one, *, replace=False):
    with store.staging(one.digest) as folder:
        store.commit(one, folder, replace=replace)


def by_folders(store):
    return [store.read(digest) for digest in store.digests()]


def test_same_answer_as_the_folders(store):
    assert len(by_folders(store)) == 5
    for _ in range(2):
        assert list(records(store)) == by_folders(store)
    assert (store.root / "index.sqlite").is_file()


def test_unchanged_cells_are_not_read_again(store):
    list(records(store))
    for digest in store.digests():
        file = store.path(digest) / RECORD_FILE
        stamp = file.stat().st_mtime_ns
        file.write_text("nobody looks here")
        os.utime(file, ns=(stamp, stamp))
    assert len(list(records(store))) == 5


def test_new_removed_and_replaced_cells_are_seen(store, record):
    list(records(store))
    put(store, record(7))
    assert list(records(store)) == by_folders(store)
    assert record(7) in list(records(store))
    slow = record(7).model_copy(update={"seconds": 50.0})
    put(store, slow, replace=True)
    assert slow in list(records(store))
    assert record(7) not in list(records(store))
    (store.path(slow.digest) / RECORD_FILE).unlink()
    assert list(records(store)) == by_folders(store)
    assert len(by_folders(store)) == 5


def test_a_cell_that_became_unreadable_is_not_told_from_memory(store, record):
    list(records(store))
    (store.path(record(2).digest) / RECORD_FILE).write_text("{")
    assert record(2) not in list(records(store))
    assert len(list(records(store))) == 4


@pytest.mark.parametrize("content", [b"", b"not a database at all", b"SQLite format 3\0" * 300])
def test_a_damaged_index_is_rebuilt(store, content):
    list(records(store))
    (store.root / "index.sqlite").write_bytes(content)
    for _ in range(2):
        assert list(records(store)) == by_folders(store)
    with sqlite3.connect(store.root / "index.sqlite") as connection:
        assert connection.execute("SELECT count(*) FROM records").fetchone() == (5,)
    connection.close()


def test_a_deleted_index_is_rebuilt(store):
    list(records(store))
    (store.root / "index.sqlite").unlink()
    assert list(records(store)) == by_folders(store)
    assert (store.root / "index.sqlite").is_file()


def test_without_a_usable_index_the_folders_are_read(store):
    (store.root / "index.sqlite").mkdir()
    assert list(records(store)) == by_folders(store)
    assert len(list(records(store))) == 5


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_store(store, record):
    list(records(store))
    put(store, record(9))
    for path in (store.root / "index.sqlite", store.root):
        path.chmod(0o555)
    try:
        assert list(records(store)) == by_folders(store)
        assert len(by_folders(store)) == 6
    finally:
        store.root.chmod(0o755)


def test_an_empty_store(tmp_path):
    assert list(records(Store(tmp_path / "new"))) == []
