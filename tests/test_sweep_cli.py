"""``llt sweep``, ``status``, and ``results`` and ``export`` of a sweep, in a shell."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest

from llt_core.cli.main import main

FILE = """\
title = "A try"
task = "digits"
architecture = "mlp:depth=1"
metrics = ["train_loss", "test_accuracy", "cka"]
models = 2

[train]
epochs = 1

[axes.load]
field = "architecture.width"
values = [4, 8]

[axes.temperature]
field = "train.batch_size"
values = [32, 128]

[profiles.more]
models = 3
"""
THREADS = ("--threads", "1")


@pytest.fixture(scope="module")
def llt(tmp_path_factory):
    """Return a function that runs llt in a folder with a sweep file."""
    home = tmp_path_factory.mktemp("home")
    (home / "try.toml").write_text(FILE)

    def call(*arguments, cwd=home, **environment):
        return subprocess.run(
            [sys.executable, "-m", "llt_core.cli.main", *map(str, arguments)],
            capture_output=True,
            text=True,
            cwd=cwd,
            timeout=300,
            env={**os.environ, "COLUMNS": "200", "LLT_OFFLINE": "1", **environment},
        )

    call.home = home
    return call


def words(text):
    return " ".join(text.split())


@pytest.fixture(scope="module")
def first(llt):
    """Run the sweep, once for this file."""
    done = llt("sweep", "try.toml", *THREADS)
    assert done.returncode == 0, done.stderr
    return done


def test_a_dry_run_tells_everything_and_writes_nothing(llt, tmp_path):
    done = llt("sweep", llt.home / "try.toml", "--dry-run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []
    text = words(done.stdout)
    assert "try: A try 4 grid points, 8 models, 20 measurements" in text
    for line in (
        "train 8 0 8 unknown",
        "cka 4 0 4 unknown",
        "architecture.width (load) all in the store to do time 4 14 0 14 unknown 8 14 0 14 unknown",
        "train.batch_size (temperature) all in the store to do time 32 14 0 14",
        "28 of 28 cells to do: 28 unlike any finished one",
        "8 checkpoints of unknown size (--sizes tells)",
    ):
        assert line in text, line
    sized = llt("sweep", llt.home / "try.toml", "--dry-run", "--sizes", cwd=tmp_path)
    assert re.search(r"[\d.]+ MiB of checkpoints", words(sized.stdout))


def test_one_row_a_grid_point(first, llt):
    text = words(first.stdout)
    assert "width batch_size train_loss (nats) test_accuracy (percent) cka" in text, first.stdout
    for row in (r"4 32 [\d.]+ ± [\d.]+ [\d.]+ ± [\d.]+ [\d.–]+", r"8 128 [\d.]+ ± [\d.]+ "):
        assert re.search(row, text), first.stdout
    assert "4 grid points, 28 cells: 28 new" in text
    assert "llt export --sweep try -o try.csv" in text
    assert "[28/28]" in first.stderr
    assert "28 cells to do, 0 in the store" in first.stderr
    assert re.search(r"\(width=8, batch_size=128\): new in [\d.]+ s", first.stderr)


def test_the_second_time_it_answers_from_the_store(first, llt):
    again = llt("sweep", "try.toml", *THREADS)
    assert again.returncode == 0
    assert again.stderr == ""
    assert words(again.stdout) == words(first.stdout).replace("28 new", "28 cached")
    dry = llt("sweep", "try.toml", "--dry-run")
    assert "everything is in the store: nothing to do" in dry.stdout


def test_known_cells_tell_what_others_cost(first, llt):
    done = llt("sweep", "try.toml", "--profile", "more", "--dry-run", "--json")
    document = json.loads(done.stdout)
    assert (document["sweep"], document["cells"], document["todo"]) == ("try-more", 48, 20)
    assert document["cost"]["unknown"] == document["cost"]["unsized"] == 0
    assert document["cost"]["seconds"] > 0
    assert document["kinds"]["train"]["todo"] == 4
    (narrow, wide) = document["axes"]["architecture.width"]
    assert (narrow["value"], narrow["cells"], narrow["todo"]) == (4, 24, 10)
    bytes_of = [side["cost"]["checkpoint_bytes"] for side in (narrow, wide)]
    assert 0 < bytes_of[0] < bytes_of[1]
    assert sum(bytes_of) == document["cost"]["checkpoint_bytes"]


def test_cells_are_shared_with_runs(first, llt):
    done = llt(
        "run", "--task", "digits", "--arch", "mlp:depth=1,width=8", "--set", "train.epochs=1",
        "--set", "train.batch_size=32", "--metric", "test_accuracy", "--models", 2, "--json",
    )  # fmt: skip
    assert {cell["origin"] for cell in json.loads(done.stdout)["cells"]} == {"cached"}


def test_json_of_a_sweep(first, llt):
    document = json.loads(llt("sweep", "try.toml", "--json", *THREADS).stdout)
    assert document["sweep"] == "try"
    assert document["fields"] == ["architecture.width", "train.batch_size"]
    assert [point["values"]["architecture.width"] for point in document["points"]] == [4, 4, 8, 8]
    mean = document["points"][0]["means"]["test_accuracy"]
    assert (mean["n"], mean["of"], mean["unit"]) == (2, 2, "percent")
    mine = [
        row["value"]
        for row in document["measurements"]
        if row["name"] == "test_accuracy" and row["architecture.width"] == 4
        and row["train.batch_size"] == 32
    ]  # fmt: skip
    assert mean["value"] == pytest.approx(sum(mine) / 2)
    assert mean["standard_error"] == pytest.approx(abs(mine[0] - mine[1]) / 2)
    assert {cell["origin"] for cell in document["cells"]} == {"cached"}


def test_results_and_export_of_a_sweep(first, llt, tmp_path):
    llt("run", "--task", "digits", "--arch", "mlp:width=3,depth=1", "--set", "train.epochs=1",
        "--metric", "test_loss", *THREADS)  # fmt: skip
    done = llt("results", "--sweep", "try")
    assert "20 measurement(s)" in done.stdout
    assert re.search(r"4 +32 +train_loss", done.stdout)
    assert "test_loss" not in done.stdout
    table = json.loads(llt("results", "--sweep", "try", "--metric", "cka", "--json").stdout)
    assert [(row["architecture.width"], row["train.batch_size"]) for row in table] == [
        (4, 32), (4, 128), (8, 32), (8, 128),
    ]  # fmt: skip
    for name in ("t.csv", "t.parquet"):
        done = llt("export", "--sweep", "try", "-o", tmp_path / name)
        assert "20 rows written" in done.stderr, done.stderr
    csv, parquet = pd.read_csv(tmp_path / "t.csv"), pd.read_parquet(tmp_path / "t.parquet")
    assert list(csv.columns) == list(parquet.columns)
    assert list(csv.columns[:2]) == ["architecture.width", "train.batch_size"]
    assert csv.groupby(["architecture.width", "train.batch_size"]).size().tolist() == [5] * 4
    assert len(pd.read_csv(pd.io.common.StringIO(llt("export").stdout))) == 21
    for command in ("results", "export", "status"):
        flag = () if command == "status" else ("--sweep",)
        done = llt(command, *flag, "gone")
        assert done.returncode == 2
        assert "knows no sweep 'gone'" in done.stderr
        assert "try" in done.stderr


def test_status_says_how_far(first, llt):
    text = words(llt("status").stdout)
    assert re.search(r"try 4/4 8/8 20/20 0 2\S+ A try", text), text
    text = words(llt("status", "try").stdout)
    assert "4 of 4 grid points are complete" in text
    assert "models 8 8 0 0 measurements 20 20 0 0" in text
    facts = json.loads(llt("status", "try", "--json").stdout)
    assert facts["models"] == {"all": 8, "done": 8}
    assert facts["failures"] == []


def test_some_cells_failed_is_exit_one(llt, tmp_path):
    (tmp_path / "big.toml").write_text(FILE.replace("[32, 128]", "[128, 2048]"))
    done = llt("sweep", "big.toml", *THREADS, cwd=tmp_path)
    assert done.returncode == 1
    assert "larger than the training split" in done.stderr
    text = words(done.stdout)
    assert "train seed 0 (width=4, batch_size=2048)" in text
    assert "28 cells: 14 new, 4 failed, 10 blocked" in text
    assert "Traceback" not in done.stdout + done.stderr
    facts = json.loads(llt("status", "big", "--json", cwd=tmp_path).stdout)
    assert facts["points"] == {"all": 4, "complete": 2}
    assert facts["models"] == {"all": 8, "done": 4, "failed": 4}
    assert facts["measurements"] == {"all": 20, "done": 10, "blocked": 10}
    assert {failure["kind"] for failure in facts["failures"]} == {"request"}
    shown = words(llt("status", "big", cwd=tmp_path).stdout)
    assert "2 of 4 grid points are complete" in shown
    assert "(train, attempt 1)" in shown
    quiet = llt("sweep", "big.toml", *THREADS, "--quiet", cwd=tmp_path)
    assert quiet.stderr == ""
    assert "14 cached, 4 failed, 10 blocked" in words(quiet.stdout)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["gone.toml"], ["no sweep file gone.toml", "llt sweep FILE.toml"]),
        (["try.toml", "--profile", "mor"], ["no profile 'mor'", "--profile more"]),
        (["try.toml", "--set", "axes.lode.values=[1]"], ["no axis 'lode'"]),
        (["try.toml", "--set", "train.batch_size=3"], ["the axis temperature varies it"]),
        (["try.toml", "--set", "train.epoch=3"], ["did you mean train.epochs?", "grid point"]),
        (["try.toml", "--set", "models=1"], ["compares models"]),
        (["try.toml", "--set", 'axes.load.values=["x"]'], ["width = 'x'", "width=x"]),
        (["try.toml", "--name", "a/b"], ["the name is that of a file"]),
        (["try.toml", "--device", "gpu"], ["no device is called 'gpu'"]),
        ([], ["FILE.toml"]),
    ],
)
def test_a_wrong_request_is_told_without_a_traceback(
    tmp_path, monkeypatch, capsys, arguments, says
):
    (tmp_path / "try.toml").write_text(FILE)
    monkeypatch.chdir(tmp_path)
    assert main(["sweep", *arguments]) == 2
    text = words("".join(capsys.readouterr()))
    for part in says:
        assert part in text
    assert "Traceback" not in text
    assert "--device" in arguments or not (tmp_path / "llt-store").exists()


def test_one_file_that_cannot_be_read_does_not_hide_the_other_sweeps(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "try.toml").write_text(
        FILE.replace('metrics = ["train_loss", "test_accuracy", "cka"]', "")
    )
    assert main(["sweep", "try.toml", "--set", "models=1", "--quiet", *THREADS]) == 0
    assert "over models" not in capsys.readouterr().out
    (tmp_path / "llt-store" / "sweeps" / "broken.json").write_text("{")
    assert main(["status"]) == 0
    text = words(capsys.readouterr().out)
    assert "try 4/4 4/4" in text
    assert "broken: cannot be read" in text
    assert main(["status", "--json"]) == 0
    everything = json.loads(capsys.readouterr().out)
    assert [facts["sweep"] for facts in everything["sweeps"]] == ["broken", "try"]
    assert everything["drivers"] == []


def test_a_varied_seed_and_a_varied_component_are_told_apart(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    text = 'task = "digits"\nmetrics = ["train_loss"]\ntrain.epochs = 1\ntrain.batch_size = 256\n'
    axes = 'seed = [3, 5]\narchitecture = ["mlp:width=4,depth=1", "mlp:width=8,depth=1"]\n'
    (tmp_path / "seeds.toml").write_text(f"{text}[axes]\n{axes}")
    assert main(["sweep", "seeds.toml", "--quiet", *THREADS]) == 0
    table = capsys.readouterr().out
    assert "mlp:width=4,depth=1" in table
    assert "over models" not in table
    assert main(["results", "--sweep", "seeds", "--task", "digits"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:2] == ["seed", "architecture"]
    assert lines[0].split()[-2:] == ["seeds", "cell"]
    first = lines[1].split()
    assert first[:2] == ["3", "mlp:width=4,depth=1"]
    assert first[-2] == "3"


def test_interrupted_and_gone_on_with(llt, tmp_path):
    (tmp_path / "long.toml").write_text(FILE)
    slow = ("sweep", "long.toml", "--set", "axes.load.values=[8]", *THREADS, "--store", "s")
    whole = llt(*slow[:-2], "--store", "undisturbed", "--json", cwd=tmp_path)
    process = subprocess.Popen(
        [sys.executable, "-m", "llt_core.cli.main", *slow],
        stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=tmp_path,
    )  # fmt: skip
    cells = tmp_path / "s" / "cells"
    end = time.monotonic() + 100
    while len(list(cells.glob("*/*"))) < 2 and time.monotonic() < end:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode in (130, -signal.SIGINT), err
    assert "Interrupted." in err
    assert "Traceback" not in err
    kept = len(list(cells.glob("*/*")))
    assert 2 <= kept < 14
    assert list((tmp_path / "s" / "tmp").iterdir()) == []
    facts = json.loads(llt("status", "long", "--store", "s", "--json", cwd=tmp_path).stdout)
    assert facts["models"]["done"] + facts["measurements"].get("done", 0) == kept
    again = json.loads(llt(*slow, "--json", cwd=tmp_path).stdout)
    origins = [cell["origin"] for cell in again["cells"]]
    assert origins.count("cached") == kept
    assert origins.count("new") == 14 - kept
    assert again["points"] == json.loads(whole.stdout)["points"]
