"""Jobs that never see the driver's store give what jobs give that do."""

import errno
import os
import pickle
import subprocess
import sys
from typing import ClassVar

import pytest

from llt_core.interfaces import perform
from llt_core.plugins import Catalogue
from llt_core.spec import ComputeSettings, Named, RunSpec
from llt_core.store import Store
from llt_core.store.logs import read_log
from llt_core.sweep import courier, make_plan
from llt_core.sweep.jobs import JobMaker
from llt_plugins.executors.inline import Inline

ELSEWHERE = """
import pickle, sys
from llt_core.interfaces import perform
job = pickle.load(sys.stdin.buffer)
outcome = perform(job, lambda progress: None)
sys.stdout.buffer.write(pickle.dumps(outcome))
"""


@pytest.fixture
def plan(here):
    spec = RunSpec(
        task=Named.of("file_task"),
        architecture=Named.of("mlp:width=4,depth=1"),
        train={"epochs": 1, "batch_size": 16},
        metrics=tuple(map(Named.of, ("norm", "distance", "fails"))),
        models=2,
    )
    return make_plan(spec, Catalogue.discover(), here)


def of_metric(plan, name):
    return [m for m in plan.measures if m.cell.metric.name.endswith(f"/{name}")]


@pytest.fixture
def maker(here):
    """Return a function that gives the maker of jobs for a store of that name."""

    def make(name, *, shares_files):
        return JobMaker(
            store=Store(here / name),
            data_root=here,
            compute=ComputeSettings(threads=1),
            force=False,
            command="test",
            plugins={},
            shares_files=shares_files,
        )

    return make


@pytest.fixture
def far(maker):
    return maker("far", shares_files=False)


def here_and_now(maker, cells, plan):
    return maker.received(perform(maker.make(cells, plan), lambda progress: None))


def elsewhere(job, store, temporary):
    """Have a job done by another process, while the store is out of its reach."""
    hidden = store.root.with_name("out-of-reach")
    store.root.rename(hidden)
    try:
        temporary.mkdir(exist_ok=True)
        done = subprocess.run(
            [sys.executable, "-c", ELSEWHERE],
            input=pickle.dumps(job),
            capture_output=True,
            env={**os.environ, "TMPDIR": str(temporary)},
            check=False,
        )
        assert not store.root.exists()
    finally:
        hidden.rename(store.root)
    assert done.returncode == 0, done.stderr.decode()
    assert list(temporary.iterdir()) == []  # nothing is left where it ran
    return pickle.loads(done.stdout)


ORIGIN = ("llt", "command", "device", "threads", "compute", "data", "plugins", "seed")
"""What a record's provenance says of the work, not of the process and its checkout."""


def comparable(record):
    """Return a record without times, and without which process it was."""
    plain = record.model_dump(mode="json", exclude={"seconds"})
    plain["provenance"] = {name: plain["provenance"][name] for name in ORIGIN}
    for epoch in plain["history"]:
        del epoch["seconds"]
    return plain


def test_what_travelled_equals_what_did_not(plan, maker, far, here):
    near = maker("near", shares_files=True)
    measures = [of_metric(plan, "norm")[0], *of_metric(plan, "distance")]
    assert [len(m.cell.models) for m in measures] == [1, 2]
    for cells in ([plan.trains[0]], [plan.trains[1]], measures):
        here_and_now(near, cells, plan)
        job = far.make(cells, plan)
        assert str(far.store.root) not in repr(job)
        outcome = elsewhere(job, far.store, here / "temporary")
        assert outcome.failure is None, outcome.traceback
        returned = {key.partition("/")[0] for key in outcome.result["files"]}
        assert returned == {planned.digest for planned in cells}  # not the models it was sent
        answers = far.received(outcome).result
        assert answers == {planned.digest: {"status": "done"} for planned in cells}
    for planned in (*plan.trains, *measures):
        ours, theirs = near.store.read(planned.digest), far.store.read(planned.digest)
        assert comparable(ours) == comparable(theirs)
        one, other = near.store.path(planned.digest), far.store.path(planned.digest)
        names = {file.name for file in one.iterdir()}
        assert names == {file.name for file in other.iterdir()}
        for name in names - {"record.json"}:
            assert (one / name).read_bytes() == (other / name).read_bytes()
        assert "done in" in read_log(far.store, planned.digest)
    assert (near.store.path(measures[0].digest) / "arrays.safetensors").exists()


class Remote(Inline):
    """The engine's view of an executor that shares no files."""

    summary = "for this test"
    submitted: ClassVar = []

    @property
    def shares_files(self):
        return False

    def submit(self, job, report):
        assert "store" not in job.payload
        self.submitted.append(job.entry)
        super().submit(pickle.loads(pickle.dumps(job)), report)


def test_a_request_is_computed_without_shared_files(run, here, monkeypatch):
    usual = run(["norm", "distance"], models=2)
    monkeypatch.setattr("llt_plugins.executors.inline.Inline", Remote)
    travelled = run(["norm", "distance"], models=2, store=here / "other")
    assert [r.origin for r in travelled.results] == ["new"] * 5
    assert set(Remote.submitted) == {courier.TRAIN_ENTRY, courier.MEASURE_ENTRY}
    values = [[[m.value for m in r.record.measurements] for r in one.results]
              for one in (usual, travelled)]  # fmt: skip
    assert values[0] == values[1]


def test_a_failure_of_one_cell_travels_too(plan, far, here):
    (here / "fail").touch()
    for train in plan.trains:
        here_and_now(far, [train], plan)
    good, bad = of_metric(plan, "norm")[0], of_metric(plan, "fails")[0]
    assert good.cell.models == bad.cell.models
    answers = here_and_now(far, [good, bad], plan).result
    assert answers[good.digest] == {"status": "done"}
    assert answers[bad.digest]["failure"] == "code"
    assert "on purpose" in answers[bad.digest]["traceback"]
    assert good.digest in far.store
    assert bad.digest not in far.store
    assert "ZeroDivisionError" in read_log(far.store, bad.digest)


def test_a_damaged_model_is_trained_anew(plan, far):
    (train, _), measure = plan.trains, of_metric(plan, "norm")[0]
    here_and_now(far, [train], plan)
    file = far.store.path(train.digest) / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    outcome = here_and_now(far, [measure], plan)
    assert "is gone" in outcome.message
    assert train.digest not in far.store  # so that the engine trains it again


@pytest.fixture
def result(plan, far):
    """What comes back from the training of the first model."""
    return perform(far.make([plan.trains[0]], plan), lambda progress: None).result


def failure_of(result, far, plan):
    (answer,) = courier.unpack(far.store, result, replace=False).values()
    assert plan.trains[0].digest not in far.store
    assert list((far.store.root / "tmp").glob("*")) == []
    return answer["failure"], answer["message"]


def test_nothing_incomplete_enters_the_store(plan, far, result):
    digest, other = (train.digest for train in plan.trains)
    record, model = f"{digest}/record.json", f"{digest}/model.safetensors"
    files = result["files"]
    assert files.keys() == {record, model}
    for wrong, why in (
        ({model: files[model]}, "its record did not come back"),
        ({record: files[record]}, "its trained parameters did not come back"),
        (files | {model: files[model][:-1]}, "not those of its record"),
        (files | {record: files[record].replace(digest.encode(), other.encode())}, other),
        (files | {record: files[record].replace(b'"width": 4', b'"width": 5')}, "record"),
        (files | {record: files[record][:-5]}, "Record"),
    ):
        assert wrong != files
        assert why in failure_of(result | {"files": wrong}, far, plan)[1]


@pytest.mark.parametrize("name", ["../../x", "/etc/x", "record.json/x", "x/record.json", ".x"])
def test_only_files_of_cells_are_written(plan, far, result, name):
    digest = plan.trains[0].digest
    for key in (name, f"{digest}/{name}", f"../{digest}/{name}"):
        before = sorted(far.store.root.parent.rglob("*"))
        kind, message = failure_of(result | {"files": result["files"] | {key: b"x"}}, far, plan)
        assert (kind, "is no file of a cell" in message) == ("request", True)
        assert {p.name for p in sorted(far.store.root.parent.rglob("*"))} - {
            p.name for p in before
        } <= {"tmp", "logs", f"{digest}.log"}


def test_a_full_disk_is_told_as_that(plan, far, result, monkeypatch):
    def full(*arguments, **keywords):
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(Store, "commit", full)
    assert failure_of(result, far, plan)[0] == "storage"


def test_what_is_there_stands_unless_it_is_to_be_replaced(plan, far, result):
    digest = plan.trains[0].digest
    courier.unpack(far.store, result, replace=False)
    file = far.store.path(digest) / "record.json"
    first = file.stat().st_ino
    courier.unpack(far.store, result, replace=False)
    assert file.stat().st_ino == first
    courier.unpack(far.store, result, replace=True)
    assert file.stat().st_ino != first
