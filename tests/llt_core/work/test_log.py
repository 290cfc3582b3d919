"""What a cell's log tells: each attempt, how it ended, and what happened on the way."""

import faulthandler
import logging
import re
import subprocess
import sys
import time
import warnings

import pytest

from llt_core.errors import RequestError
from llt_core.store import Store
from llt_core.store.logs import log_file, read_log
from llt_core.work.log import CellLog, cell_log, log_failure


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def test_attempts_are_appended(store):
    for _ in range(2):
        with cell_log(store, "abc", "training") as log:
            log.note("device cpu")
    lines = read_log(store, "abc").splitlines()
    assert len(lines) == 6
    assert re.fullmatch(r"== \S+\+00:00 training, attempt 1, \S+ process \d+", lines[0])
    assert re.fullmatch(r"\d\d:\d\d:\d\d device cpu", lines[1])
    assert re.fullmatch(r"\d\d:\d\d:\d\d done in \d\.\d\d s", lines[2])
    assert lines[3].startswith("== ")


def test_what_is_written_can_be_read_at_once(store):
    with cell_log(store, "abc", "training") as log:
        log.note("one")
        assert "one" in read_log(store, "abc")


def test_the_number_of_the_attempt_counts_failures(store):
    folder = store.root / "failures" / "abc"
    folder.mkdir(parents=True)
    (folder / "1.json").write_text("{}")
    with cell_log(store, "abc", "training"):
        pass
    assert "training, attempt 2" in read_log(store, "abc")


def test_a_bug_leaves_its_traceback_and_a_wrong_request_does_not(store):
    def fail(error):
        with cell_log(store, "abc", "measurement"):
            raise error

    with pytest.raises(ZeroDivisionError):
        fail(ZeroDivisionError("on purpose"))
    log = read_log(store, "abc")
    assert "Traceback (most recent call last)" in log
    assert "in fail" in log
    assert "ZeroDivisionError: on purpose" in log
    assert "failed after" in log
    assert "done in" not in log
    log_file(store, "abc").unlink()
    with pytest.raises(RequestError):
        fail(RequestError("too large", next_step="--set x=1"))
    log = read_log(store, "abc")
    assert "too large\n  next: --set x=1" in log
    assert "Traceback" not in log


def test_a_failure_before_the_beginning(store):
    try:
        raise ZeroDivisionError("on purpose")
    except ZeroDivisionError as error:
        log_failure(store, "abc", "loading 2 models", error)
    log = read_log(store, "abc")
    assert log.startswith("== ")
    assert "loading 2 models" in log
    assert "ZeroDivisionError: on purpose" in log


def test_warnings_go_to_the_log_and_to_nobody_else(store, capsys):
    shown, handlers = warnings.showwarning, list(logging.getLogger().handlers)
    with cell_log(store, "abc", "training"):
        warnings.warn("something is odd", RuntimeWarning, stacklevel=1)
        logging.getLogger("some.library").warning("%s is slow", "this")
        logging.getLogger("some.library").info("of no interest")
    log = read_log(store, "abc")
    assert "RuntimeWarning: something is odd" in log
    assert "WARNING of some.library: this is slow" in log
    assert "of no interest" not in log
    assert warnings.showwarning is shown
    assert logging.getLogger().handlers == handlers
    assert capsys.readouterr().err == ""


def test_lines_of_routine_are_thinned_and_the_last_is_kept(store, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("llt_core.work.log.time.monotonic", lambda: now[0])
    with cell_log(store, "abc", "training") as log:
        for epoch in range(1, 36):
            log.routine(f"epoch {epoch}")
            now[0] += 0.125
    told = [int(word) for word in re.findall(r"epoch (\d+)", read_log(store, "abc"))]
    assert told == [1, 9, 17, 25, 33, 35]


def test_a_log_that_cannot_be_written_fails_nothing(store):
    (store.root / "logs").write_text("in the way")
    with cell_log(store, "abc", "training") as log:
        log.note("to nobody")
        warnings.warn("to nobody", stacklevel=1)
    log_failure(store, "abc", "training", ZeroDivisionError())
    assert read_log(store, "abc") == ""


def test_a_disk_that_is_full_fails_nothing(tmp_path):
    full = "/dev/full"
    try:
        file = open(full, "w")  # noqa: SIM115
    except OSError:
        pytest.skip(f"no {full} here")
    log = CellLog(file)
    log.note("nowhere to go")
    log.routine("nor here")
    with pytest.raises(OSError, match="No space"):
        file.close()


CRASH = """
import ctypes, sys
from llt_core.store import Store
from llt_core.work.log import cell_log

def deep_inside():
    ctypes.string_at(0)

with cell_log(Store(sys.argv[1]), "abc", "training"):
    deep_inside()
"""


def test_a_crash_of_the_process_leaves_a_trace(store):
    crashed = subprocess.run(
        [sys.executable, "-c", CRASH, str(store.root)], capture_output=True, text=True
    )
    assert crashed.returncode < 0
    log = read_log(store, "abc")
    assert "Fatal Python error: Segmentation fault" in log
    assert "in deep_inside" in log


@pytest.mark.parametrize("enabled", [True, False])
def test_the_fault_handler_is_as_it_was(store, enabled):
    before = faulthandler.is_enabled()
    try:
        faulthandler.enable(sys.__stderr__) if enabled else faulthandler.disable()
        with cell_log(store, "abc", "training"):
            assert faulthandler.is_enabled()
        assert faulthandler.is_enabled() is enabled
    finally:
        faulthandler.enable(sys.__stderr__) if before else faulthandler.disable()


def test_it_is_cheap(store):
    def once():
        start = time.perf_counter()
        with cell_log(store, "abc", "training") as log:
            log.note("device cpu, 1 threads")
            log.routine("epoch 1: loss 2.3")
        return time.perf_counter() - start

    assert min(once() for _ in range(30)) < 0.002
