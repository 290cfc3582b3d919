"""A training that is killed, whenever, and started again ends with the bits of one that was not."""

import json
import os
import random
import subprocess
import sys

import pytest
from safetensors.numpy import load_file

from llt_core.store import Store
from llt_core.store.logs import read_log

PLUGINS = """
import random
import numpy as np
from torch import nn
from llt_core.interfaces import Architecture

class Net(nn.Sequential):
    def forward(self, x):
        noise = 1 + 0.01 * random.random() + 0.01 * np.random.rand() if self.training else 1.0
        return super().forward(noise * x)

class Drops(Architecture):
    summary = "draws from all the global generators, and has a tied and a scalar parameter"
    accepts = frozenset({"image"})
    def build(self, task):
        pool = nn.Sequential(nn.AvgPool2d(4), nn.Flatten())
        one, two = nn.Linear(64, 64), nn.Linear(64, 64)
        two.weight = one.weight
        norm = nn.BatchNorm1d(64, momentum=None)
        return Net(pool, nn.Dropout(0.3), one, norm, nn.PReLU(), two, nn.Linear(64, task.outputs))
"""

SCRIPT = """
import json, os, signal, sys, time
from pathlib import Path
from llt_core.interfaces import Job, perform
from llt_core.plugins import Catalogue
from llt_core.spec import Named, RunSpec
from llt_core.sweep import make_plan
from llt_core.sweep.jobs import TRAIN_ENTRY
from llt_core.work import worker
from llt_core.work.trainer import Trainer

def dies_after(steps):
    taken = 0
    def step(self, batch, plain=Trainer._step):
        nonlocal taken
        found = plain(self, batch)
        taken += 1
        if taken == steps:
            os.kill(os.getpid(), signal.SIGKILL)
        return found
    Trainer._step = step

def dies_at_the_end():
    worker.save_checkpoint = lambda *_: os.kill(os.getpid(), signal.SIGKILL)

def until_progress(child, payload):
    file = Path(payload["store"], "partial", payload["cells"][0]["digest"], "state.safetensors")
    def look():
        return file.stat().st_mtime_ns if file.exists() else None
    before = look()
    while look() in (None, before) and os.waitid(os.P_PID, child, ended) is None:
        time.sleep(0.001)

ended = os.WEXITED | os.WNOHANG | os.WNOWAIT

def attempt(payload):
    outcome = perform(Job("x", TRAIN_ENTRY, payload), lambda progress: None)
    print(outcome.message, outcome.traceback, flush=True)
    return int(outcome.result is None)

def attempt_elsewhere(payload, kill):
    child = os.fork()  # of a process that has imported everything
    if child == 0:
        if kill == "end":
            dies_at_the_end()
        elif isinstance(kill, int):
            dies_after(kill)
        os._exit(attempt(payload))
    if isinstance(kill, float):
        until_progress(child, payload)
        time.sleep(kill)
        os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)

found = []
for case in json.loads(sys.argv[1]):
    request = case["request"]
    spec = RunSpec(
        task=Named.of(request.get("task", "digits")),
        architecture=Named.of(request["architecture"]),
        perturbations=tuple(map(Named.of, request.get("perturbations", []))),
        train=request["train"],
    )
    planned = make_plan(spec, Catalogue.discover(), Path(".").absolute()).trains[0]
    payload = {
        "cells": [{
            "digest": planned.digest,
            "cell": planned.cell.model_dump(mode="json"),
            "composition": planned.composition,
        }],
        "data_root": str(Path(".").absolute()),
        "force": False, "resume": True, "command": "", "plugins": {},
    }
    plain = {"device": "cpu", "threads": 1}
    ends = [attempt(payload | {"store": "plain", "compute": plain})]
    for kill in case["kills"]:
        compute = plain | case["compute"]
        ends.append(attempt_elsewhere(payload | {"store": "killed", "compute": compute}, kill))
    found.append([planned.digest, ends])
print("FOUND", json.dumps(found))
"""

EVERY_STEP = {"checkpoint_minutes": 1e-9}
EVERY_EPOCH = {"checkpoint_epochs": 1}
SMALL = ["data_subset:fraction=0.1"]  # 143 digits
TEXT = {"batch_unit": "tokens", "batch_size": 300, "drop_last": False, "gradient_clip": 1.0}
RANDOM = "killed at any moment, also while a checkpoint is written"
CASES = {
    "sgd, momentum, convolutions, batch norm": {
        "request": {
            "architecture": "resnet18:width=2",
            "perturbations": SMALL,
            "train": {"epochs": 3, "batch_size": 32, "schedule": "cosine"},
        },
        "compute": EVERY_STEP,
        "kills": [6, 3, None],
    },
    "mixup and augmentation": {
        "request": {
            "architecture": "mlp:width=16,depth=2",
            "perturbations": [*SMALL, "augmentation", "mixup", "cutout:size=8"],
            "train": {"epochs": 4, "batch_size": 32},
        },
        "compute": EVERY_STEP,
        "kills": [5, 7, None],
    },
    "adam with warm-up": {
        "request": {
            "architecture": "drops",
            "train": {
                "optimizer": "adam", "learning_rate": 0.01, "epochs": 4, "batch_size": 256,
                "warmup_epochs": 1.5,
            },
        },
        "compute": EVERY_STEP,
        "kills": [3, 7, "end", None],
    },
    "dropout": {
        "request": {"architecture": "drops", "train": {"epochs": 4, "batch_size": 200}},
        "compute": EVERY_EPOCH,
        "kills": [10, 9, None],
    },
    "the best epoch is the model": {
        "request": {
            "architecture": "drops",
            # far too high: the first epoch is the best, and must outlast two checkpoints
            "train": {
                "epochs": 5, "batch_size": 128, "checkpoint": "best_train_loss",
                "optimizer": "adam", "learning_rate": 0.5, "drop_last": False,
            },
        },
        "compute": EVERY_EPOCH,
        "kills": [30, 20, None],
    },
    "early stop": {
        "request": {
            "architecture": "mlp:width=8,depth=1",
            "perturbations": SMALL,
            "train": {
                "epochs": 9, "batch_size": 64, "early_stop": True, "early_stop_after": 4,
                "early_stop_window": 2, "early_stop_tolerance": 10.0,
            },
        },
        "compute": EVERY_EPOCH,
        "kills": [6, "end", None],
    },
    "sharpness-aware, ended by steps": {
        "request": {
            "architecture": "mlp:width=8,depth=1",
            "perturbations": SMALL,
            "train": {
                "epochs": 9, "batch_size": 32, "max_steps": 10, "sam_radius": 0.05,
                "optimizer": "adamw", "dtype": "bfloat16",
            },
        },
        "compute": EVERY_STEP,
        "kills": [6, "end", None],
    },
    "a transformer on batches of tokens": {
        "request": {
            "task": "parallel_text:source=source.txt,target=target.txt,vocabulary=64",
            "architecture": "transformer:embedding_dim=16,layers=1,heads=2",
            "train": TEXT | {
                "optimizer": "adam", "schedule": "inverse_sqrt", "warmup_steps": 5, "epochs": 3,
                "learning_rate": 0.01,
            },
        },
        "compute": EVERY_STEP,
        "kills": [9, 8, None],
    },
    RANDOM: {
        "request": {
            "architecture": "resnet18:width=2",
            "perturbations": [*SMALL, "augmentation"],
            "train": {"epochs": 4, "batch_size": 32, "checkpoint": "best_train_loss"},
        },
        "compute": EVERY_STEP,
        "kills": [0.0, 0.011, 0.023, 0.037, 0.05, None],
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def attempts(tmp_path_factory):
    """Train each case undisturbed and killed; return the folder, and by case digest and ends."""
    here = tmp_path_factory.mktemp("resume")
    (here / "resume_plugins.py").write_text(PLUGINS)
    (here / "llt.toml").write_text(
        '[drops]\nkind = "architecture"\ntarget = "resume_plugins:Drops"\nsummary = "…"\n'
    )
    chance = random.Random(0)
    words = ["".join(chance.choices("abcdefghij", k=chance.randint(2, 6))) for _ in range(40)]
    lines = [chance.choices(words, k=chance.randint(1, 9)) for _ in range(150)]
    (here / "source.txt").write_text("\n".join(map(" ".join, lines)) + "\n")
    (here / "target.txt").write_text("\n".join(" ".join(line[::-1]) for line in lines) + "\n")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(list(CASES.values()))],
        capture_output=True, text=True, cwd=here,
        env={**os.environ, "OMP_NUM_THREADS": "1", "LLT_OFFLINE": "1",
             "PYTHONPATH": os.pathsep.join([str(here), *filter(None, sys.path)])},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    *said, last = done.stdout.splitlines()
    assert last.startswith("FOUND "), "\n".join(said)
    return here, dict(zip(CASES, json.loads(last[6:]), strict=True)), "\n".join(said)


@pytest.mark.parametrize("case", [case for case in CASES if case != RANDOM])
def test_the_same_bits(attempts, case):
    here, found, said = attempts
    digest, ends = found[case]
    killed = len(CASES[case]["kills"]) - 1
    assert ends == [0, *[-9] * killed, 0], said
    again = check_equal(here, digest)
    assert len(again.provenance["resumed"]) == killed
    assert again.seconds >= sum(line.seconds for line in again.history)
    log = read_log(Store(here / "killed"), digest)
    assert log.count("goes on at epoch") == killed
    assert log.count("== ") == len(CASES[case]["kills"])


def check_equal(here, digest):
    """Compare what was killed with what was not; return its record."""
    plain, again = (Store(here / name).read(digest) for name in ("plain", "killed"))
    assert plain.status == "done"
    assert again.checkpoint == plain.checkpoint, "other weights"
    assert without_seconds(again) == without_seconds(plain)
    files = [Store(here / n).path(digest) / "model.safetensors" for n in ("plain", "killed")]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert "resumed" not in plain.provenance
    assert again.provenance["resumed"] == sorted(again.provenance["resumed"])
    assert not (here / "killed" / "partial" / digest).exists()
    return again


def without_seconds(record):
    return [line.model_dump(exclude={"seconds"}) for line in record.history]


def test_killed_at_any_moment(attempts):
    here, found, said = attempts
    digest, ends = found[RANDOM]
    assert ends[0] == ends[-1] == 0, said
    assert ends[1] == -9
    again = check_equal(here, digest)
    assert len(again.provenance["resumed"]) >= ends.count(-9)
    assert "begins anew" not in read_log(Store(here / "killed"), digest), (
        "a file that was not whole"
    )


def test_the_cases_are_what_they_say(attempts):
    here, found, _ = attempts

    def record(case):
        return Store(here / "killed").read(found[case][0])

    best = record("the best epoch is the model")
    losses = [line.train_loss for line in best.history]
    assert best.checkpoint.epoch == losses.index(min(losses)) + 1 == 1
    assert [int(epoch) for epoch in best.provenance["resumed"]] == [2, 3]
    early = record("early stop")
    assert (len(early.history), early.provenance["resumed"]) == (4, [2.0, 4.0])
    steps = record("sharpness-aware, ended by steps")
    assert len(steps.history) == 3
    middle = record("sgd, momentum, convolutions, batch norm").provenance["resumed"]
    assert middle == [1.25, 1.75], "within an epoch"
    text = record("a transformer on batches of tokens")
    assert text.provenance["resumed"][0] % 1 > 0
    weights = load_file(Store(here / "killed").path(text.digest) / "model.safetensors")
    assert len(weights) > 10
