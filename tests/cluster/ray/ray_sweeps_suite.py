"""``llt sweep`` on a real Ray cluster; started by test_ray.py in a namespace of its own."""

import json
import os
import shlex
import subprocess
import sys
import threading

import pytest
from ray_nodes import ADDRESS, Nodes, command_of, descendants, wait_until

from llt_core.store import Failure, Store

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif("LLT_NAMESPACE" not in os.environ, reason="run by test_ray.py"),
]

SWEEP = """
task = "digits"
architecture = "mlp:depth=1"
metrics = ["train_loss", "test_accuracy", "l2_distance"]
models = 2

[train]
epochs = 8
batch_size = 32

[axes.load]
field = "architecture.width"
values = [4, 8, 12, 16, 20, 24, 28, 32]
"""
CELLS = 8 * (2 + 2 * 2 + 1)
LLT = [sys.executable, "-m", "llt_core.cli.main"]


@pytest.fixture(scope="module")
def nodes(tmp_path_factory):
    nodes = Nodes(tmp_path_factory.mktemp("ray"))
    nodes.add(3)
    return nodes


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """Return a function that gives the command line of the sweep with some executor."""
    file = tmp_path_factory.mktemp("sweep") / "sweep.toml"
    file.write_text(SWEEP)

    def command(executor, store):
        return [*LLT, "sweep", str(file), "--executor", executor, "--threads", "1",
                "--store", str(store), "--json", "--quiet"]  # fmt: skip

    return command


def run(command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)  # nothing else is printed there, whatever Ray has to say


def table(store):
    """Return what every cell of a store has come to."""
    store = Store(store, create=False)
    records = {digest: store.read(digest) for digest in store.digests()}
    return {
        digest: (
            record.status,
            [(epoch.train_loss, epoch.train_accuracy) for epoch in record.history],
            record.checkpoint and record.checkpoint.sha256,
            [(m.name, m.value, m.standard_error, m.n) for m in record.measurements],
        )
        for digest, record in records.items()
    }


@pytest.fixture(scope="module")
def inline(sweep, tmp_path_factory):
    store = tmp_path_factory.mktemp("inline") / "store"
    run(sweep("inline", store))
    cells = table(store)
    assert len(cells) == CELLS
    return cells


def kill_midway(nodes, doomed, enough):
    """Kill a node as soon as a job has begun there, once ``enough()``."""
    (raylet,) = nodes.raylets(doomed)

    def busy():
        return any(command_of(p)[0].startswith("ray::run") for p in descendants(raylet))

    wait_until(enough, "some cells")
    wait_until(lambda: not busy(), "a pause there")
    wait_until(busy, "a job there")
    nodes.kill(doomed)


def test_a_node_is_lost_midway(nodes, sweep, inline, tmp_path):
    doomed, store = nodes.add(4), tmp_path / "store"

    def enough():
        return len(list(store.glob("cells/*/*/record.json"))) >= 8

    killer = threading.Thread(target=kill_midway, args=(nodes, doomed, enough))
    killer.start()
    run(sweep(f"ray:address={ADDRESS}", store))
    killer.join()
    assert not nodes.raylets(doomed)
    assert table(store) == inline
    lost = [Failure.model_validate_json(f.read_text()) for f in store.glob("failures/*/*.json")]
    assert lost
    assert {failure.kind for failure in lost} == {"killed"}
    assert len({failure.digest for failure in lost}) < CELLS / 4  # the rest was not disturbed


def test_without_shared_files(nodes, sweep, inline, tmp_path):
    """The store lies on a disk that exists for the driver alone; a node is lost as well."""
    doomed = nodes.add(5)
    private, copied = tmp_path / "private", tmp_path / "copied"
    private.mkdir()
    command = sweep(f"ray:address={ADDRESS},shared_files=false", private / "store")
    script = (
        f"mount -t tmpfs private {private} && {shlex.join(command)} && "
        f"cp -r {private}/store {copied}"
    )
    killer = threading.Thread(target=kill_midway, args=(nodes, doomed, lambda: True))
    killer.start()
    run(["unshare", "--mount", "sh", "-c", script])
    killer.join()
    assert not nodes.raylets(doomed)
    assert list(private.iterdir()) == []
    assert table(copied) == inline
    assert list(copied.glob("logs/*.log"))
