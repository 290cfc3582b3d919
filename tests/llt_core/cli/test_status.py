"""``llt status``: once, and while somebody is at work."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import threading
import time

import pytest
from rich.console import Console

import llt_core
from llt_core.cli.main import main
from llt_core.cli.status_text import drawn
from llt_core.store import Store
from llt_core.store.claims import Claims
from llt_core.store.drivers import Driver
from llt_core.store.sweeps import SweepPoint, SweepRecord, remember

GRID = {
    "name": "grid",
    "title": "A [try]",
    "task": "digits",
    "architecture": "mlp:depth=1,width=4",
    "metrics": ["train_loss", "l2_distance"],
    "models": 2,
    "train": {"epochs": 1},
    "axes": {
        # One trains, one diverges, one is refused: larger than the training split.
        "step": {
            "fields": ["train.learning_rate", "train.batch_size"],
            "values": [[0.05, 256], [1e30, 256], [0.05, 2048]],
        }
    },
}


def words(text):
    return " ".join(text.split())


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A store with a sweep of which all has been tried."""
    root = tmp_path_factory.mktemp("made") / "store"
    llt_core.sweep(store=root, compute={"threads": 1}, executor="inline", **GRID)
    return root


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("LLT_STORE", str(tmp_path / "store"))
    return Store(tmp_path / "store")


@pytest.fixture
def told(made, monkeypatch, capsys):
    """Return a function that runs llt status on the made store."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("LLT_STORE", str(made))

    def run(*arguments):
        assert main(["status", *arguments]) == 0
        return capsys.readouterr().out

    return run


def test_what_diverged_is_a_result_and_what_failed_is_not(told, made):
    facts = json.loads(told("grid", "--json"))
    assert facts["points"] == {"all": 3, "complete": 2}
    assert facts["models"] == {"all": 6, "done": 2, "diverged": 2, "failed": 2}
    assert facts["measurements"] == {"all": 9, "done": 3, "blocked": 6}
    assert {failure["kind"] for failure in facts["failures"]} == {"request"}
    assert (facts["running"], facts["drivers"]) == ([], [])
    text = words(told("grid"))
    assert "grid: A [try] 2 of 3 grid points are complete" in text
    assert "cells all done diverged failed blocked waiting" in text
    assert "models 6 2 2 2 0 0 measurements 9 3 0 0 6 0" in text
    assert "larger than the training split" in text
    assert re.search(r"grid 2/3 4/6 3/9 6 2 \S+ A \[try\]", words(told()))
    before = sorted(path for path in made.rglob("*") if path.name != "index.sqlite")
    told()
    assert sorted(path for path in made.rglob("*") if path.name != "index.sqlite") == before


def test_watching_what_is_over_tells_it_once(told):
    lines = told("grid", "--watch").splitlines()
    assert len(lines) == 1
    assert re.fullmatch(
        r"\d\d:\d\d:\d\d grid: 2/3 points, models 2/6 \(2 diverged, 2 failed\), "
        r"measurements 3/9 \(6 blocked\)",
        lines[0],
    )
    (line,) = told("grid", "--watch", "--json").splitlines()
    assert json.loads(line)["points"]["complete"] == 2
    (line,) = told("--watch").splitlines()
    assert line.endswith("0 at work")


def test_each_change_is_a_line(store, capsys):
    cells = [letter * 32 for letter in "abc"]
    name_sweep(store, cells)
    results = []
    watch = threading.Thread(
        target=lambda: results.append(main(["status", "s", "--watch", "--every", "0.1"]))
    )

    def wait_for(text):
        deadline = time.monotonic() + 20
        while text not in "".join(heard):
            heard.append(capsys.readouterr().out)
            assert time.monotonic() < deadline, heard
            time.sleep(0.02)

    heard = [""]
    with Driver(store, sweep="s", executor="local") as driver:
        claims = Claims(store, driver, "local")
        watch.start()
        wait_for("s: 0/1 points, models 0/3, measurements 0/0")
        for number, cell in enumerate(cells):
            claims.take(cell)
            wait_for(f"models {number}/3 (1 running)")
            folder = store.path(cell)
            folder.mkdir(parents=True)
            (folder / "model.safetensors").touch()
            (folder / "record.json").touch()
            claims.release(cell)
        wait_for("s: 1/1 points, models 3/3, measurements 0/0")
        assert watch.is_alive(), "the driver may do more"
    watch.join(10)
    assert results == [0]


def name_sweep(store, models):
    point = SweepPoint(values={}, models=tuple(models), measures=())
    remember(store, SweepRecord(name="s", planned="", fields=(), spec={}, points=(point,)))


def test_who_is_at_work(store, capsys):
    cells = [letter * 32 for letter in "ab"]
    name_sweep(store, cells)
    with Driver(store, sweep="s", executor="local", command="llt sweep s.toml") as driver:
        claims = Claims(store, driver, "local")
        claims.take(cells[0])
        driver.running[cells[0]] = {
            "label": "train seed 0", "done": 1, "total": 4, "text": "epoch 1, loss 0.5",
        }  # fmt: skip
        deadline = time.monotonic() + 20
        while True:
            assert main(["status", "s"]) == 0
            text = words(capsys.readouterr().out)
            if "epoch 1, loss 0.5" in text:
                break
            assert time.monotonic() < deadline, text
            time.sleep(0.1)
        assert f"process {os.getpid()}" in text
        assert "train seed 0 25 % epoch 1, loss 0.5 local (" in text
        assert "cells all done failed running waiting models 2 0 0 1 1" in text
        assert main(["status", "--json"]) == 0
        facts = json.loads(capsys.readouterr().out)
        assert facts["drivers"][0]["command"] == "llt sweep s.toml"
        assert facts["drivers"][0]["running"] == 1
        assert main(["status"]) == 0
        assert "at work on s: 1 cell (" in words(capsys.readouterr().out)
        claims.release_all()
    with Driver(store, executor="inline"):
        assert main(["status"]) == 0
        assert "at work on a run: 0 cells" in words(capsys.readouterr().out)


@pytest.mark.parametrize("lines", [8, 20, 50])
def test_a_screen_is_never_overfull(lines):
    cell = {"label": "train seed 0", "done": 1, "total": 2, "text": "x" * 200, "handle": "",
            "executor": "local", "host": "h", "pid": 1, "digest": "a" * 32}  # fmt: skip
    lost = {"digest": "b" * 32, "cell": "train", "attempts": 1, "message": "y" * 300, "folder": "z"}
    counts = {"all": 100, "done": 0, "running": 40, "failed": 30}
    facts = {
        "sweep": "s", "title": "", "points": {"all": 1, "complete": 0}, "models": counts,
        "measurements": {"all": 0}, "running": [cell] * 40, "failures": [lost] * 30, "drivers": [],
        "adaptive": None,
    }  # fmt: skip
    console = Console(width=80, height=lines + 1, force_terminal=True)
    with console.capture() as capture:
        console.print(drawn(facts, console, lines=lines))
    text = capture.get()
    assert len(text.splitlines()) <= lines
    for what in ("running", "failed"):
        assert re.search(rf"… and \d+ more {what}", text)


WATCH = [sys.executable, "-m", "llt_core.cli.main", "status", "s", "--watch", "--every", "0.2"]


def test_in_a_terminal_it_is_redrawn_and_ctrl_c_leaves_it_clean(store):
    name_sweep(store, ["a" * 32])
    ours, theirs = pty.openpty()
    process = subprocess.Popen(WATCH, stdout=theirs, stderr=theirs, stdin=theirs,
                               env={**os.environ, "TERM": "xterm", "COLUMNS": "80"})  # fmt: skip
    os.close(theirs)
    text = b""

    def read_until(count):
        nonlocal text
        deadline = time.monotonic() + 60
        while text.count(b"0 of 1 grid points are complete") < count:
            assert time.monotonic() < deadline, text
            if select.select([ours], [], [], 0.5)[0]:
                text += os.read(ours, 65536)

    read_until(3)
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0
    while select.select([ours], [], [], 0.5)[0]:
        try:
            text += os.read(ours, 65536)
        except OSError:  # the other side is closed
            break
    os.close(ours)
    assert b"Traceback" not in text
    assert b"Interrupted" not in text
    assert text.rindex(b"\x1b[?25h") > text.rindex(b"\x1b[?25l"), "the cursor is back"


def test_a_sweep_nobody_knows(store, capsys):
    for arguments in (["gone"], ["gone", "--watch"]):
        assert main(["status", *arguments]) == 2
        assert "knows no sweep 'gone'" in capsys.readouterr().err
