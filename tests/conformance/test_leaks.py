"""Measuring again and again leaves the memory of the process where it was.

Thousands of evaluations take minutes: ``pytest -m slow`` runs them.
"""

from __future__ import annotations

import gc
from pathlib import Path

import pytest
import torch

from llt_core.interfaces import MeasureContext
from llt_core.plugins import Catalogue
from llt_core.plugins.loader import load
from llt_core.testing.samples import TinyImages, small_network

pytestmark = pytest.mark.slow

CATALOGUE = Catalogue.discover()
METRICS = [e for e in CATALOGUE.entries if e.kind == "metric" and CATALOGUE.state(e) == "ok"]
MODELS = {"model": 1, "pair": 2, "set": 3}

EVALUATIONS = 200
ROUNDS = 3
ALLOWED = 3 * 2**20
"""Bytes; one forgotten graph of the small network is about 50 kB, so 200 would be 10 MB."""


def resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


def live_tensors() -> int:
    gc.collect()
    return sum(issubclass(type(found), torch.Tensor) for found in gc.get_objects())


@pytest.mark.skipif(not Path("/proc/self/statm").is_file(), reason="reads Linux's /proc")
@pytest.mark.parametrize("entry", METRICS, ids=lambda entry: entry.name)
def test_repeated_evaluations_leave_memory_flat(entry):
    metric, task = load(entry).minimal(), TinyImages()
    if metric.refuses(task.describe()):
        pytest.skip("does not read images")
    models = tuple(small_network(task.describe(), seed) for seed in range(MODELS[metric.scope]))
    splits = task.tiny()

    def evaluate(times):
        for seed in range(times):
            metric.measure(MeasureContext(task, models, splits, seed=seed, sample_seed=2))

    evaluate(EVALUATIONS // 2)  # caches of torch and of the allocator fill up
    tensors = live_tensors()
    growth = []
    # The heap of a process that ran other tests may still settle; a leak grows every time.
    while len(growth) < ROUNDS and (not growth or growth[-1] >= ALLOWED):
        memory = resident()
        evaluate(EVALUATIONS)
        growth.append(resident() - memory)
    assert live_tensors() <= tensors
    assert min(growth) < ALLOWED, growth
