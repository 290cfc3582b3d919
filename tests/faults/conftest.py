"""A proving ground: real drivers and workers on a sweep of 60 cells, and eyes that watch them."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from llt_core.store import Store
from llt_core.store.checkpoints import complete
from llt_core.store.export import rows
from llt_core.store.logs import read_log
from llt_core.store.sweeps import recall, sweep_rows

KINDS = {
    "gray": ("task", "Gray"),
    "slow": ("architecture", "Slow"),
    "norm": ("metric", "Norm"),
    "drawn": ("metric", "Drawn"),
    "distance": ("metric", "Distance"),
    "spread": ("metric", "Spread"),
    "poison": ("metric", "Poison"),
    "greedy": ("metric", "Greedy"),
}
SWEEP = """\
task = "gray"
architecture = "slow"
models = 2
metrics = ["norm", "drawn", "test_accuracy", "distance", "spread"]

[train]
epochs = 2

[axes.load]
field = "architecture.width"
values = [4, 6, 8]

[axes.temperature]
field = "train.batch_size"
values = [8, 16]
"""
CELLS = 60
"""6 grid points of 2 models, 3 metrics on each model, one on the pair and one on the set."""
PAUSE = 0.03
"""Seconds that a step of training or a measurement sleeps: half a second a model."""
UNEQUAL = {"seconds", "finished"}
"""What two runs of one and the same cell may differ in."""
HEADER = re.compile(r"^== \S+ (training|measurement|loading) ?.*, attempt .*$", re.M)
ENDING = re.compile(r"^(?:\d\d:\d\d:\d\d )?(done in|failed after) ", re.M)


class Ground:
    """A folder with the plugins and a sweep file; starts drivers there and looks after them."""

    def __init__(self, home):
        self.home = home
        shutil.copy(Path(__file__).with_name("fault_plugins.py"), home / "fault_plugins.py")
        (home / "llt.toml").write_text(
            "\n".join(
                f'[{name}]\nkind = "{kind}"\ntarget = "fault_plugins:{cls}"\nsummary = "test"'
                for name, (kind, cls) in KINDS.items()
            )
        )
        (home / "gray.bin").write_bytes(bytes(range(0, 256, 2)))
        self.write("sweep", SWEEP)

    def write(self, name, text):
        (self.home / f"{name}.toml").write_text(text)

    def start(
        self, store, *more, sweep="sweep", executor="local:workers=2", pause=PAUSE, **environment
    ):
        """Start ``llt sweep`` in a session of its own."""
        command = ["sweep", f"{sweep}.toml", "--executor", executor, "--threads", "1"]
        return self.python(
            "-m", "llt_core.cli.main", *command, "--store", store, "--data-root", self.home, *more,
            FAULT_PAUSE=str(pause), **environment,
        )  # fmt: skip

    def python(self, *arguments, **environment):
        return subprocess.Popen(
            [sys.executable, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.home,
            start_new_session=True,
            env={**os.environ, "LLT_OFFLINE": "1", "FAULT_HOME": str(self.home), **environment},
        )

    def finish(self, process, code=0):
        """Wait for a driver; return what it said on stderr."""
        out, err = process.communicate(timeout=240)
        assert process.returncode == code, f"exit code {process.returncode}\n{out}\n{err}"
        assert "Traceback" not in err
        return err

    def sweep(self, store, *more, code=0, **settings):
        return self.finish(self.start(store, *more, **settings), code)

    def processes(self):
        """Return the numbers of all processes that descend from a driver on this ground."""
        mark = f"FAULT_HOME={self.home}\0".encode()
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if mark in (folder / "environ").read_bytes():
                    found.append(int(folder.name))
        return found

    def clear(self):
        """Kill whatever is left; return how much that was."""
        left = self.processes()
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return len(left)


def parent(pid):
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    state, number, *_ = text.rpartition(")")[2].split()
    return None if state == "Z" else int(number)


def children(pid):
    numbers = [int(folder.name) for folder in Path("/proc").glob("[0-9]*")]
    return [number for number in numbers if parent(number) == pid]


def grandchildren(pid):
    return sorted(grandchild for child in children(pid) for grandchild in children(child))


def workers(driver):
    """Return the workers of the executor local: children of the driver's child."""
    return grandchildren(driver.pid)


def table(root):
    """Return all that a store holds of each cell, less times: rows, weights, arrays, history."""
    found, store = {}, Store(root, create=False)
    for digest in store.digests():
        record = store.read(digest)
        found[digest] = {
            "rows": [{k: v for k, v in row.items() if k not in UNEQUAL} for row in rows([record])],
            "status": record.status,
            "history": [{**line.model_dump(), "seconds": 0} for line in record.history],
            "checkpoint": record.checkpoint and record.checkpoint.model_dump(),
            "files": {
                file.name: hashlib.sha256(file.read_bytes()).hexdigest()
                for file in store.path(digest).iterdir()
                if file.suffix == ".safetensors"
            },
        }
    return json.loads(json.dumps(found))


def records(root):
    store = Store(root, create=False)
    return [store.read(digest) for digest in store.digests()]


def export(root, name="sweep"):
    """Return the table of a sweep as ``llt export`` writes it, less times."""
    return [
        {key: value for key, value in row.items() if key not in UNEQUAL}
        for row in sweep_rows(recall(Store(root, create=False), name), records(root))
    ]


def attempts(root):
    """Return how each attempt at each cell ended, by its log: done, failed, or killed."""
    store, found = Store(root, create=False), {}
    for digest in {*store.digests(), *(f.stem for f in (store.root / "logs").glob("*.log"))}:
        _, *parts = HEADER.split(read_log(store, digest))
        for work, text in zip(parts[::2], parts[1::2], strict=True):
            if work != "loading":
                ending = ENDING.search(text)
                how = {None: "killed", "done in": "done", "failed after": "failed"}
                found.setdefault(digest, []).append(how[ending and ending[1]])
    return found


def unfinished(root):
    """Return how many attempts were killed; no cell may have been done again once it was done."""
    tried = attempts(root)
    for digest, ends in tried.items():
        assert ends.count("done") <= 1, (digest, ends)
        assert "done" not in ends[:-1], (digest, ends)
    return sum(ends.count("killed") for ends in tried.values())


def check_tidy(root):
    """Check a store at rest: no driver, no claim, nothing half made, no folder without record."""
    store = Store(root, create=False)
    for folder in ("drivers", "claims", "tmp", "partial"):
        path = store.root / folder
        left = sorted(path.rglob("*")) if path.exists() else []
        assert left == [], f"{folder}: {left}"
    assert {path.name for path in (store.root / "cells").glob("*/*")} == set(store.digests())
    assert list(store.root.rglob(".*")) == []


class Watcher(threading.Thread):
    """Reads a store all the time, and keeps what it sees that is not whole."""

    def __init__(self, root):
        super().__init__(name="watcher", daemon=True)
        self.root, self.wrong, self.passes, self.most = root, [], 0, 0
        self.over = threading.Event()
        self._whole = set()

    def run(self):
        while not self.over.wait(0.03):
            try:
                self.look()
            except Exception as error:
                self.wrong.append(repr(error))
                return

    def look(self):
        if not (self.root / "store.json").is_file():
            return
        store = Store(self.root, create=False)
        seen = list(store.digests())
        if missing := self._whole.difference(seen):
            self.wrong.append(f"gone: {missing}")
        for digest in seen:
            if digest not in self._whole:
                record = store.read(digest)
                if record is None or not complete(store, record):
                    self.wrong.append(f"not whole: {digest}")
                elif record.checkpoint is not None:
                    file = store.path(digest) / record.checkpoint.file
                    if hashlib.sha256(file.read_bytes()).hexdigest() != record.checkpoint.sha256:
                        self.wrong.append(f"another file: {digest}")
                self._whole.add(digest)
        self.passes += 1
        self.most = max(self.most, len(seen))


@contextmanager
def watched(root):
    """Watch a store for the time of a block, at the end of which all must have been whole."""
    watcher = Watcher(root)
    watcher.start()
    try:
        yield watcher
    finally:
        watcher.over.set()
        watcher.join()
    assert watcher.wrong == []
    assert watcher.passes > 0


def until(condition, seconds=60.0, every=0.01):
    """Wait until ``condition()`` is true, and return what it returned."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"waited {seconds} s in vain"
        time.sleep(every)
    return found


def finished(root):
    """Return how many cells a store holds."""
    return len(list((root / "cells").glob("*/*/record.json")))


def in_training(root):
    """Return the logs of models that somebody is training: begun, and not done."""
    logs = [file.read_text() for file in (root / "logs").glob("*.log")]
    return [text for text in logs if " training, attempt " in text and "done in" not in text]


def begun(root):
    """Return how many cells somebody has begun to compute."""
    return len(attempts(root))


class Tools:
    """What tests of this folder share."""

    cells = CELLS
    table, records, export = map(staticmethod, (table, records, export))
    attempts, unfinished = map(staticmethod, (attempts, unfinished))
    check_tidy, watched, until = map(staticmethod, (check_tidy, watched, until))
    finished, begun, in_training = map(staticmethod, (finished, begun, in_training))
    workers, grandchildren = map(staticmethod, (workers, grandchildren))


@pytest.fixture(scope="session")
def tools():
    return Tools


@pytest.fixture
def ground(tmp_path):
    made = Ground(tmp_path)
    yield made
    assert made.clear() == 0, "processes that outlived their driver"


@pytest.fixture(scope="session")
def filled_store(tmp_path_factory):
    """Return a store that holds the sweep, computed in one process that nobody disturbs."""
    home = tmp_path_factory.mktemp("undisturbed")
    Ground(home).sweep(home / "store", executor="inline", pause=0)
    check_tidy(home / "store")
    return home / "store"


@pytest.fixture(scope="session")
def undisturbed(filled_store):
    """Return what the undisturbed store holds of each cell, and the table of the sweep."""
    found = table(filled_store), export(filled_store)
    assert len(found[0]) == CELLS
    assert all(row["value"] is not None for row in found[1])
    return found
