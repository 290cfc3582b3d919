"""``llt show-result`` on a store that ``llt run`` has written."""

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from llt_core.cli.main import main
from llt_core.store import Store

METRICS = """
import numpy as np
from llt_core.interfaces import Figure, Measurement, Metric, Quantity

class Wave(Metric):
    summary = "a wave"
    returns = (Quantity(name="wave", unit="nats", description="its height"),)

    def measure(self, context):
        t = np.linspace(0, 1, 21)
        line = Figure(
            kind="line", title="The wave", x="t", y=("height",), band=("error",),
            x_label="t", y_label="height (nats)",
        )
        arrays = {"t": t, "height": np.sin(6 * t), "error": 0 * t + 0.1, "grid": np.eye(2)}
        return [
            Measurement(name="wave", value=1.0, standard_error=0.1, unit="nats", n=21,
                        counted="points", details={"split": "train", "peaks": [1, 2]},
                        arrays=arrays, figures=(line,))
        ]
"""
SETTINGS = '[wave]\nkind = "metric"\ntarget = "wave_metrics:Wave"\nsummary = "a wave"\n'


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with a store in it: two models, each with a curve and a plain number."""
    home = tmp_path_factory.mktemp("home")
    (home / "wave_metrics.py").write_text(METRICS)
    (home / "llt.toml").write_text(SETTINGS)
    words = [
        "run", "--task", "digits", "--arch", "mlp:width=4,depth=1", "--set", "train.epochs=2",
        "--threads", "1", "--models", "2", "--metric", "wave", "--metric", "test_loss", "--quiet",
    ]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "llt_core.cli.main", *words],
        cwd=home, capture_output=True, text=True,
        env={**os.environ, "LLT_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return home


@pytest.fixture
def llt(home, monkeypatch, capsys):
    """Return a function that runs a command and returns its code, output and errors."""
    monkeypatch.chdir(home)
    monkeypatch.setenv("COLUMNS", "90")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.delenv("LLT_STORE", raising=False)

    def call(*words):
        code = main([str(word) for word in words])
        return code, *capsys.readouterr()

    return call


def test_a_measurement_with_its_curve_and_origin(llt, home):
    code, out, err = llt("show-result", "wave seed 1")
    assert (code, err) == (0, "")
    store = Store(home / "llt-store")
    (digest,) = [d for d in store.digests() if d in out]
    record = store.read(digest)
    for words in (
        f"wave seed 1 · {digest}",
        "digits · mlp(width=4, depth=1) · sgd",
        "wave     1.00 ± 0.10  nats 21 points ok",
        'wave: split = train  peaks = [1, 2]',
        "The wave\nheight (nats)\n",
        "dots: ± one standard error",
        "wave/height 21    float64 -0.9962 … 0.9975",
        "wave/grid   2 × 2 float64 0 … 1",
        f"llt {record.provenance['llt']}, torch {record.provenance['versions']['torch']}",
        "device: cpu, float32, 1 thread(s)",
        f"data: {record.provenance['data']['fingerprint'][:19]}…, published files, 1437 train",
        f"derived seeds: seed {record.provenance['seed']}, sample_seed",
        f"models: {record.cell.models[0][:8]}",
        "command: llt run --task digits",
        f"folder: {store.path(digest)}",
    ):  # fmt: skip
        assert words in out
    assert "\x1b" not in out
    assert sum(0x2800 < ord(character) < 0x2900 for character in out) > 50


def test_a_trained_model_with_its_history(llt):
    code, out, _ = llt("show-result", "train seed 0")
    assert code == 0
    told = " ".join(out.split())
    assert "2 epochs in" in told
    assert "checkpoint: model.safetensors, " in told
    assert "after epoch 2, " in told
    assert "trainable parameters, sha256 " in told
    for title in ("Training loss\nloss (nats)", "Training accuracy\naccuracy (percent)"):
        assert title in out
    assert "history/train_loss     2     float64" in out


def test_a_result_without_arrays(llt):
    code, out, _ = llt("show-result", "test_loss seed 0")
    assert code == 0
    assert "360 samples" in out
    assert "array" not in out


def test_json_has_everything(llt, home):
    _, out, _ = llt("show-result", "wave seed 0", "--json")
    document = json.loads(out)
    assert document["label"] == "wave seed 0"
    digest = document["record"]["digest"]
    assert Path(document["folder"]) == Store(home / "llt-store").path(digest)
    record = Store(home / "llt-store").read(digest)
    assert document["record"] == record.model_dump(mode="json")
    assert document["record"]["measurements"][0]["figures"][0]["title"] == "The wave"
    names = {facts["name"]: facts["shape"] for facts in document["arrays"]}
    assert names == {"wave/t": [21], "wave/height": [21], "wave/error": [21], "wave/grid": [2, 2]}


def test_arrays_as_csv_are_the_same_numbers(llt):
    t = np.linspace(0, 1, 21)
    for name in ("height", "wave/height"):
        _, out, err = llt("show-result", "wave seed 0", "--array", name)
        assert np.array_equal(np.loadtxt(io.StringIO(out)), np.sin(6 * t))
        assert err == ""
    _, out, _ = llt("show-result", "wave seed 0", "--array", "grid")
    assert list(csv.reader(io.StringIO(out))) == [["1.0", "0.0"], ["0.0", "1.0"]]
    _, out, _ = llt("show-result", "train seed 0", "--array", "epoch")
    assert out == "1\n2\n"


@pytest.mark.parametrize("width", [40, 64, 120])
def test_the_width_is_kept(llt, width):
    _, out, _ = llt("show-result", "wave seed 0", "--width", width)
    free = ("command:", "folder:", "wave seed 0")  # to be copied whole
    lines = [line for line in out.splitlines() if not line.startswith(free)]
    assert max(map(len, lines)) <= width
    assert max(map(len, lines)) > width - 10


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["wvae seed 0"], ["no cell answers to 'wvae seed 0'", "did you mean", "wave seed 0"]),
        (["wave"], ["2 cells answer to 'wave'", "wave seed 0 (digits · mlp)", "wave seed 1"]),
        (["0000"], ["no cell answers to '0000'", "llt results"]),
        (["0a"], ["too short for a digest"]),
        (["wave seed 0", "--array", "hieght"], ["no array 'hieght'", "one of wave/height"]),
        (["wave seed 0", "--array", "t", "--json"], ["--array prints CSV"]),
        (["wave seed 0", "--store", "nowhere"], ["there is no store here"]),
        (["wave seed 0", "--width", "5"], ["5 is not in the range"]),
        ([], ["Missing argument"]),
    ],
)
def test_a_wrong_request_is_exit_two_and_says_what_to_do(llt, words, says):
    code, out, err = llt("show-result", *words)
    assert (code, out) == (2, "")
    for part in says:
        assert part in " ".join(err.split())


def test_a_figure_that_cannot_be_drawn_costs_only_itself(llt, home, tmp_path):
    import shutil

    shutil.copytree(home / "llt-store", tmp_path / "store")
    _, out, _ = llt("show-result", "wave seed 0", "--json")
    folder = Store(tmp_path / "store").path(json.loads(out)["record"]["digest"])
    (folder / "arrays.safetensors").unlink()
    code, out, _ = llt("show-result", folder.name, "--store", tmp_path / "store")
    assert code == 0
    assert "1.00 ± 0.10" in out
    assert "draws the array 't', which is not stored: not drawn" in out


WATCH = """
import sys
from llt_core.cli.main import main
code = main(sys.argv[1:])
slow = [m for m in ("torch", "pandas", "sklearn", "matplotlib") if m in sys.modules]
sys.exit(f"imported {slow}" if slow else code)
"""


@pytest.mark.parametrize("more", [(), ("--json",), ("--array", "t")])
def test_nothing_slow_is_imported(home, more):
    done = subprocess.run(
        [sys.executable, "-c", WATCH, "show-result", "wave seed 0", *more],
        cwd=home, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
