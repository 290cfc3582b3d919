"""Every command and snippet of "Read a result", run from top to bottom in an empty folder."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "read-results.md"
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    """Do what the page says; return the folder and what each command or snippet printed."""
    folder = tmp_path_factory.mktemp("read")
    environment = {key: value for key, value in os.environ.items() if not key.startswith("LLT_")}
    environment |= {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "84",
        "MPLBACKEND": "agg",
    }
    printed = {}
    for language, text in FENCE.findall(PAGE.read_text("utf-8")):
        joined = text.replace("\\\n", " ")
        lines = [line.removeprefix("$ ") for line in joined.splitlines()]
        steps = {"console": lines, "python": [text], "text": []}[language]
        for step in steps:
            words = ["sh", "-c", step] if language == "console" else [sys.executable, "-c", step]
            done = subprocess.run(
                words, cwd=folder, env=environment, capture_output=True, text=True
            )
            assert done.returncode == 0, f"{step}\n{done.stderr}"
            printed[step] = done.stdout
    return folder, printed


def test_the_shown_lines_are_printed(read):
    _, printed = read
    shown = next(
        text for language, text in FENCE.findall(PAGE.read_text("utf-8")) if language == "text"
    )
    output = [
        " ".join(line.split()) for line in printed['llt show-result "train seed 0"'].splitlines()
    ]
    # The curve itself differs by what machines round differently, its frame by the width.
    fixed = [line for line in shown.splitlines() if not re.search("[⠁-⣿…└]", line)]
    assert len(fixed) > 5
    for line in fixed:
        assert " ".join(line.split()) in output


def test_the_arrays_are_those_of_the_result(read):
    folder, printed = read
    samples = np.loadtxt(folder / "samples.csv")
    trace, mean, error = map(float, next(v for s, v in printed.items() if "ddof" in s).split())
    assert trace == pytest.approx(mean)
    assert mean == pytest.approx(samples.mean())
    assert error == pytest.approx(samples.std(ddof=1) / len(samples) ** 0.5)
    assert len(np.loadtxt(folder / "loss.csv")) == 15


def test_the_pictures_are_there(read):
    folder, _ = read
    assert (folder / "training.pdf").read_bytes().startswith(b"%PDF")
    assert (folder / "ours.png").read_bytes().startswith(b"\x89PNG")
    assert len(list(folder.glob("training-????????.png"))) == 1
