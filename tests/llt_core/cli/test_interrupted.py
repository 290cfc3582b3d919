"""What is said after Ctrl-C is true of the command: only some keep what they have done."""

import signal
import subprocess
import sys
import time

import pytest

import llt_core.store.tables
from llt_core.cli.counting import counting
from llt_core.cli.main import INTERRUPTED, main


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("simulate", "Interrupted. Nothing of it is kept; the same command starts over."),
        ("phases", "Interrupted."),
    ],
)
def test_what_is_said(monkeypatch, capsys, command, said):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(llt_core.store.tables, "open_table", interrupted)
    assert main([command, "any.csv"]) == INTERRUPTED
    assert capsys.readouterr().err.strip() == said


def test_a_signal_leaves_no_traceback():
    code = (
        "import sys, time\n"
        "from llt_core.cli import main\n"
        "def slow(*_):\n"
        "    print('reading', flush=True)\n"
        "    time.sleep(60)\n"
        "import llt_core.store.tables\n"
        "llt_core.store.tables.open_table = slow\n"
        "sys.exit(main.main(['phases', 'any.csv']))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "reading\n"
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert (process.returncode, said.strip()) == (INTERRUPTED, "Interrupted.")


@pytest.mark.parametrize(("terminal", "quiet"), [(True, False), (False, False), (True, True)])
def test_short_work_draws_nothing(monkeypatch, capsys, terminal, quiet):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    with counting("cells read", quiet=quiet) as told:
        told(1, 2)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("terminal", [True, False])
def test_long_work_is_counted(monkeypatch, capsys, terminal):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    with counting("cells read") as told:
        now = time.monotonic()
        monkeypatch.setattr(time, "monotonic", lambda: now + 60)
        told(1, 2)
    assert "cells read" in capsys.readouterr().err
