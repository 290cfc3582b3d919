"""``llt run``, ``results`` and ``export`` as a user meets them: in a shell, from names to files."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest

TINY = ("--arch", "mlp:width=8,depth=1", "--set", "train.epochs=2", "--threads", "1")


@pytest.fixture(scope="module")
def llt(tmp_path_factory):
    """Return a function that runs llt in a folder of its own."""
    home = tmp_path_factory.mktemp("home")

    def call(*arguments, cwd=home, **environment):
        return subprocess.run(
            [sys.executable, "-m", "llt_core.cli.main", *map(str, arguments)],
            capture_output=True,
            text=True,
            cwd=cwd,
            timeout=300,
            env={
                **os.environ,
                "COLUMNS": "200",
                "LLT_OFFLINE": "1",
                "LLT_DATA": str(home / "no-data"),
                **environment,
            },
        )

    call.home = home
    return call


def words(text):
    """Return the text without lines, frames and wrapping."""
    return " ".join(re.sub(r"[│┃┏┓┗┛━┡┩─└┘┴┬╇╈]", " ", text).split())


def tree(folder):
    """Return every file with its time of change and size."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.stat().st_size)
        for path in folder.rglob("*")
    }


@pytest.fixture(scope="module")
def first(llt):
    """Train two models and measure them, once for this file."""
    done = llt(
        "run", "--task", "digits", *TINY, "--metric", "test_accuracy", "--metric", "train_loss",
        "--models", 2, "--seed", 7,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done


SAME = ("run", "--task", "digits", *TINY, "--metric", "test_accuracy", "--metric", "train_loss",
        "--models", 2, "--seed", 7)  # fmt: skip


def test_the_table_says_everything(first, llt):
    text = words(first.stdout)
    assert "digits · mlp(width=8, depth=1) · sgd lr 0.05 cosine, batch 64, 2 epochs" in text
    for row in (
        r"test_accuracy \d+\.\d ± \d\.\d+ percent 360 samples 7 [0-9a-f]{6} [\d.]+ new",
        r"test_accuracy \d+\.\d ± \d\.\d+ percent 360 samples 8 [0-9a-f]{6} [\d.]+ new",
        r"train_loss [\d.]+ nats 1437 samples 8 [0-9a-f]{6} [\d.]+ new",
    ):
        assert re.search(row, text), text
    assert "data: digits, published files (sha256:" in text
    assert f"store: {llt.home / 'llt-store'}" in text
    assert "train seed 7: new" in first.stderr
    assert "[6/6]" in first.stderr


def test_the_second_time_it_answers_from_the_store(first, llt):
    again = llt(*SAME)
    assert again.returncode == 0
    assert again.stderr.strip() == ""
    assert words(again.stdout) == words(first.stdout).replace(" new ", " cached ")


def test_json_holds_the_table_and_every_record(first, llt):
    done = llt(*SAME, "--json")
    assert done.returncode == 0

    def refuse(constant):
        raise AssertionError(constant)

    document = json.loads(done.stdout, parse_constant=refuse)
    assert [cell["kind"] for cell in document["cells"]] == ["train"] * 2 + ["measure"] * 4
    assert {cell["origin"] for cell in document["cells"]} == {"cached"}
    train = document["cells"][0]["record"]
    assert len(train["history"]) == 2
    assert train["checkpoint"]["sha256"]
    assert train["provenance"]["command"].startswith("llt run --task digits --arch")
    assert len(document["measurements"]) == 4
    row = document["measurements"][0]
    assert (row["name"], row["unit"], row["n"], row["seeds"]) == (
        "test_accuracy", "percent", 360, "7",
    )  # fmt: skip
    assert row["standard_error"] > 0
    assert row["train.learning_rate"] == 0.05
    assert row["data_verified"] is True


def test_dry_run_of_something_new_writes_nothing(llt, tmp_path):
    metric = ("--metric", "test_loss")
    done = llt("run", "--task", "digits", *TINY, *metric, "--dry-run", cwd=tmp_path)
    assert done.returncode == 0
    assert list(tmp_path.iterdir()) == []
    text = words(done.stdout)
    assert re.search(r"train seed 0 [0-9a-f]{12} to do", text)
    assert re.search(r"test_loss seed 0 [0-9a-f]{12} to do", text)
    assert "2 of 2 cells to do" in text
    assert "time is unknown" in text
    assert "MiB of checkpoints" in text


def test_dry_run_of_something_known_says_what_is_cached_and_what_it_takes(first, llt):
    store = llt.home / "llt-store"
    cells = tree(store / "cells")
    done = llt(*SAME[:-4], "--models", 3, "--seed", 7, "--dry-run")
    text = words(done.stdout)
    assert re.search(r"train seed 8 [0-9a-f]{12} cached", text)
    assert re.search(r"train seed 9 [0-9a-f]{12} to do", text)
    assert re.search(r"3 of 9 cells to do: about [\d.]+ s; ", text)
    document = json.loads(llt(*SAME, "--dry-run", "--json").stdout)
    assert [cell["cached"] for cell in document["cells"]] == [True] * 6
    assert document["estimate"] == {"seconds": 0.0, "unknown": 0, "checkpoint_bytes": 0}
    assert tree(store / "cells") == cells


def test_force_computes_again_and_gets_the_same(first, llt):
    before = json.loads(llt(*SAME, "--json").stdout)
    done = llt(*SAME, "--force", "--json")
    assert done.returncode == 0
    after = json.loads(done.stdout)
    assert {cell["origin"] for cell in after["cells"]} == {"new"}
    for old, new in zip(before["cells"], after["cells"], strict=True):
        assert old["digest"] == new["digest"]
        assert old["record"]["checkpoint"] == new["record"]["checkpoint"]
        assert old["record"]["measurements"] == new["record"]["measurements"]


def test_results_lists_what_the_store_holds(first, llt):
    done = llt("results")
    assert done.returncode == 0
    assert words(done.stdout).count("test_accuracy") == 2
    assert "4 measurement(s) in" in done.stdout
    table = json.loads(llt("results", "--metric", "train_loss", "--json").stdout)
    assert {row["name"] for row in table} == {"train_loss"}
    assert len(table) == 2
    assert json.loads(llt("results", "--task", "svhn", "--json").stdout) == []
    assert "no such measurements in" in llt("results", "--task", "svhn").stdout
    for option, wrong, right in (
        ("--metric", "train_los", "train_loss"),
        ("--task", "digts", "digits"),
    ):
        done = llt("results", option, wrong, "--json")
        assert (done.returncode, done.stdout) == (2, "")
        assert f"did you mean {right}?" in done.stderr


def test_export_writes_both_formats_alike(first, llt, tmp_path):
    for name in ("t.csv", "t.parquet"):
        done = llt("export", "-o", tmp_path / name)
        assert done.returncode == 0, done.stderr
        assert "4 rows written" in done.stderr
    csv, parquet = pd.read_csv(tmp_path / "t.csv"), pd.read_parquet(tmp_path / "t.parquet")
    assert list(csv.columns) == list(parquet.columns)
    assert csv["value"].tolist() == parquet["value"].tolist()
    assert sorted(csv["metric"]) == ["llt/test_accuracy"] * 2 + ["llt/train_loss"] * 2
    assert csv["architecture.width"].tolist() == [8] * 4
    assert llt("export").stdout == (tmp_path / "t.csv").read_text()


def test_the_store_can_be_elsewhere(llt, tmp_path):
    arguments = ("run", "--task", "digits", *TINY, "--quiet", "--json")
    done = llt(*arguments, cwd=tmp_path, LLT_STORE=str(tmp_path / "a"))
    assert json.loads(done.stdout)["store"] == str(tmp_path / "a")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    again = llt(*arguments, "--store", "a", cwd=tmp_path, LLT_STORE=str(tmp_path / "b"))
    assert json.loads(again.stdout)["cells"][0]["origin"] == "cached"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_some_cells_failed_is_exit_one(llt, tmp_path):
    (tmp_path / "my_broken_metric.py").write_text(
        "from llt_core.interfaces import Metric, Quantity\n"
        "class Broken(Metric):\n"
        "    summary = 'raises'\n"
        "    returns = (Quantity(name='broken', unit='', description=''),)\n"
        "    def measure(self, context):\n"
        "        raise ZeroDivisionError('on purpose')\n"
    )
    (tmp_path / "llt.toml").write_text(
        '[broken]\nkind = "metric"\ntarget = "my_broken_metric:Broken"\nsummary = "raises"\n'
    )
    metrics = ("--metric", "broken", "--metric", "test_loss")
    done = llt("run", "--task", "digits", *TINY, *metrics, cwd=tmp_path)
    assert done.returncode == 1
    text = words(done.stdout)
    assert "test_loss" in text
    assert "broken seed 0: ZeroDivisionError: on purpose" in text
    assert "Traceback" not in done.stdout + done.stderr
    (file,) = (tmp_path / "llt-store" / "failures").glob("*/1.json")
    assert str(file) in text
    assert "in measure" in json.loads(file.read_text())["traceback"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--task", "digist"], ["no task is called 'digist'", "did you mean digits"]),
        (["--task", "digits", "--metric", "hesian_trace"], ["did you mean hessian_trace"]),
        (["--task", "digits", "--arch", "mlp:widht=3"], ["no parameter 'widht'", "llt show mlp"]),
        (["--task", "digits", "--set", "train.epochs=0"], ["train.epochs = 0", "at least 1"]),
        (["--task", "digits", "--set", "train.epoch=3"], ["did you mean train.epochs?"]),
        (["--task", "digits", "--set", "epochs=3"], ["there is no field 'epochs'", "train.X"]),
        (["--task", "digits", "--set", "seed=-1"], ["seed = -1"]),
        (["--task", "digits", "--set", "train.epochs"], ["KEY=VALUE"]),
        (["--task", "digits", "--set", "train.learning_rate=Infinity"], ["finite"]),
        (["--task", "digits", "--perturb", "label_noise"], ["needs the parameter 'fraction'"]),
        (["--task", "digits", "--device", "gpu"], ["no device is called 'gpu'", "--device auto"]),
        (["--task", "digits", "--models", "0"], ["--models"]),
        ([], ["--task"]),
    ],
)
def test_a_wrong_request_is_exit_two_and_says_what_to_do(llt, tmp_path, arguments, says):
    done = llt("run", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    text = " ".join((done.stdout + done.stderr).split())
    for part in says:
        assert part in text
    assert "Traceback" not in text


def test_missing_data_is_told_with_both_ways_on(llt, tmp_path):
    root = tmp_path / "data"
    for extra in ((), ("--set", "task.verify=false"), ("--dry-run", "--set", "task.verify=false")):
        arguments = ("run", "--task", "svhn", "--metric", "hessian_trace", "--data-root", root)
        done = llt(*arguments, *extra, cwd=tmp_path)
        assert done.returncode == 2
        text = " ".join(done.stderr.split())
        for part in (
            "train_32x32.mat",
            "test_32x32.mat",
            str(root),
            "put them there",
            "--data-root",
            "--task digits",
        ):
            assert part in text
        assert "Traceback" not in text
        assert not root.exists()


def test_a_folder_that_is_no_store_is_left_alone(llt, tmp_path):
    (tmp_path / "thesis.tex").write_text("dear")
    done = llt("run", "--task", "digits", *TINY, "--store", tmp_path)
    assert done.returncode == 2
    assert "not empty and not a store" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    for command in ("results", "export"):
        done = llt(command, "--store", tmp_path / "none")
        assert done.returncode == 2
        assert "there is no store here" in done.stderr
        assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("moment", [0.0, 5.0])
def test_interrupted_by_the_user(tmp_path, moment):
    store = tmp_path / "store"
    process = subprocess.Popen(
        [
            sys.executable, "-m", "llt_core.cli.main", "run", "--task", "digits", *TINY,
            "--set", "train.epochs=1000000", "--store", str(store),
        ],
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )  # fmt: skip
    end = time.monotonic() + 60
    while not (store / "tmp").is_dir() and time.monotonic() < end:
        time.sleep(0.05)
    time.sleep(moment)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    # A signal that meets exec() of a text (dataclasses are made so) is raised once more by
    # CPython as it ends; every shell calls that 130, too.
    assert process.returncode in (130, -signal.SIGINT), err
    assert "Interrupted." in err
    assert "Traceback" not in err
    assert list((store / "tmp").iterdir()) == []
    assert not (store / "cells").exists()
    assert not (store / "failures").exists()


def test_results_says_once_what_is_the_same_in_all_lines(first, llt):
    lines = llt("results").stdout.splitlines()
    assert lines[:2] == ["data: digits", "network: mlp"]
    assert lines[2].split() == ["metric", "value", "±", "s.e.", "n", "seed", "cell"]
    assert [line.split()[0] for line in lines[3:7]] == ["test_accuracy"] * 2 + ["train_loss"] * 2
