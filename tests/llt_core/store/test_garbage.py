"""What can go from a store, and what must stay."""

import os
import runpy
import subprocess
import sys
import time
from pathlib import Path

import pytest

from llt_core.errors import LltError
from llt_core.interfaces import Measurement
from llt_core.spec import MeasureCell, PluginRef, TrainCell, digest
from llt_core.store import Checkpoint, Failure, Record, Store
from llt_core.store.claims import Claims
from llt_core.store.drivers import Driver
from llt_core.store.garbage import DAY, Collector, delete
from llt_core.store.logs import log_file
from llt_core.store.partials import partial_file
from llt_core.store.sweeps import SweepPoint, SweepRecord, names, remember

HOLDER = runpy.run_path(str(Path(__file__).with_name("test_states.py")))["HOLDER"]
REF = PluginRef(name="t", version=1)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def put(store, cell):
    name = digest(cell)
    trained = isinstance(cell, TrainCell)
    with store.staging(name) as folder:
        if trained:
            (folder / "model.safetensors").write_bytes(b"0" * 1000)
        record = Record(
            digest=name, cell=cell, seconds=1.0, composition={}, provenance={},
            checkpoint=Checkpoint(sha256="", epoch=1, parameters=1) if trained else None,
            measurements=() if trained else (Measurement(name="x", value=1.0),),
        )  # fmt: skip
        store.commit(record, folder)
    return name


def model(store, number):
    return put(store, TrainCell(task=REF, architecture=REF, training=REF, seed=number))


def measure(store, *models):
    return put(store, MeasureCell(metric=REF, models=models))


def note(store, name):
    """Write everything that attempts at a cell leave."""
    cell = TrainCell(task=REF, architecture=REF, training=REF, seed=0)
    store.record_failure(Failure(digest=name, cell=cell, kind="code", message="no", time=""))
    for file in (log_file(store, name), partial_file(store, name)):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("x")


def name_sweep(store, name, models, measures=()):
    point = SweepPoint(values={}, models=tuple(models), measures=tuple(measures))
    remember(store, SweepRecord(name=name, planned="", fields=(), spec={}, points=(point,)))


def age(store, days=2.0):
    """Make everything in the store look as if nobody had touched it for days."""
    past = time.time() - days * DAY
    for path in store.root.rglob("*"):
        os.utime(path, (past, past), follow_symlinks=False)


def found(store, **settings):
    """Return the paths of what can go, below the store, by kind."""
    kinds = {}
    for item in Collector(store, **settings).find():
        path = str(item.path.relative_to(store.root))
        kinds.setdefault(item.kind, set()).add(path)
    return kinds


def test_notes_of_finished_cells_go_and_those_of_others_stay(store):
    done, waits, stray = model(store, 0), "b" * 32, "c" * 32
    name_sweep(store, "s", [done, waits])
    for name in (done, waits, stray):
        note(store, name)
    assert found(store) == {}, "all of it is young"
    age(store)
    assert found(store) == {
        "partial": {f"partial/{done}"},
        "logs": {f"logs/{done}.log", f"logs/{stray}.log"},
        "failures": {f"failures/{done}", f"failures/{stray}"},
    }
    assert found(store, older_than=3 * DAY) == {}
    log_file(store, done).write_text("more")
    assert f"logs/{done}.log" not in found(store)["logs"]


def test_a_file_touched_deep_in_a_folder_keeps_it(store):
    folder = store.root / "executors" / "slurm" / "deep" / "deeper"
    folder.mkdir(parents=True)
    (folder / "file").write_text("12345")
    age(store)
    (item,) = Collector(store).find()
    assert (item.kind, item.path.name, item.bytes) == ("executors", "slurm", 5)
    (folder / "file").touch()
    assert found(store) == {}


def test_while_the_file_of_a_sweep_cannot_be_read_nobody_knows_what_it_names(store):
    done, stray, free = model(store, 0), "c" * 32, model(store, 1)
    name_sweep(store, "s", [done])
    note(store, done)
    note(store, stray)
    name_sweep(store, "broken", [stray])
    (store.root / "sweeps" / "broken.json").write_text("{")
    age(store)
    assert found(store)["logs"] == {f"logs/{done}.log"}
    with pytest.raises(LltError, match="nobody can tell what 'broken' names") as caught:
        found(store, unnamed=True)
    assert "sweeps" in caught.value.where
    (store.root / "sweeps" / "broken.json").unlink()
    assert found(store, unnamed=True)["cells"] == {f"cells/{free[:2]}/{free}"}


def test_unnamed_cells_go_but_not_what_named_or_young_ones_need(store):
    named, shared, alone, read = (model(store, number) for number in range(4))
    kept, gone, young = measure(store, named, shared), measure(store, alone), measure(store, read)
    name_sweep(store, "s", [named, shared], [kept])
    age(store)
    os.utime(store.path(young) / "record.json")
    assert "cells" not in found(store)
    items = [item for item in Collector(store, unnamed=True).find() if item.kind == "cells"]
    assert [item.path.name for item in items] == [gone, alone], "the measurement goes first"
    assert items[1].bytes > 1000
    assert delete(store, items) == []
    assert set(store.digests()) == {named, shared, kept, young, read}
    assert list((store.root / "tmp").iterdir()) == []


def test_a_forgotten_sweep_frees_what_only_it_names(store):
    one, both, two = (model(store, number) for number in range(3))
    name_sweep(store, "first", [one, both])
    name_sweep(store, "second", [both, two])
    age(store)
    assert found(store, unnamed=True) == {}
    assert found(store, forget=("first",)) == {"sweeps": {"sweeps/first.json"}}
    settings = {"forget": ("first",), "unnamed": True}
    assert found(store, **settings)["cells"] == {f"cells/{one[:2]}/{one}"}
    assert names(store) == ["first", "second"], "only found so far"
    delete(store, Collector(store, **settings).find())
    assert names(store) == ["second"]
    assert set(store.digests()) == {both, two}
    with pytest.raises(LltError, match="knows no sweep 'first'"):
        found(store, forget=("first",))


def test_what_dead_processes_left(store):
    cell, job, done = "a" * 32, "b" * 32, model(store, 0)
    code = HOLDER.replace(
        "    print(", "    staging = store.staging('x')\n    staging.__enter__()\n    print("
    )
    dead = subprocess.Popen(
        [sys.executable, "-c", code, str(store.root), cell, f"{job}:17_1", f"{done}:17_2"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert dead.stdout.readline() == "ready\n"
    for name in (cell, job):
        note(store, name)
    (store.root / "executors" / "slurm").mkdir(parents=True)
    (store.root / "executors" / "old").mkdir()
    name_sweep(store, "s", [cell, job, done])
    age(store)
    alive = found(store)
    assert "claims" not in alive
    assert "tmp" not in alive
    assert "drivers" not in alive
    dead.kill()
    dead.communicate()
    age(store)
    (token,) = (path.stem for path in (store.root / "drivers").glob("[!.]*.json"))
    gone = found(store)
    assert gone["drivers"] >= {f"drivers/{token}.json"}
    assert gone["claims"] == {f"claims/{cell}/1", f"claims/{done}/1"}, "a job may go on"
    assert len(gone["tmp"]) == 1
    assert gone["executors"] == {"executors/old"}
    delete(store, Collector(store).find())
    assert [path.name for path in (store.root / "claims").iterdir()] == [job]
    assert found(store) == {}
    with Driver(store) as driver:
        assert Claims(store, driver).take(cell) is None


def test_the_map_of_a_sweep_goes_with_its_name_and_imported_tables_stay(store):
    name_sweep(store, "first", [])
    for folder, file in (("maps", "first.json"), ("maps", "gone.json"), ("tables", "t.parquet")):
        (store.root / folder).mkdir(exist_ok=True)
        (store.root / folder / file).write_text("{}")
    age(store)
    assert found(store) == {"maps": {"maps/gone.json"}}
    both = {"maps/first.json", "maps/gone.json"}
    assert found(store, forget=("first",)) == {"sweeps": {"sweeps/first.json"}, "maps": both}


def test_what_somebody_computes_is_left_alone(store):
    done, other = model(store, 0), model(store, 1)
    name_sweep(store, "s", [done])
    note(store, done)
    (store.root / "executors" / "local").mkdir(parents=True)
    with Driver(store, sweep="s", executor="local") as driver:
        claims = Claims(store, driver, "local")
        claims.take(done)
        age(store)
        assert set(found(store, unnamed=True)) == {"cells"}
        with pytest.raises(LltError, match="at work on the sweep 's'"):
            found(store, forget=("s",))
        claims.release_all()
    with Driver(store, executor="inline", command="llt run --task x"):
        age(store)
        with pytest.raises(LltError, match="at work on cells that no sweep names") as caught:
            found(store, unnamed=True)
        assert "llt run --task x" in caught.value.where
    age(store)
    assert set(found(store, unnamed=True)) == {"cells", "partial", "logs", "failures", "executors"}
    assert other in store


def test_what_cannot_be_moved_is_told_and_what_is_gone_is_not(store, monkeypatch):
    one, two = model(store, 0), model(store, 1)
    age(store)
    items = Collector(store, unnamed=True).find()
    assert len(items) == 2
    store.set_aside(one)
    blocked = store.path(two)
    rename = Path.rename

    def refuse(path, target):
        if path == blocked:
            raise PermissionError("on purpose")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refuse)
    assert [item.path for item in delete(store, items)] == [blocked]
    assert two in store


def test_killed_while_it_deletes_a_store_stays_whole(store):
    """Whatever is still there is whole, and the next call finds the rest."""
    for number in range(80):
        model(store, number)
    age(store)
    code = (
        "import sys; from llt_core.store import Store; from llt_core.store.garbage import *\n"
        "store = Store(sys.argv[1]); items = Collector(store, unnamed=True).find()\n"
        "print('ready', flush=True); sys.stdin.readline(); delete(store, items)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(store.root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    process.stdin.write("\n")
    process.stdin.flush()
    while len(list(store.digests())) > 70:
        time.sleep(0.001)
    process.kill()
    process.communicate()
    left = list(store.digests())
    assert all((store.path(name) / "model.safetensors").stat().st_size == 1000 for name in left)
    assert all(store.read(name) is not None for name in left)
    age(store)
    delete(store, Collector(store, unnamed=True).find())
    assert list(store.digests()) == []
    assert list((store.root / "tmp").iterdir()) == []
