"""Killed at any moment and repeated, a run shows and keeps only whole results, and the same."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from safetensors.numpy import load_file
from sklearn.datasets import load_digits

from llt_core.spec import digest
from llt_core.store import Record, Store

ALLOWED = {"store.json", "cells", "tmp", "index.sqlite", "logs", "drivers", "claims"}


@pytest.fixture(scope="module")
def data_root(tmp_path_factory):
    """Return a folder with SVHN-format files: tinted real digits, 0 labelled 10."""
    root = tmp_path_factory.mktemp("svhn")
    digits = load_digits()
    gray = np.rint(digits.images * (255 / 16)).repeat(4, axis=1).repeat(4, axis=2)
    colours = (gray[..., None] * np.array([1.0, 0.6, 0.3])).astype(np.uint8)
    labels = np.where(digits.target == 0, 10, digits.target).astype(np.uint8)[:, None]
    for split, part in (("train", slice(0, 320)), ("test", slice(320, 420))):
        images = np.ascontiguousarray(colours[part].transpose(1, 2, 3, 0))
        scipy.io.savemat(root / f"{split}_32x32.mat", {"X": images, "y": labels[part]})
    return root


def start(store, data_root):
    command = [
        sys.executable, "-m", "llt_core.cli.main", "run", "--task", "svhn",
        "--metric", "hessian_trace",
        "--set", "task.verify=false", "--set", "architecture.width=1",
        "--set", "train.epochs=3", "--set", "train.batch_size=32",
        "--set", "metric.hessian_trace.samples=16", "--set", "metric.hessian_trace.max_vectors=20",
        "--models", "3", "--threads", "1", "--json", "--quiet",
        "--store", str(store), "--data-root", str(data_root),
    ]  # fmt: skip
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "LLT_OFFLINE": "1"},
        cwd=store.parent,
    )


def finish(process):
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return json.loads(out)


def check_visible(root):
    """Every cell that can be seen is complete; return the digests of all cells."""
    if not (root / "store.json").is_file():
        return set()
    seen = set()
    for name in Store(root, create=False).digests():
        folder = root / "cells" / name[:2] / name
        record = Record.model_validate_json((folder / "record.json").read_bytes())
        assert record.digest == name == digest(record.cell)
        files = {path.name for path in folder.iterdir()}
        if record.checkpoint is None:
            assert record.measurements
            if "arrays.safetensors" in files:
                assert load_file(folder / "arrays.safetensors")
            assert files <= {"record.json", "arrays.safetensors"}
        else:
            assert files == {"record.json", "model.safetensors"}
            content = (folder / "model.safetensors").read_bytes()
            assert hashlib.sha256(content).hexdigest() == record.checkpoint.sha256
            assert len(record.history) == 3
        seen.add(name)
    return seen


def check_kept(root):
    """Check a store that nobody writes to: no folder without a record, nothing strange."""
    seen = check_visible(root)
    assert {path.name for path in (root / "cells").glob("*/*")} == seen
    if root.exists():
        strange = {path.name for path in root.iterdir()} - ALLOWED
        assert all(name.startswith(".store.json.") for name in strange), strange
    return seen


def lasting(document):
    """Return what must be equal: everything but times, process and place."""
    kept = []
    for cell in document["cells"]:
        record = cell["record"]
        history = [{**line, "seconds": None} for line in record["history"]]
        kept.append(
            {
                "digest": cell["digest"],
                "history": history,
                **{
                    key: record[key]
                    for key in ("cell", "status", "composition", "checkpoint", "measurements")
                },
                "seed": record["provenance"]["seed"],
                "data": record["provenance"]["data"],
            }
        )
    return kept


def test_killed_at_random_moments_and_repeated(tmp_path, data_root):
    process = start(tmp_path / "undisturbed", data_root)
    begin = time.monotonic()
    while process.poll() is None and not check_visible(tmp_path / "undisturbed"):
        time.sleep(0.02)
    first_cell = time.monotonic() - begin
    expected = finish(process)
    assert len(expected["cells"]) == 6
    assert expected["cells"][0]["record"]["provenance"]["data"]["verified"] is False
    assert all(m["value"] is not None for m in expected["measurements"])

    chance = random.Random(2)
    root, seen, kills, between = tmp_path / "disturbed", set(), 0, 0
    for number in range(60):
        process = start(root, data_root)
        end = time.monotonic() + chance.uniform(0.4, 1.4) * first_cell
        while time.monotonic() < end and process.poll() is None:
            seen |= check_visible(root)
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        out, err = process.communicate()
        now = check_kept(root)
        assert seen <= now, "a finished cell was lost"
        seen = now
        if process.returncode == 0:  # faster than the kill: the next ones meet a new store
            assert json.dumps(lasting(json.loads(out))) == json.dumps(lasting(expected))
            root, seen = tmp_path / f"disturbed{number}", set()
            first_cell *= 0.7  # the machine was busy when this was measured
        else:
            assert process.returncode == -signal.SIGKILL, err
            kills += 1
            between += 0 < len(seen) < 6
        if kills == 4:
            break
    assert kills == 4
    assert between, "no kill fell between two cells: nothing is shown"

    document = finish(start(root, data_root))
    assert json.dumps(lasting(document)) == json.dumps(lasting(expected))
    assert check_kept(root) == {cell["digest"] for cell in document["cells"]}
    assert list((root / "tmp").iterdir()) == []
    again = finish(start(root, data_root))
    assert {cell["origin"] for cell in again["cells"]} == {"cached"}
    assert again["measurements"] == document["measurements"]
    assert Path(again["store"]) == root
