"""Job modules of a test's own, drivers that are real processes, and who is alive."""

import os
import subprocess
import sys
import textwrap
import time
import uuid
from contextlib import suppress
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
MARK = "LLT_TEST_MARK"


class Family:
    """All processes that descend from one, wherever they hang in the tree.

    They are known by a variable in the environment they were started with.
    """

    def __init__(self, mark):
        self.mark = f"{MARK}={mark}".encode()

    def alive(self):
        found = set()
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit() and int(folder.name) != os.getpid():
                with suppress(OSError):
                    if self.mark in (folder / "environ").read_bytes().split(b"\0"):
                        found.add(int(folder.name))
        return found

    def wait_until_gone(self, seconds=10.0):
        end = time.monotonic() + seconds
        while left := self.alive():
            assert time.monotonic() < end, f"{len(left)} processes live on: {left}"
            time.sleep(0.02)


@pytest.fixture
def family(monkeypatch):
    """Mark what this test starts; nothing of it may be left at the end."""
    mark = uuid.uuid4().hex
    monkeypatch.setenv(MARK, mark)
    family = Family(mark)
    yield family
    family.wait_until_gone()


@pytest.fixture
def write_module(tmp_path, monkeypatch):
    """Return a function that writes a module and makes it importable, here and in workers."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(source):
        name = f"jobs_{uuid.uuid4().hex}"
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(source))
        return name

    return write


@pytest.fixture
def driver(family):
    """Return a function that starts a driver: a script, with no guard around anything."""
    started = []

    def start(*arguments, **options):
        process = subprocess.Popen(
            [sys.executable, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=options.pop("stdin", subprocess.PIPE),
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            **options,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def wait_for():
    """Return a function that waits until a file exists, and reads it."""

    def wait(file, seconds=20.0):
        end = time.monotonic() + seconds
        while not file.exists():
            assert time.monotonic() < end, f"{file.name} was never written"
            time.sleep(0.01)
        return file.read_text()

    return wait
