"""A cell is there whole or not at all, whatever processes die, race, or find damaged."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress

import pytest

from llt_core.store import Failure, Store, processes
from llt_core.store.cells import RECORD_FILE, StoreError

COMMITTER = """
import hashlib, os, sys
from llt_core.spec import PluginRef, TrainCell, digest
from llt_core.store import Checkpoint, Record, Store

root, name, count, mode = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
store = Store(root)
ref = PluginRef(name="t", version=1)
print("ready", flush=True)
sys.stdin.readline()
for number in range(count):
    cell = TrainCell(task=ref, architecture=ref, training=ref, seed=number % 40)
    with store.staging(digest(cell)) as folder:
        content = os.urandom(1000) * 200
        with (folder / "model.safetensors").open("wb") as file:
            for start in range(0, len(content), 50_000):
                file.write(content[start : start + 50_000])
                file.flush()
        sha256 = hashlib.sha256(content).hexdigest()
        checkpoint = Checkpoint(sha256=sha256, epoch=number + 1, parameters=1)
        record = Record(
            digest=digest(cell), cell=cell, seconds=1.0, checkpoint=checkpoint,
            composition={"by": name}, provenance={"filler": "x" * 20_000},
        )
        store.commit(record, folder, replace=mode == "replace")
print("done", flush=True)
"""


def committer(root, name="a", count=100_000, mode="first"):
    """Start a process that commits cells; it waits for a line before the first."""
    process = subprocess.Popen(
        [sys.executable, "-c", COMMITTER, str(root), name, str(count), mode],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    return process


def start(process):
    process.stdin.write("\n")
    process.stdin.flush()


def check_whole(store, digests):
    """Read cells in full; every one must be what its record says."""
    for digest in digests:
        with suppress(FileNotFoundError):  # being replaced just now
            text = (store.path(digest) / RECORD_FILE).read_text(encoding="utf-8")
            content = (store.path(digest) / "model.safetensors").read_bytes()
            again = (store.path(digest) / RECORD_FILE).read_text(encoding="utf-8")
            if text == again:
                record = json.loads(text)
                assert record["digest"] == digest
                assert hashlib.sha256(content).hexdigest() == record["checkpoint"]["sha256"]


@pytest.mark.parametrize("mode", ["first", "replace"])
def test_killed_at_any_moment_a_store_holds_whole_cells_only(tmp_path, mode):
    store = Store(tmp_path / "store")
    chance = random.Random(f"kill {mode}")
    seen = set()
    for _ in range(6):
        process = committer(store.root, mode=mode)
        start(process)
        end = time.monotonic() + chance.uniform(0.01, 0.3)
        while time.monotonic() < end:
            check_whole(store, list(store.digests()))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        digests = list(store.digests())
        check_whole(store, digests)
        for digest in digests:
            assert sorted(p.name for p in store.path(digest).iterdir()) == [
                "model.safetensors",
                RECORD_FILE,
            ]
            assert store.read(digest) is not None
        seen |= set(digests)
    assert seen, "no process lived long enough to commit anything: the test shows nothing"
    store.clean()
    assert list((store.root / "tmp").iterdir()) == []
    assert sorted(p.name for p in store.root.iterdir()) == ["cells", "store.json", "tmp"]


@pytest.mark.parametrize("mode", ["first", "replace"])
def test_two_processes_committing_the_same_cells(tmp_path, mode):
    store = Store(tmp_path / "store")
    processes = [committer(store.root, name, 160, mode) for name in "ab"]
    for process in processes:
        start(process)
    for process in processes:
        assert process.communicate()[0] == "done\n"
        assert process.returncode == 0
    digests = list(store.digests())
    assert len(digests) == 40
    check_whole(store, digests)
    assert list((store.root / "tmp").iterdir()) == []
    if mode == "first":
        epochs = [store.read(digest).checkpoint.epoch for digest in digests]
        assert max(epochs) <= 40, "a finished cell was written again"


LOCKSTEP = """
import sys, time
from llt_core.spec import PluginRef, TrainCell, digest
from llt_core.store import Record, Store

root, act, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
ref = PluginRef(name="t", version=1)
cell = TrainCell(task=ref, architecture=ref, training=ref, seed=0)
record = Record(digest=digest(cell), cell=cell, seconds=1.0, composition={}, provenance={})

def make(number):
    Store(f"{root}/{number}")

def replace(number):
    with store.staging(record.digest) as folder:
        store.commit(record, folder, replace=True)

if act == "replace":
    store = Store(root)
print("ready", flush=True)
begin = float(sys.stdin.readline())
for number in range(count):
    while time.time() < begin + number * 0.003:
        pass
    globals()[act](number)
"""


def in_lockstep(root, act, count):
    """Let two processes do the same thing at the same moments; return what they complain of."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", LOCKSTEP, str(root), act, str(count)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    begin = time.time() + 0.05
    for process in processes:
        process.stdin.write(f"{begin}\n")
        process.stdin.flush()
    return [process.communicate()[1] for process in processes]


def test_two_processes_making_the_same_new_store(tmp_path):
    assert in_lockstep(tmp_path, "make", 100) == ["", ""]
    for number in range(100):
        assert [p.name for p in (tmp_path / str(number)).iterdir()] == ["store.json"]


def test_making_a_store_that_another_process_made_a_moment_ago(tmp_path):
    store = Store(tmp_path)
    (tmp_path / "cells").mkdir()
    store._initialise(tmp_path / "store.json")  # as after a look that saw no marker yet
    assert Store(tmp_path, create=False).root == tmp_path


def test_two_processes_replacing_the_same_cell(tmp_path):
    assert in_lockstep(tmp_path, "replace", 300) == ["", ""]
    store = Store(tmp_path)
    (digest,) = store.digests()
    assert store.read(digest) is not None
    assert list((tmp_path / "tmp").iterdir()) == []


def put(store, record, *, replace=False, extra=None):
    with store.staging(record.digest) as folder:
        if extra is not None:
            (folder / "extra.txt").write_text(extra)
        store.commit(record, folder, replace=replace)


def test_what_is_committed_is_read_back(tmp_path, record):
    store = Store(tmp_path)
    one = record(1)
    assert one.digest not in store
    assert store.read(one.digest) is None
    put(store, one, extra="beside")
    assert one.digest in store
    assert Store(tmp_path, create=False).read(one.digest) == one
    assert list(store.digests()) == [one.digest]
    assert (store.path(one.digest) / "extra.txt").read_text() == "beside"
    assert list((tmp_path / "tmp").iterdir()) == []


def test_values_keep_every_bit(tmp_path, record):
    chance = random.Random(0)
    store = Store(tmp_path)
    one = record(1)
    values = [chance.random() * 10 ** chance.randint(-300, 300) for _ in range(200)]
    lines = tuple(one.measurements[0].model_copy(update={"value": v}) for v in values)
    put(store, one.model_copy(update={"measurements": lines}))
    assert [m.value for m in store.read(one.digest).measurements] == values


def test_the_first_result_stands_unless_replaced(tmp_path, record):
    store = Store(tmp_path)
    one = record(1)
    two = one.model_copy(update={"seconds": 99.0})
    put(store, one, extra="old")
    put(store, two)
    assert store.read(one.digest) == one
    put(store, two, replace=True)
    assert store.read(one.digest) == two
    assert not (store.path(one.digest) / "extra.txt").exists()
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_failing_builder_leaves_nothing(tmp_path, record):
    store = Store(tmp_path)

    def build():
        with store.staging(record(1).digest) as folder:
            (folder / "half").write_text("…")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build()
    assert list((tmp_path / "tmp").iterdir()) == []
    assert list(store.digests()) == []


@pytest.mark.parametrize("damage", ["", "{", '{"format": 1}', "\0" * 100])
def test_an_unreadable_record_is_set_aside_and_computed_again(tmp_path, record, damage):
    store = Store(tmp_path)
    one = record(1)
    for _ in range(2):  # the second broken cell must not meet the first one's name
        put(store, one, extra="evidence")
        (store.path(one.digest) / RECORD_FILE).write_text(damage)
        assert store.read(one.digest) is None
        assert one.digest not in store
    names = sorted(path.name for path in (tmp_path / "broken").iterdir())
    assert names == [one.digest, f"{one.digest}.1"]
    assert (tmp_path / "broken" / one.digest / "extra.txt").read_text() == "evidence"
    put(store, one)
    assert store.read(one.digest) == one


def test_a_broken_cell_gives_way_to_a_commit(tmp_path, record):
    store = Store(tmp_path)
    one = record(1)
    store.path(one.digest).mkdir(parents=True)  # a folder without a record
    put(store, one)
    assert store.read(one.digest) == one
    (store.path(one.digest) / RECORD_FILE).write_text("{")
    put(store, one)
    assert store.read(one.digest) == one


def test_setting_aside_what_another_process_took_is_no_error(tmp_path, record):
    store = Store(tmp_path)
    store.set_aside(record(1).digest)
    assert list((tmp_path / "broken").iterdir()) == []


def told(*arguments, **options):
    with pytest.raises(StoreError) as caught:
        Store(*arguments, **options)
    return caught.value


def test_no_store_there(tmp_path):
    error = told(tmp_path / "none", create=False)
    assert error.what == "there is no store here"
    assert error.where == str(tmp_path / "none")
    assert "--store DIR" in error.next_step
    assert not (tmp_path / "none").exists()


def test_a_folder_of_other_things_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("dear")
    error = told(tmp_path)
    assert "not empty and not a store" in error.what
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_newer_format_is_refused(tmp_path):
    (tmp_path / "store.json").write_text('{"format": 2}')
    error = told(tmp_path)
    assert error.what == "the store has format 2"
    assert error.expected == "format 1"


@pytest.mark.parametrize("text", ["", "[]", "{}", "hello"])
def test_a_marker_that_cannot_be_read(tmp_path, text):
    (tmp_path / "store.json").write_text(text)
    assert told(tmp_path).what == "the store's marker cannot be read"


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    error = told(tmp_path / "file" / "store")
    assert error.what.startswith("cannot make a store: ")
    assert error.where == str(tmp_path / "file" / "store")
    assert "LLT_STORE" in error.next_step


def test_a_store_that_cannot_be_written_is_told(tmp_path, record):
    store = Store(tmp_path)
    (tmp_path / "tmp").write_text("a file where a folder should be")
    with (
        pytest.raises(StoreError, match="cannot write to the store"),
        store.staging(record(1).digest),
    ):
        pass


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_store_can_be_read(tmp_path, record):
    store = Store(tmp_path / "store")
    put(store, record(1))
    put(store, record(2))
    (store.path(record(2).digest) / RECORD_FILE).write_text("{")
    folders = (store.path(record(2).digest).parent, store.root / "tmp", store.root)
    for folder in folders:
        folder.chmod(0o555)
    try:
        again = Store(store.root)
        assert again.read(record(1).digest) == record(1)
        assert again.read(record(2).digest) is None
        with pytest.raises(StoreError, match="cannot write"), again.staging("x"):
            pass
    finally:
        for folder in reversed(folders):
            folder.chmod(0o755)


def failure(record, attempt=1):
    return Failure(
        digest=record.digest,
        cell=record.cell,
        kind="code",
        message="ZeroDivisionError: division by zero",
        traceback="Traceback …",
        attempt=attempt,
        time="2026-01-01T00:00:00+00:00",
    )


def test_failures_are_kept_by_attempt(tmp_path, record):
    store = Store(tmp_path)
    one = record(1)
    assert store.attempts(one.digest) == 0
    for attempt in (1, 2):
        file = store.record_failure(failure(one, attempt))
        assert file == tmp_path / "failures" / one.digest / f"{attempt}.json"
        assert Failure.model_validate_json(file.read_bytes()) == failure(one, attempt)
        assert store.attempts(one.digest) == attempt
    assert one.digest not in store


def test_clean_leaves_the_living_and_other_machines_alone(tmp_path, record):
    store = Store(tmp_path)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    with store.staging("aa") as mine:
        _, place, process, _ = mine.name.split(".")
        (tmp_path / "tmp" / f"bb.{place}.{dead.pid}-17.xyz").mkdir()
        (tmp_path / "tmp" / f"cc.elsewhere.{dead.pid}-17.xyz").mkdir()
        since = process.partition("-")[2]
        (tmp_path / "tmp" / f"dd.{place}.{os.getpid()}-{int(since) - 1}.xyz").mkdir()
        (tmp_path / "tmp" / "notes").mkdir()
        assert store.clean() == 2, "one dead, and one whose number was given again"
        left = sorted(path.name.split(".")[0] for path in (tmp_path / "tmp").iterdir())
        assert left == ["aa", "cc", "notes"]


def test_containers_of_one_name_leave_each_other_alone(tmp_path, monkeypatch):
    """They share host names and the numbers of processes, not the processes."""
    store = Store(tmp_path)
    with store.staging("aa") as mine:
        dead = mine.with_name(mine.name.replace(str(os.getpid()), "999999999"))
        dead.mkdir()
        processes._place_mark.cache_clear()
        monkeypatch.setattr(processes, "place", lambda: "another container")
        try:
            assert store.clean() == 0
        finally:
            monkeypatch.undo()
            processes._place_mark.cache_clear()
        assert store.clean() == 1
        assert mine.exists()


STARVED = """
import os, resource, sys
from llt_core.store import Store
from llt_core.store.cells import StoreError
store = Store(sys.argv[1])
assert store.read(sys.argv[2]) is not None
resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) - 1,) * 2)
try:
    store.read(sys.argv[2])
except StoreError as error:
    print(str(error))
"""


def test_a_record_that_cannot_be_read_just_now_stays(tmp_path, record):
    store = Store(tmp_path)
    put(store, record(1))
    line = [sys.executable, "-c", STARVED, str(tmp_path), record(1).digest]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    assert "a result cannot be read: Too many open files" in done.stdout
    assert record(1).digest in store
    assert not (tmp_path / "broken").exists()


def test_a_folder_in_place_of_a_record_is_set_aside(tmp_path, record):
    store = Store(tmp_path)
    (store.path(record(1).digest) / RECORD_FILE).mkdir(parents=True)
    assert store.read(record(1).digest) is None
    assert not store.path(record(1).digest).exists()
