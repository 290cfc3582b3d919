"""The same cell gives the same bits in any process, and a run leaves no trace in this one."""

import hashlib
import json
import os
import random
import subprocess
import sys

import numpy as np
import pytest
import torch

import llt_core
from llt_core.errors import RequestError
from llt_core.work.device import _cores, choose_device, threads
from llt_core.work.seeding import seed_from, seeded

SCRIPT = """
import json, sys
import llt_core
for request in json.loads(sys.argv[1]):
    result = llt_core.run("digits", store=sys.argv[2], compute={"threads": 1}, models=2, **request)
    for record in result.records:
        print(record.digest, record.status, record.provenance["threads"])
"""
REQUESTS = [
    {
        "architecture": "mlp:width=8,depth=1",
        "train": {"epochs": 2},
        "perturbations": ["label_noise:fraction=0.2"],
    },
    {
        "architecture": "resnet18:width=2",
        "train": {"epochs": 1, "batch_size": 32},
        "perturbations": ["data_subset:fraction=0.1"],
    },
    {
        "architecture": "resnet18:width=2",
        "train": {"epochs": 1, "batch_size": 32, "sam_radius": 0.05, "gradient_clip": 1.0},
        "perturbations": [
            "weight_noise:scale=0.1",
            "augmentation",
            "data_subset:fraction=0.1",
            "mixup",
            "pixel_noise:magnitude=9",
            "cutout:size=8",
        ],
    },
]


def in_a_fresh_process(store, requests):
    """Train two models of each request; return the sha256 of each checkpoint by digest."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(requests), str(store)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "random"},
    )
    found = {}
    for line in done.stdout.splitlines():
        digest, status, count = line.split()
        assert (status, count) == ("done", "1")
        file = store / "cells" / digest[:2] / digest / "model.safetensors"
        found[digest] = hashlib.sha256(file.read_bytes()).hexdigest()
    return found


def test_bit_identical_in_two_processes_and_other_seeds_differ(tmp_path):
    one = in_a_fresh_process(tmp_path / "one", REQUESTS)
    # The other way round: what ran before in the same process must not matter either.
    two = in_a_fresh_process(tmp_path / "two", REQUESTS[::-1])
    assert one == two
    assert len(set(one.values())) == len(one) == 6


@pytest.fixture
def dropout_plugin(tmp_path, monkeypatch):
    """An architecture that draws from the global generator while it trains."""
    (tmp_path / "drops_and_draws.py").write_text(
        "from torch import nn\n"
        "from llt_core.interfaces import Architecture\n"
        "class Drops(Architecture):\n"
        "    summary = 'dropout'\n"
        "    accepts = frozenset({'image'})\n"
        "    def build(self, task):\n"
        "        return nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(1024, 10))\n"
    )
    (tmp_path / "llt.toml").write_text(
        '[drops]\nkind = "architecture"\ntarget = "drops_and_draws:Drops"\nsummary = "…"\n'
    )
    monkeypatch.chdir(tmp_path)


def test_the_global_generators_neither_matter_nor_move(tmp_path, dropout_plugin):
    def states():
        name, keys, *rest = np.random.get_state()
        return random.getstate(), (name, keys.tolist(), *rest), torch.get_rng_state().tolist()

    digests = []
    for number in (1, 2):
        random.seed(number)
        np.random.seed(number)
        torch.manual_seed(number)
        before = states()
        threads_before = torch.get_num_threads()
        result = llt_core.run(
            "digits",
            ["test_loss"],
            architecture="drops",
            train={"epochs": 1},
            store=tmp_path / f"store{number}",
            compute={"threads": 2},
        )
        assert not result.failed
        assert states() == before
        assert torch.get_num_threads() == threads_before
        assert result.records[0].provenance["threads"] == 2
        digests.append(result.records[0].checkpoint.sha256)
    assert digests[0] == digests[1]


def test_seeded_restores_after_an_error():
    before = torch.get_rng_state(), random.getstate()

    def failing():
        with seeded(3):
            random.random()
            torch.rand(3)
            raise KeyError

    with pytest.raises(KeyError):
        failing()
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]


def test_seeded_draws_the_same_and_other_seeds_do_not():
    def draw(seed):
        with seeded(seed):
            return random.random(), float(np.random.rand()), float(torch.rand(()))

    assert draw(5) == draw(5)
    assert all(a != b for a, b in zip(draw(5), draw(6), strict=True))


def test_seeds_are_pinned():
    assert seed_from("train", "abc") == 8726811182011007218
    assert 0 <= seed_from("x") < 2**63


def test_threads_are_those_of_the_environment_where_nobody_says(monkeypatch):
    monkeypatch.delenv("LLT_THREADS", raising=False)
    for said, expected in (("3", 3), ("5,2", 5), ("many", _cores()), ("0", _cores())):
        monkeypatch.setenv("OMP_NUM_THREADS", said)
        with threads(0) as count:
            assert count == torch.get_num_threads() == expected
    with threads(2) as count:
        assert count == 2
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("LLT_THREADS", "4")
    with threads(0) as count:
        assert count == 4, "an executor knows better"


def test_threads_are_restored_after_an_error():
    before = torch.get_num_threads()

    def failing():
        with threads(before + 1) as count:
            assert count == torch.get_num_threads() == before + 1
            raise KeyError

    with pytest.raises(KeyError):
        failing()
    assert torch.get_num_threads() == before


def test_devices():
    assert choose_device("cpu").type == "cpu"
    for wrong in ("gpu", "cuda:99", ""):
        with pytest.raises(RequestError, match="no usable device") as caught:
            choose_device(wrong)
        assert "--device cpu" in caught.value.next_step
