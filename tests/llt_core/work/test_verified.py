"""A model is verified where it is loaded; a damaged one is set aside, to be trained again."""

import errno
import os

import pytest
import torch
from torch import nn

import llt_core
from llt_core.errors import RequestError
from llt_core.interfaces import Job, perform
from llt_core.interfaces.executor import describe_failure
from llt_core.plugins import Catalogue
from llt_core.spec import Named, RunSpec
from llt_core.store import Store, cells
from llt_core.store.cells import StoreError
from llt_core.store.checkpoints import complete
from llt_core.store.logs import read_log
from llt_core.sweep import make_plan
from llt_core.sweep.jobs import MEASURE_ENTRY
from llt_core.work.checkpoint import DamagedModelError, load_checkpoint, save_checkpoint
from llt_core.work.memory import memory_given_back

REQUEST = {
    "architecture": "mlp:width=8,depth=1",
    "train": {"epochs": 1},
    "models": 2,
    "compute": {"threads": 1, "device": "cpu"},
}


@pytest.fixture
def trained(tmp_path):
    """Return a store with two models, and a function that takes two measurements on both."""
    store = tmp_path / "store"
    assert not llt_core.run("digits", store=store, **REQUEST).failed
    spec = RunSpec(
        task=Named.of("digits"),
        architecture=Named.of(REQUEST["architecture"]),
        train=REQUEST["train"],
        models=2,
        metrics=(Named.of("l2_distance"), Named.of("agreement")),
    )
    plan = make_plan(spec, Catalogue.discover(), tmp_path)

    def measure():
        payload = {
            "cells": [
                {
                    "digest": planned.digest,
                    "cell": planned.cell.model_dump(mode="json"),
                    "composition": planned.composition,
                }
                for planned in plan.measures
            ],
            "models": {train.digest: train.cell.model_dump(mode="json") for train in plan.trains},
            "store": str(store),
            "data_root": str(tmp_path),
            "compute": REQUEST["compute"],
            "force": False,
            "resume": True,
            "command": "",
            "plugins": {},
        }
        return perform(Job("x", MEASURE_ENTRY, payload), lambda progress: None)

    return Store(store), [train.digest for train in plan.trains], measure, plan.measures


def test_one_other_bit_in_two_models(trained):
    store, digests, measure, measures = trained
    whole = {}
    for digest in digests:
        file = store.path(digest) / "model.safetensors"
        whole[digest] = content = file.read_bytes()
        file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        assert complete(store, store.read(digest)), "its length and header say nothing"
    outcome = measure()
    assert outcome.failure == "damaged"
    assert "the file of a trained model is damaged" in outcome.message
    assert "run the same command again: it trains this model anew" in outcome.message
    for digest in digests:
        assert store.read(digest) is None
        assert (store.root / "broken" / digest / "model.safetensors").is_file()
    for planned in measures:
        assert "the file of a trained model is damaged" in read_log(store, planned.digest)
    result = llt_core.run("digits", ["l2_distance", "agreement"], store=store.root, **REQUEST)
    assert [r.origin for r in result.results] == ["new"] * 4
    assert all(
        (store.path(digest) / "model.safetensors").read_bytes() == whole[digest]
        for digest in digests
    )


def test_a_model_that_is_gone(trained):
    store, digests, measure, _ = trained
    store.set_aside(digests[1])
    outcome = measure()
    assert outcome.failure == "damaged"
    assert f"the trained model {digests[1]} is gone" in outcome.message
    assert store.read(digests[0]) is not None


def test_a_file_that_is_gone(trained):
    store, digests, measure, _ = trained
    (store.path(digests[0]) / "model.safetensors").unlink()
    outcome = measure()
    assert "is damaged (No such file or directory)" in outcome.message
    assert store.read(digests[0]) is None


def test_whole_models_are_measured(trained):
    _, _, measure, measures = trained
    outcome = measure()
    assert outcome.result == {planned.digest: {"status": "done"} for planned in measures}


def test_only_the_content_that_was_written_is_loaded(tmp_path):
    model, cpu = nn.Linear(3, 4), torch.device("cpu")
    saved = save_checkpoint(model, model.state_dict(), tmp_path, epoch=1)
    file = tmp_path / saved.file
    again = load_checkpoint(nn.Linear(3, 4), file, cpu, saved.sha256)
    assert torch.equal(again.weight, model.weight)
    with pytest.raises(DamagedModelError, match="is damaged"):
        load_checkpoint(nn.Linear(3, 4), file, cpu, "0" * 64)


def test_memory_is_given_back_after_running_out(monkeypatch):
    emptied, alive = [], []

    class Large:
        def __del__(self):
            alive.remove(self.number)

    def work():
        large = Large()
        large.number = 1
        alive.append(1)
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: emptied.append(list(alive)))

    def run():
        with memory_given_back():
            work()

    with pytest.raises(torch.OutOfMemoryError) as caught:
        run()
    assert emptied == [[]], "emptied once, after what the work held was let go"
    assert any(entry.name == "work" for entry in caught.traceback)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), "out_of_memory"),
        (RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"), "out_of_memory"),
        (MemoryError(), "out_of_memory"),
        (RuntimeError("shapes do not match"), "code"),
        (RequestError("no such split"), "request"),
        (DamagedModelError("the model is damaged"), "damaged"),
    ],
)
def test_each_cause_has_its_kind(error, kind):
    assert describe_failure(error)["failure"] == kind


@pytest.mark.parametrize(("code", "kind"), [(errno.EDQUOT, "storage"), (errno.EACCES, "request")])
def test_a_store_without_room_is_no_wrong_request(tmp_path, monkeypatch, code, kind):
    def refuse(**keys):
        raise OSError(code, os.strerror(code))

    store = Store(tmp_path / "store")
    monkeypatch.setattr(cells.tempfile, "mkdtemp", refuse)
    with pytest.raises(StoreError) as caught, store.staging("ab"):
        pass
    told = describe_failure(caught.value)
    assert told["failure"] == kind
    assert os.strerror(code) in told["message"]


def test_running_out_of_memory_on_the_cpu():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert describe_failure(caught.value)["failure"] == "out_of_memory"
