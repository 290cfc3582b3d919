"""``llt plot --sweep`` on tables; the numbers in the pictures are tested elsewhere."""

import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from llt_core.cli.main import main

LINES = ["width,batch_size,train_loss,test_acc,log_trace,mc_train_err,cka_softmax"] + [
    f"{w},{b},{1 / w},{50 + w + b / 64},{8 - w / 2},{-4 if w < 8 else 0},{0.5 + w / 40}"
    for w in (2, 4, 8)
    for b in (16, 64, 256)
]


@pytest.fixture
def llt(tmp_path, monkeypatch, capsys):
    """Return a function that runs a command in a folder with two tables and without a store."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LLT_STORE", raising=False)
    (tmp_path / "grid.csv").write_text("\n".join(LINES))
    (tmp_path / "old.csv").write_text("\n".join(LINES[:7]))

    def call(*words):
        code = main(["plot", *map(str, words)])
        out, err = capsys.readouterr()
        assert out == ""
        return code, " ".join(err.split())

    return call


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ([], "grid-figure2.png"),
        (["--panel", "figure2"], "grid-figure2.png"),
        (
            ["--metric", "cka", "--x", "batch_size", "--y", "width"],
            "grid-cka-x-batch_size-y-width.png",
        ),
        (["--phases", "--where", "width > 2"], "grid-phases-where-width-2-197910.png"),
        (["--scatter", "cka"], "grid-scatter-cka.png"),
        (["--gain", "old.csv", "--metric", "cka"], "grid-gain-old-cka.png"),
    ],
)
def test_each_view_has_a_name_of_its_own(llt, tmp_path, words, name):
    assert llt("--sweep", "grid.csv", *words) == (0, f"written to {name}")
    with Image.open(tmp_path / name) as image:
        assert image.width > 600
        assert image.info["Source"] == "llt table grid"
        assert (
            "n = 6 cells where width > 2" in image.info["Title"] or "n = 9" in image.info["Title"]
        )


@pytest.mark.parametrize("ending", ["png", "pdf", "svg"])
def test_the_same_table_gives_the_same_bytes(llt, tmp_path, ending):
    for name in ("a", "b"):
        assert llt("--sweep", "grid.csv", "--phases", "-o", f"{name}.{ending}")[0] == 0
    first, second = ((tmp_path / f"{name}.{ending}").read_bytes() for name in ("a", "b"))
    assert first == second
    assert b"llt table grid" in first


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], ["nothing to draw is named", "llt plot --sweep NAME"]),
        (["--phases"], ["--phases needs a sweep or table"]),
        (["--where", "width > 1"], ["--where needs a sweep or table"]),
        (["c98c", "--sweep", "grid.csv"], ["at once"]),
        (["--sweep", "grid.csv", "--phases", "--curves"], ["--phases and --curves at once"]),
        (["--sweep", "grid.csv", "--metric", "ckb"], ["no column 'ckb'", "cka"]),
        (["--sweep", "grid.csv", "--x", "depth"], ["no axis 'depth'", "width"]),
        (["--sweep", "grid.csv", "--where", "width > 99"], ["no cell of grid.csv has width > 99"]),
        (["--sweep", "grid.csv", "--spectra"], ["grid is no sweep of the store"]),
        (["--sweep", "grid.csv", "--curves"], ["no curves along paths"]),
        (["--sweep", "grid.csv", "--phases", "--against", "cka"], ["belongs to --scatter"]),
        (["--sweep", "grid.csv", "--rule", "ckb=1"], ["no threshold", "--rule ckb=1", "cka"]),
        (["--sweep", "grid.csv", "--rule", "cka"], ["no value for cka", "--rule cka=NUMBER"]),
        (["--sweep", "none.csv"], ["no file none.csv"]),
        (["--sweep", "grid.csv", "-o", "a.jpg"], ["names no picture format"]),
        (["--sweep", "grid.csv", "-o", "old.csv"], ["old.csv is there already"]),
    ],
)  # fmt: skip
def test_a_wrong_request_is_exit_two_and_writes_nothing(llt, tmp_path, words, says):
    code, told = llt(*words)
    assert code == 2
    for part in says:
        assert part in told
    assert {path.name for path in tmp_path.iterdir()} == {"grid.csv", "old.csv"}


def test_thresholds_are_those_asked_for(llt, tmp_path):
    words = ("--sweep", "grid.csv", "--phases", "--rule", "train_loss=0.2", "--rule", "cka=0.1")
    assert llt(*words, "-o", "a.svg")[0] == 0
    assert "training loss ≥ 0.2 or ln trace ≥ 6" in (tmp_path / "a.svg").read_text("utf-8")


def test_three_cells_and_one_row_are_drawn(llt, tmp_path):
    assert llt("--sweep", "grid.csv", "--where", "batch_size == 16", "-o", "row.png")[0] == 0
    assert llt("--sweep", "grid.csv", "--where", "width == 2", "-o", "column.png")[0] == 0
    with Image.open(tmp_path / "row.png") as row, Image.open(tmp_path / "column.png") as column:
        assert "n = 3 cells" in row.info["Title"]
        assert not np.array_equal(np.asarray(row), np.asarray(column))


WATCH = """
import sys
from llt_core.cli.main import main
code = main(sys.argv[1:])
slow = [m for m in ("torch", "pandas", "sklearn", "matplotlib.pyplot") if m in sys.modules]
sys.exit(f"imported {slow}" if slow else code)
"""
WITHOUT = WATCH.replace("import sys", 'import sys\nsys.modules["matplotlib"] = None', 1)


@pytest.mark.parametrize(("code", "expected"), [(WATCH, 0), (WITHOUT, 2)])
def test_it_needs_no_display_and_says_what_to_install(llt, tmp_path, code, expected):
    environment = {key: value for key, value in os.environ.items() if key != "DISPLAY"}
    words = [sys.executable, "-c", code, "plot", "--sweep", "grid.csv", "--phases", "-o", "a.svg"]
    done = subprocess.run(
        words,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=environment | {"MPLBACKEND": "tkagg"},
    )
    assert done.returncode == expected, done.stderr
    assert (tmp_path / "a.svg").is_file() is (expected == 0)
    assert ("pip install 'llt[report]'" in done.stderr) is (expected == 2)


def test_a_column_with_a_slash_has_a_safe_file_name(llt, tmp_path):
    (tmp_path / "odd.csv").write_text("width,batch_size,<b>a/b</b>\n2,16,1\n4,16,2\n")
    assert llt("--sweep", "odd.csv", "--metric", "<b>a/b</b>")[0] == 0
    assert list(tmp_path.glob("odd-b-a-b-b-*.png"))


def test_no_two_pictures_share_a_name(llt, tmp_path):
    wanted = [
        ["--metric", "cka"],
        ["--metric", "cka", "--where", "width > 2"],
        ["--metric", "cka", "--where", "width < 8"],
        ["--metric", "cka", "--x", "batch_size"],
        ["--gain", "old.csv"],
        ["--gain", "old.csv", "--metric", "cka"],
        ["--scatter", "cka"],
        ["--scatter", "cka", "--against", "train_loss"],
        ["--phases"],
        ["--phases", "--rule", "cka=0.6"],
        ["--phases", "--relative-cka", "0.6"],
        ["--phases", "--where", f"width > 2 and {' and '.join(['batch_size > 1'] * 20)}"],
    ]
    said = [llt("--sweep", "grid.csv", *words) for words in wanted]
    assert {code for code, _ in said} == {0}
    assert len({told for _, told in said}) == len(list(tmp_path.glob("*.png"))) == len(wanted)
    assert llt("--sweep", "grid.csv", *wanted[1]) == said[1]  # its own picture, again
