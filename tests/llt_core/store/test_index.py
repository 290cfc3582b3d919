"""The index answers as the folders do, and can be lost at any time."""

import json
import os
import sqlite3

import pytest

from llt_core.store import Store
from llt_core.store.cells import RECORD_FILE
from llt_core.store.export import Measured, measured
from llt_core.store.index import INDEX_FORMAT, measured_cells, records


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
        assert measured_cells(store) == measured(by_folders(store))
    assert (store.root / "index.sqlite").is_file()


def test_only_what_is_asked_for(store, record):
    wanted = {record(1).digest, record(3).digest}
    assert {one.digest for one in records(store, wanted)} == wanted
    assert {cell.fields["digest"] for cell in measured_cells(store, wanted)} == wanted


def test_tables_hold_what_has_a_measurement(store, record):
    plain = record(8, metric="llt/x").model_copy(update={"measurements": ()})
    put(store, plain)
    assert plain in list(records(store))
    assert measured_cells(store) == measured(by_folders(store))
    assert len(measured_cells(store)) == 5


def test_the_format_is_raised_when_tables_say_something_else(record):
    """Where this fails, raise INDEX_FORMAT: old indexes are then thrown away."""
    said = Measured.of(record(3))
    digest = said.fields.pop("digest")
    assert digest == record(3).digest
    assert (INDEX_FORMAT, json.dumps(said)) == (
        2,
        '[{"task": "llt/digits", "architecture": "llt/mlp", "architecture.width": 8, '
        '"perturbations": "", "train.epochs": 2, "train.milestones": "0.5 0.75", '
        '"train.dtype": "float32", "seeds": "3", "metric": "llt/test_loss", "name": null, '
        '"value": null, "standard_error": null, "unit": null, "n": null, "counted": null, '
        '"status": null, "seconds": 1.5, "finished": "2026-01-01T00:00:00+00:00", '
        '"device": "cpu", "data_fingerprint": "sha256:00", "data_verified": true}, '
        '[["test_loss", 3.5, 0.25, "", 360, "samples", "ok"]]]',
    )


@pytest.mark.parametrize("version", [0, INDEX_FORMAT + 1])
def test_an_index_of_another_format_is_thrown_away(store, version):
    list(records(store))
    with sqlite3.connect(store.root / "index.sqlite") as connection:
        connection.execute("UPDATE measured SET json = '[{}, []]'")
        connection.execute(f"PRAGMA user_version = {version}")
    connection.close()
    assert measured_cells(store) == measured(by_folders(store))


def test_an_index_of_the_first_format_is_thrown_away(store):
    with sqlite3.connect(store.root / "index.sqlite") as connection:
        connection.execute(
            "CREATE TABLE records (digest TEXT PRIMARY KEY, stamp INTEGER, json TEXT)"
        )
        connection.execute("INSERT INTO records VALUES ('00', 1, '{}')")
    connection.close()
    assert list(records(store)) == by_folders(store)
    assert measured_cells(store) == measured(by_folders(store))


def test_progress_counts_what_changed(store, record):
    told = []
    measured_cells(store, progress=lambda done, of: told.append((done, of)))
    assert told == [(number, 5) for number in range(5)]
    told.clear()
    put(store, record(7))
    measured_cells(store, progress=lambda done, of: told.append((done, of)))
    assert told == [(0, 1)]


def test_unchanged_cells_are_not_read_again(store):
    list(records(store))
    for digest in store.digests():
        file = store.path(digest) / RECORD_FILE
        stamp = file.stat().st_mtime_ns
        file.write_text("nobody looks here".ljust(file.stat().st_size))
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
    file = store.path(record(2).digest) / RECORD_FILE
    stamp = file.stat().st_mtime_ns
    file.write_text("{")
    os.utime(file, ns=(stamp, stamp))  # a coarse clock: its length tells
    assert record(2).digest not in {cell.fields["digest"] for cell in measured_cells(store)}
    assert len(measured_cells(store)) == 4
    assert record(2) not in list(records(store))
    assert (store.root / "broken" / record(2).digest).is_dir()


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
    assert measured_cells(store) == measured(by_folders(store))
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
