"""The disk gets full, files are damaged: told in plain words, and repaired by the same command."""

import os
import shutil
import subprocess
from contextlib import contextmanager

import pytest

from llt_core.spec import MeasureCell
from llt_core.store import Store


def mount(*arguments):
    return subprocess.run(["mount", *map(str, arguments)], capture_output=True).returncode == 0


@contextmanager
def small_disk(path, size):
    path.mkdir()
    if os.geteuid() != 0 or not mount("-t", "tmpfs", "-o", f"size={size}k", "tmpfs", path):
        pytest.skip("a file system of its own needs root")
    try:
        yield
    finally:
        subprocess.run(["umount", path], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("size", [48, 200, 500])
@pytest.mark.parametrize("executor", ["local:workers=2", "inline"])
def test_a_full_disk_is_told_and_with_more_room_the_sweep_goes_on(
    ground, tools, undisturbed, size, executor
):
    disk = ground.home / "disk"
    with small_disk(disk, size):
        store = disk / "store"
        with tools.watched(store) as watcher:
            said = ground.sweep(store, executor=executor, pause=0, code=2)
            assert "No space left on device" in said
            assert "the store" in said
            assert "next:" in said
            assert watcher.most < tools.cells
            said = ground.sweep(store, executor=executor, pause=0, code=2)  # as full as it was
            assert "No space left on device" in said
        kept = tools.table(store)
        assert all(undisturbed[0][digest] == cell for digest, cell in kept.items())
        assert mount("-o", "remount,size=64m", disk)
        with tools.watched(store):
            ground.sweep(store, executor=executor, pause=0)
        assert (tools.table(store), tools.export(store)) == undisturbed
        tools.check_tidy(store)


@pytest.mark.slow
def test_no_room_for_a_store_at_all(ground, tools):
    disk = ground.home / "disk"
    with small_disk(disk, 4):
        (disk / "in the way").write_bytes(bytes(4096))
        said = ground.sweep(disk / "store", executor="inline", code=2)
        assert "cannot make a store: No space left on device" in said


@pytest.fixture
def filled(ground, filled_store):
    """Return a store that holds the whole sweep."""
    store = ground.home / "store"
    shutil.copytree(filled_store, store)
    return store


def split(store):
    """Return the digests of models, and of measurements with the models they read."""
    opened = Store(store, create=False)
    cells = {digest: opened.read(digest).cell for digest in opened.digests()}
    measures = {d: c.models for d, c in cells.items() if isinstance(c, MeasureCell)}
    return [digest for digest in cells if digest not in measures], measures


def test_unreadable_records_are_computed_again(ground, tools, undisturbed, filled):
    models, measures = split(filled)
    opened = Store(filled)
    damaged = [*models[:4], *list(measures)[:4]]
    for number, digest in enumerate(damaged):
        record = opened.path(digest) / "record.json"
        text = record.read_bytes()
        record.unlink()
        match number % 4:
            case 0:
                record.write_bytes(b"\x00\xff garbage \xfe" * 20)
            case 1:
                record.mkdir()
            case 2:
                record.write_bytes(text[: len(text) // 2])
            case 3:
                record.touch()
    (filled / "sweeps" / "sweep.json").write_bytes(b"\xff")
    ground.sweep(filled, executor="inline", pause=0)
    # A model that no missing measurement reads is not needed, and not trained again.
    needed = {model for digest in damaged if digest in measures for model in measures[digest]}
    spared = {d for d in models[:4] if d not in needed and d not in set(opened.digests())}
    whole = {d: cell for d, cell in undisturbed[0].items() if d not in spared}
    assert (tools.table(filled), tools.export(filled)) == (whole, undisturbed[1])
    assert len(list((filled / "broken").iterdir())) >= 4
    assert tools.until(lambda: not ground.processes())


def test_damaged_models_are_trained_again_where_they_are_read(ground, tools, undisturbed, filled):
    models, measures = split(filled)
    opened = Store(filled)
    for number, digest in enumerate(models):
        file = opened.path(digest) / "model.safetensors"
        content = bytearray(file.read_bytes())
        match number % 4:
            case 0:
                file.write_bytes(content[:-7])
            case 1:  # as long as it was: only its digest tells
                content[-9] ^= 255
                file.write_bytes(content)
            case 2:
                file.unlink()
                file.mkdir()
            case 3:
                file.write_bytes(b"")
    for digest in measures:
        shutil.rmtree(opened.path(digest))
    with tools.watched(filled / "nowhere") as watcher:
        watcher.passes = 1
        ground.sweep(filled, pause=0)
    assert (tools.table(filled), tools.export(filled)) == undisturbed
    tools.check_tidy(filled)


@pytest.mark.slow
def test_rubbish_beside_the_cells_stops_nobody(ground, tools, undisturbed):
    store = ground.home / "store"
    Store(store)
    digests = list(undisturbed[0])
    for name, content in {
        f"claims/{digests[0]}/1": b"rubbish",
        f"claims/{digests[1]}/what": b"rubbish",
        f"failures/{digests[3]}/1.json": b"rubbish",
        f"partial/{digests[4]}/state.safetensors": b"rubbish",
        f"logs/{digests[5]}.log/folder": b"",
        "drivers/nobody.json": b"rubbish",
        "drivers/nobody.stop": b"now",
        "sweeps/sweep.json": b"rubbish",
        "tmp/rubbish": b"rubbish",
        "broken/rubbish": b"rubbish",
    }.items():
        file = store / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    for digest in digests:  # whatever its cell is, a checkpoint that is none
        file = store / "partial" / digest / "state.safetensors"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"rubbish" * 99)
    ground.sweep(store, pause=0)
    assert (tools.table(store), tools.export(store)) == undisturbed
