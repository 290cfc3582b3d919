"""What a record says of its origin, and what a diverged training leaves behind."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import llt_core
from llt_core.store import Store

CHECKOUT = Path(llt_core.__file__).parents[1]


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    return llt_core.run(
        "digits",
        ["test_accuracy"],
        architecture="mlp:width=8,depth=1",
        perturbations=["label_noise:fraction=0.3,seed=5", "data_subset:fraction=0.5"],
        train={"epochs": 2, "learning_rate": 0.05},
        seed=3,
        store=tmp_path_factory.mktemp("records") / "store",
        compute={"threads": 1, "device": "cpu"},
    )


def test_provenance(result):
    for record in result.records:
        origin = record.provenance
        assert origin["llt"] == llt_core.__version__
        assert origin["versions"]["torch"] == torch.__version__.partition("+")[0]
        assert {"numpy", "pydantic", "scikit-learn", "torchvision"} <= set(origin["versions"])
        assert origin["plugin_packages"]["llt"] == llt_core.__version__
        assert (origin["device"], origin["threads"]) == ("cpu", 1)
        assert origin["compute"]["memory_format"] == "channels_last"
        assert origin["command"].startswith("llt_core.run in ")
        assert origin["process"] == os.getpid()
        assert origin["data"]["fingerprint"].startswith("sha256:")
        assert origin["data"]["verified"] is True
        assert origin["data"]["sizes"] == {"train": 718, "test": 360}
        assert [Path(name).name for name in origin["data"]["files"]] == ["digits.csv.gz"]
        assert origin["seed"] > 0
    train, measure = result.records
    assert train.provenance["seed"] != measure.provenance["seed"]
    assert measure.provenance["sample_seed"] > 0


@pytest.mark.skipif(not (CHECKOUT / ".git").exists(), reason="not a git checkout")
def test_provenance_names_the_commit(result):
    head = subprocess.run(
        ["git", "-C", str(CHECKOUT), "rev-parse", "HEAD"], capture_output=True, text=True
    ).stdout.strip()
    found = result.records[0].provenance["git"]["llt"]
    assert len(found["sha"]) == len(head) == 40
    assert isinstance(found["dirty"], bool)


def test_the_composition_spells_out_every_parameter_in_order(result):
    full = result.records[0].composition
    assert full["task"]["name"] == "llt/digits"
    assert full["architecture"]["parameters"] == {"width": 8, "depth": 1}
    assert full["perturbations"] == [
        {
            "name": "llt/label_noise",
            "version": 1,
            "parameters": {"seed": 5, "fraction": 0.3, "splits": ["train"]},
        },
        {"name": "llt/data_subset", "version": 1, "parameters": {"seed": 0, "fraction": 0.5}},
    ]
    assert full["train"]["epochs"] == 2
    assert full["train"]["gamma"] == 0.1
    assert full["seeds"] == [3]
    cell = result.records[0].cell
    assert cell.perturbations[1].parameters == {"fraction": 0.5}
    assert "gamma" not in cell.training.parameters


def test_history_and_checkpoint(result):
    train, measure = result.records
    assert [line.epoch for line in train.history] == [1, 2]
    assert all(line.seconds > 0 for line in train.history)
    assert train.checkpoint.epoch == 2
    assert train.checkpoint.parameters == 1024 * 8 + 8 + 8 * 10 + 10
    assert measure.checkpoint is None
    assert measure.seconds > 0


DIVERGING = {
    "architecture": "mlp:width=8,depth=1",
    "train": {"epochs": 5, "learning_rate": 1e6, "schedule": "constant"},
    "compute": {"threads": 1},
}


def test_diverged_training_is_a_result_without_a_model(tmp_path):
    request = DIVERGING | {"store": tmp_path / "store", "models": 2}
    first = llt_core.run("digits", ["test_accuracy", "test_loss"], **request)
    trains, measures = first.results[:2], first.results[2:]
    for train in trains:
        assert train.origin == "new"
        assert train.record.status == "diverged"
        assert train.record.checkpoint is None
        assert train.record.history[-1].train_loss is None
        folder = Store(tmp_path / "store").path(train.planned.digest)
        assert [path.name for path in folder.iterdir()] == ["record.json"]
        json.loads((folder / "record.json").read_text(), parse_constant=pytest.fail)
    assert [m.origin for m in measures] == ["blocked"] * 4
    assert "train seed 0 diverged" in measures[0].message
    assert len(first.failed) == 6
    again = llt_core.run("digits", ["test_accuracy", "test_loss"], **request)
    assert [r.origin for r in again.results] == ["cached"] * 2 + ["blocked"] * 4
    assert [r.record for r in again.results[:2]] == [r.record for r in trains]


def test_diverged_training_on_the_command_line(tmp_path):
    command = [
        sys.executable, "-m", "llt_core.cli.main", "run", "--task", "digits",
        "--arch", "mlp:width=8,depth=1", "--metric", "test_accuracy", "--threads", "1",
        "--set", "train.learning_rate=1e6", "--set", "train.schedule=constant",
        "--store", str(tmp_path / "store"),
    ]  # fmt: skip
    for state in ("new", "cached"):
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 1
        text = " ".join((done.stdout + done.stderr).split())
        assert "diverged" in text
        assert "not measured" in text
        assert state in text
        assert "Traceback" not in text


def test_a_batch_larger_than_the_split_is_a_wrong_request(tmp_path):
    result = llt_core.run(
        "digits",
        ["test_loss"],
        architecture="mlp:width=8,depth=1",
        perturbations=["data_subset:fraction=0.02"],
        train={"epochs": 1, "batch_size": 64},
        store=tmp_path / "store",
    )
    train, measure = result.results
    assert (train.origin, train.failure) == ("failed", "request")
    assert "batch of 64 is larger than the training split of 28" in train.message
    assert "--set train.batch_size=28" in train.message
    assert measure.origin == "blocked"
