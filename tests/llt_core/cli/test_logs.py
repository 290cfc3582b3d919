"""``llt logs``: what workers said, and why cells failed."""

import json
import os
import subprocess
import sys
import time

import pytest

from llt_core.cli.main import main
from llt_core.errors import RequestError
from llt_core.report import find_digest
from llt_core.spec import MeasureCell, PluginRef, TrainCell
from llt_core.store import Failure, Store
from llt_core.store.claims import Claims
from llt_core.store.drivers import Driver
from llt_core.store.logs import log_file
from llt_core.store.sweeps import SweepPoint, SweepRecord, remember

REF = PluginRef(name="llt/cka", version=1)
ONE, TWO, THREE = "abcd0" + "0" * 27, "abcd1" + "0" * 27, "ef" * 16


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("LLT_STORE", str(tmp_path / "store"))
    return Store(tmp_path / "store")


def log(store, digest, text):
    file = log_file(store, digest)
    file.parent.mkdir(exist_ok=True)
    with file.open("a") as out:
        out.write(text)


def fail(store, digest, attempt=1, kind="code", traceback="", cell=None):
    cell = cell or TrainCell(task=REF, architecture=REF, training=REF, seed=7)
    store.record_failure(
        Failure(digest=digest, cell=cell, kind=kind, message=f"no {attempt}\nmore",
                traceback=traceback, attempt=attempt, time="2026-01-01T00:00:00+00:00")
    )  # fmt: skip


def finish(store, digest):
    folder = store.path(digest)
    folder.mkdir(parents=True)
    (folder / "record.json").write_text("{}")


def test_the_log_and_every_failure(store, capsys):
    log(store, ONE, "".join(f"line {number}\n" for number in range(5)))
    fail(store, ONE, 1, "killed")
    fail(store, ONE, 2, traceback="Traceback …\nZeroDivisionError\n")
    assert main(["logs", ONE[:5]]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:5] == [f"line {number}" for number in range(5)]
    assert lines[5:] == [
        "attempt 1 failed (killed) at 2026-01-01T00:00:00+00:00: no 1", "more",
        "attempt 2 failed (code) at 2026-01-01T00:00:00+00:00: no 2", "more",
        "Traceback …", "ZeroDivisionError",
    ]  # fmt: skip
    assert main(["logs", ONE, "--tail", "2"]) == 0
    assert capsys.readouterr().out.splitlines()[:3] == ["line 3", "line 4", lines[5]]
    assert main(["logs", ONE, "--tail", "0"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == lines[5]
    assert main(["logs", ONE, "--json", "--tail", "1"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["digest"], document["done"], document["log"]) == (ONE, False, "line 4\n")
    assert [failure["attempt"] for failure in document["failures"]] == [1, 2]


def test_a_cell_is_found_wherever_it_left_something(store, capsys):
    log(store, ONE, "x\n")
    fail(store, TWO)
    finish(store, THREE)
    for digest in (ONE, TWO, THREE):
        assert find_digest(store, f" {digest[:6].upper()} ") == digest
    with Driver(store) as driver:
        Claims(store, driver).take("9" * 32)
        assert find_digest(store, "9999") == "9" * 32
    with pytest.raises(RequestError, match="2 cells begin with 'abcd'") as caught:
        find_digest(store, "abcd")
    assert ONE in caught.value.expected
    assert TWO in caught.value.expected
    for words, says in (("abc", "is no cell"), ("train seed 0", "is no cell"), ("7777", "begins")):
        with pytest.raises(RequestError, match=says):
            find_digest(store, words)
    assert main(["logs", THREE[:4]]) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "nothing is recorded" in captured.err


def test_cells_of_a_sweep_that_have_something_to_say(store, capsys):
    silent = "1" * 32
    point = SweepPoint(values={}, models=(ONE, TWO, silent), measures=(THREE,))
    remember(store, SweepRecord(name="s", planned="", fields=(), spec={}, points=(point,)))
    log(store, ONE, "12345\n")
    finish(store, ONE)
    fail(store, ONE)
    fail(store, TWO, 3)
    fail(store, THREE, cell=MeasureCell(metric=REF, models=(ONE,)))
    fail(store, "2" * 32)
    assert main(["logs", "--sweep", "s", "--json"]) == 0
    rows = {row["digest"]: row for row in json.loads(capsys.readouterr().out)}
    assert list(rows) == [ONE, TWO, THREE]
    assert (rows[ONE]["done"], rows[ONE]["log_bytes"]) == (True, 6)
    assert (rows[TWO]["cell"], rows[THREE]["cell"]) == ("train seed 7", "cka")
    assert main(["logs", "--sweep", "s", "--failed"]) == 0
    text = capsys.readouterr().out
    assert ONE[:12] not in text
    assert TWO[:12] in text
    assert "code: no 3" in text
    finish(store, TWO)
    finish(store, THREE)
    assert main(["logs", "--sweep", "s", "--failed"]) == 0
    assert capsys.readouterr().out == "no cell of s has failed\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "CELL, or --sweep NAME"),
        (["abcd", "--sweep", "s"], "CELL, or --sweep NAME"),
        (["abcd", "--failed"], "--failed goes with --sweep"),
        (["--sweep", "s", "--follow"], "--follow and --sweep"),
        (["abcd", "--json", "--follow"], "--follow and --json"),
        (["--sweep", "gone"], "knows no sweep 'gone'"),
    ],
)
def test_what_cannot_be_asked(store, capsys, arguments, says):
    assert main(["logs", *arguments]) == 2
    assert says in capsys.readouterr().err


def test_followed_until_the_cell_ends(store):
    with Driver(store) as driver:
        claims = Claims(store, driver)
        claims.take(ONE)
        log(store, ONE, "before ünter\n")
        process = subprocess.Popen(
            [sys.executable, "-m", "llt_core.cli.main", "logs", ONE, "--follow"],
            stdout=subprocess.PIPE, text=True, env=os.environ.copy(),
        )  # fmt: skip
        assert process.stdout.readline() == "before ünter\n"
        log(store, ONE, "during\n")
        assert process.stdout.readline() == "during\n"
        time.sleep(0.6)
        assert process.poll() is None
        log(store, ONE, "at the end\n")
        fail(store, ONE)
        claims.release(ONE)
        out, _ = process.communicate(timeout=30)
    assert out.splitlines()[0] == "at the end"
    assert "attempt 1 failed (code)" in out
    assert process.returncode == 0
