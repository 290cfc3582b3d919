"""``llt plot`` on a store with hand-made results; the picture itself is tested elsewhere."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from llt_core.cli.main import main
from llt_core.store import Store

kit = runpy.run_path(str(Path(__file__).parents[1] / "report" / "conftest.py"))
ARRAYS, FIGURES = kit["ARRAYS"], kit["FIGURES"]


@pytest.fixture
def cell(tmp_path):
    """One result with a curve and a map, in the store of the folder."""
    measurement = kit["Measurement"](
        name="wave", value=1.0, n=5, figures=(FIGURES["line"], FIGURES["matrix"])
    )
    record = kit["make_record"](0, metric="llt/wave", measurements=(measurement,))
    arrays = {f"wave/{name}": array for name, array in ARRAYS.items()}
    return kit["commit"](Store(tmp_path / "llt-store"), record, arrays)


@pytest.fixture
def llt(tmp_path, monkeypatch, capsys):
    """Return a function that runs a command in the folder of the store."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LLT_STORE", raising=False)

    def call(*words):
        code = main([str(word) for word in words])
        out, err = capsys.readouterr()
        assert out == ""
        return code, " ".join(err.split())

    return call


def test_the_default_name_says_what_it_is_and_is_replaced(llt, cell, tmp_path):
    name = f"wave-{cell.digest[:8]}.png"
    assert llt("plot", "wave seed 0") == (0, f"written to {name}")
    first = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(b"old")
    assert llt("plot", cell.digest[:6])[0] == 0
    assert (tmp_path / name).read_bytes() == first
    with Image.open(tmp_path / name) as image:
        assert image.width > image.height > 300  # two panels, side by side
        assert cell.digest in image.info["Source"]


@pytest.mark.parametrize(("ending", "begins"), [("pdf", b"%PDF"), ("svg", b"<?xml")])
def test_the_ending_chooses_the_format(llt, cell, tmp_path, ending, begins):
    assert llt("plot", "wave", "-o", f"sub.{ending}")[0] == 0
    content = (tmp_path / f"sub.{ending}").read_bytes()
    assert content.startswith(begins)
    assert cell.digest.encode() in content


def test_a_named_file_is_replaced_only_by_force(llt, cell, tmp_path):
    (tmp_path / "mine.png").write_bytes(b"dear")
    code, told = llt("plot", "wave", "-o", "mine.png")
    assert code == 2
    assert "mine.png is there already" in told
    assert "the same command with --force" in told
    assert (tmp_path / "mine.png").read_bytes() == b"dear"
    assert llt("plot", "wave", "-o", "mine.png", "--force")[0] == 0
    assert (tmp_path / "mine.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["wvae"], ["did you mean", "wave seed 0"]),
        (["wave", "-o", "a.jpg"], ["names no picture format", "png, pdf, svg"]),
        (["wave", "-o", "none/a.png"], ["cannot write the picture", "none/a.png"]),
        (["plain"], ["nothing to draw of plain", "numbers alone", "llt show-result"]),
        (["wave", "--store", "none"], ["there is no store here"]),
    ],
)
def test_a_wrong_request_is_exit_two_and_writes_nothing(llt, cell, tmp_path, words, says):
    kit["commit"](Store(tmp_path / "llt-store"), kit["make_record"](1, metric="llt/plain"))
    code, told = llt("plot", *words)
    assert code == 2
    for part in says:
        assert part in told
    assert {path.name for path in tmp_path.iterdir()} == {"llt-store"}


WITHOUT = """
import sys
sys.modules["matplotlib"] = None
from llt_core.cli.main import main
sys.exit(main(sys.argv[1:]))
"""
WATCH = """
import sys
from llt_core.cli.main import main
code = main(sys.argv[1:])
slow = [m for m in ("torch", "pandas", "matplotlib.pyplot") if m in sys.modules]
sys.exit(f"imported {slow}" if slow else code)
"""


def run(code, folder, *words):
    environment = {key: value for key, value in os.environ.items() if key != "DISPLAY"}
    return subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=folder,
        capture_output=True,
        text=True,
        env=environment | {"MPLBACKEND": "tkagg", "COLUMNS": "200"},
    )


def test_without_matplotlib_it_says_what_to_install(cell, tmp_path):
    done = run(WITHOUT, tmp_path, "plot", "wave")
    assert done.returncode == 2
    assert "drawing needs matplotlib, which is not installed" in done.stderr
    assert "next: pip install 'llt[report]'" in done.stderr
    assert "Traceback" not in done.stderr
    help_text = run(WITHOUT, tmp_path, "plot", "--help")
    said = " ".join(help_text.stdout.split())
    assert (help_text.returncode, "pip install 'llt[report]'" in said) == (0, True)


def test_it_needs_no_display_and_neither_torch_nor_pyplot(cell, tmp_path):
    done = run(WATCH, tmp_path, "plot", "wave", "-o", "a.png")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "a.png").is_file()
