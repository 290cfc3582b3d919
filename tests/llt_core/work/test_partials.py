"""What a mid-training checkpoint is good for, and what happens to one that is not."""

import json
import math

import pytest
from safetensors import safe_open

import llt_core
from llt_core.interfaces import Job, perform
from llt_core.plugins import Catalogue
from llt_core.spec import Named, RunSpec
from llt_core.store import Store
from llt_core.store.logs import read_log
from llt_core.store.partials import drop_partial, partial_file
from llt_core.sweep import make_plan
from llt_core.sweep.jobs import TRAIN_ENTRY
from llt_core.work.partial import Partial
from llt_core.work.trainer import Trainer

TRAIN = {"epochs": 3, "batch_size": 64, "learning_rate": 0.05}


class InterruptedTrainingError(Exception):
    """Stands for the end of a process."""


@pytest.fixture
def train(tmp_path, monkeypatch):
    """Return a function that trains one MLP and gives its store, digest and outcome."""

    def run(store="store", *, steps=None, resume=None, compute=None, force=False, **settings):
        spec = RunSpec(
            task=Named.of("digits"),
            architecture=Named.of("mlp:width=8,depth=1"),
            perturbations=(Named.of("data_subset:fraction=0.2"),),
            train=TRAIN | settings,
        )
        (planned,) = make_plan(spec, Catalogue.discover(), tmp_path).trains
        cell = planned.cell.model_dump(mode="json")
        payload = {
            "cells": [{"digest": planned.digest, "cell": cell, "composition": planned.composition}],
            "store": str(tmp_path / store),
            "data_root": str(tmp_path),
            "compute": {"device": "cpu", "threads": 1, "checkpoint_epochs": 1} | (compute or {}),
            "force": force,
            "command": "",
            "resume": not force if resume is None else resume,
            "plugins": {},
        }
        with monkeypatch.context() as patch:
            if steps is not None:
                patch.setattr(Trainer, "_step", dying_after(steps))
            outcome = perform(Job("x", TRAIN_ENTRY, payload), lambda progress: None)
        return Store(tmp_path / store), planned.digest, outcome

    return run


def dying_after(steps):
    plain, taken = Trainer._step, []

    def step(self, batch):
        if len(taken) == steps:
            raise InterruptedTrainingError
        taken.append(1)
        return plain(self, batch)

    return step


@pytest.fixture
def undisturbed(train):
    store, digest, outcome = train("undisturbed")
    assert outcome.failure is None, outcome.message
    return store.read(digest)


def check(store, digest, undisturbed, resumed):
    record = store.read(digest)
    assert record.checkpoint == undisturbed.checkpoint
    assert record.provenance.get("resumed", []) == resumed
    assert not partial_file(store, digest).parent.exists()
    assert list((store.root / "tmp").iterdir()) == []


def test_it_goes_on_and_nothing_is_left(train, undisturbed):
    store, digest, outcome = train(steps=6)  # 4 steps an epoch
    assert "Interrupted" in outcome.message
    assert [p.name for p in partial_file(store, digest).parent.iterdir()] == ["state.safetensors"]
    train()
    check(store, digest, undisturbed, [1.0])


def test_every_damage_is_noticed_and_training_begins_anew(train, undisturbed):
    store, digest, _ = train(steps=6)
    file = partial_file(store, digest)
    whole = file.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    damages = {
        "empty": b"",
        "no header": whole[:7],
        "cut in the header": whole[: header // 2],
        "cut in the data": whole[:-1],
        "longer": whole + b"\0",
        "a bit of the data": whole[:-5] + bytes([whole[-5] ^ 1]) + whole[-4:],
        "a bit of the facts": whole.replace(b'\\"taken\\": 4', b'\\"taken\\": 5'),
        "zeros": bytes(len(whole)),
        "other": b"\x02\0\0\0\0\0\0\0{}",
    }
    for name, content in damages.items():
        assert content != whole, name
        again = f"store {name}"
        other, _, _ = train(again, steps=0)
        file = partial_file(other, digest)
        file.parent.mkdir(parents=True)
        file.write_bytes(content)
        _, _, outcome = train(again)
        assert outcome.failure is None, (name, outcome.message)
        check(other, digest, undisturbed, [])
        assert "begins anew, the checkpoint is of no use" in read_log(other, digest), name


def test_one_of_another_cell_device_or_version_is_not_taken(train, undisturbed, monkeypatch):
    store, other, _ = train(steps=6, learning_rate=0.01)
    _, digest, _ = train(steps=0)
    file = partial_file(store, digest)
    file.parent.mkdir()
    partial_file(store, other).rename(file)
    train()
    check(store, digest, undisturbed, [])
    for name in ("__version__", "PARTIAL_FORMAT"):
        train(name, steps=6)
        with monkeypatch.context() as patch:
            patch.setattr(f"llt_core.work.partial.{name}", "other")
            store, _, outcome = train(name)
        assert outcome.failure is None
        check(store, digest, undisturbed, [])
    store, _, _ = train("layout", steps=6)
    train("layout", compute={"memory_format": "contiguous"})
    assert "resumed" not in store.read(digest).provenance


def test_one_that_does_not_fit_leaves_the_training_as_it_was(train, undisturbed, monkeypatch):
    store, digest, _ = train(steps=6)
    with monkeypatch.context() as patch:
        # it gets as far as the generators, when all else has been filled in
        patch.setattr("llt_core.work.snapshot._fill_generators", failing_once())
        _, _, outcome = train()
    assert outcome.failure is None
    check(store, digest, undisturbed, [])
    assert "it does not fit (RuntimeError: on purpose)" in read_log(store, digest)


def failing_once():
    from llt_core.work import snapshot

    plain, calls = snapshot._fill_generators, []

    def fill(*arguments):
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError("on purpose")
        plain(*arguments)

    return fill


def test_a_checkpoint_that_cannot_be_written_costs_nothing_else(train, undisturbed, tmp_path):
    store = Store(tmp_path / "store")
    (store.root / "partial").write_text("in the way")
    _, digest, outcome = train()
    assert outcome.failure is None
    assert store.read(digest).checkpoint == undisturbed.checkpoint
    log = read_log(store, digest)
    assert log.count("no checkpoint: FileExistsError") + log.count("NotADirectoryError") == 3
    assert list((store.root / "tmp").iterdir()) == []


def test_a_full_disk_keeps_the_checkpoint_before(train, undisturbed, monkeypatch):
    store, digest, _ = train(steps=6)
    before = partial_file(store, digest).read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("llt_core.work.partial.save_file", full)
        train(steps=6)
    assert partial_file(store, digest).read_bytes() == before
    assert "No space left on device" in read_log(store, digest)
    train()
    check(store, digest, undisturbed, [1.0])


def test_everything_anew_unless_it_is_another_attempt_at_that(train, undisturbed):
    store, digest, _ = train(steps=6)
    train(force=True, steps=6)
    assert "goes on" not in read_log(store, digest)
    train(force=True, resume=True)
    check(store, digest, undisturbed, [1.0])
    train(steps=6, force=True)
    train(resume=False)
    assert read_log(store, digest).count("goes on") == 1


def test_a_diverged_training_leaves_none(train):
    store, digest, outcome = train(learning_rate=1e6, epochs=5, compute={"checkpoint_minutes": 0})
    assert outcome.result == {digest: {"status": "diverged"}}
    assert not partial_file(store, digest).parent.exists()
    assert "diverged after" in read_log(store, digest)


@pytest.mark.parametrize(
    ("compute", "expected"),
    [
        ({}, []),  # minutes, by default, and this takes none
        ({"checkpoint_minutes": 0}, []),
        ({"checkpoint_minutes": 1e-9}, [0.25, 0.5, 0.75, 1.0, 1.0, 1.25, 1.5, 1.75, 2.0, 2.0]),
        ({"checkpoint_epochs": 1}, [1.0, 2.0]),
        ({"checkpoint_epochs": 2}, [2.0]),
        ({"checkpoint_epochs": 2, "checkpoint_minutes": 1e-9}, [2.0]),
    ],
)
def test_how_often(train, monkeypatch, compute, expected):
    from llt_core.work.partial import position

    told = []
    monkeypatch.setattr(Partial, "save", lambda self, trainer: told.append(position(trainer)))
    train(steps=8, compute={"checkpoint_epochs": 0} | compute)
    assert told == expected


def test_minutes_are_counted_from_the_last_checkpoint(train, monkeypatch):
    now, told, plain = [0.0], [], Trainer._step

    def step(self, batch):
        now[0] += 100
        return plain(self, batch)

    monkeypatch.setattr(Trainer, "_step", step)
    monkeypatch.setattr("llt_core.work.partial.time.monotonic", lambda: now[0])
    monkeypatch.setattr(Partial, "_write", lambda self, snapshot: told.append(snapshot.facts))
    train(compute={"checkpoint_epochs": 0, "checkpoint_minutes": 5})
    assert [facts["taken"] for facts in told] == [3, 6, 9, 12]


def test_it_is_plain_safetensors_and_json(train):
    store, digest, _ = train(steps=6)
    with safe_open(partial_file(store, digest), framework="numpy") as content:
        names, facts = list(content.keys()), json.loads(content.metadata()["facts"])
        kinds = {name.partition(".")[0] for name in names}
    assert kinds == {"model", "optimizer", "random"}
    assert facts["taken"] == 4
    assert [line["epoch"] for line in facts["history"]] == [1]
    assert facts["identity"]["cell"] == digest
    assert math.isfinite(facts["seconds"])


def test_dropping_what_is_not_there_is_no_error(tmp_path):
    drop_partial(Store(tmp_path / "store"), "abc")


def test_seconds_add_up(train, monkeypatch):
    store, digest, _ = train(steps=6)
    with safe_open(partial_file(store, digest), framework="numpy") as content:
        spent = json.loads(content.metadata()["facts"])["seconds"]
    monkeypatch.setattr(Partial, "drop", lambda self: None)
    train()
    record = store.read(digest)
    assert record.seconds > spent > 0


def test_a_whole_run_writes_none_and_has_logs(tmp_path):
    result = llt_core.run(
        "digits",
        ["test_loss"],
        architecture="mlp:width=8,depth=1",
        train={"epochs": 2},
        store=tmp_path / "store",
        compute={"threads": 1, "device": "cpu"},
    )
    assert not result.failed
    assert not (tmp_path / "store" / "partial").exists()
    names = {path.stem for path in (tmp_path / "store" / "logs").iterdir()}
    assert names == {record.digest for record in result.records}
