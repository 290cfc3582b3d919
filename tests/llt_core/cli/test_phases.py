"""``llt phases`` on the published tables, on a large one, and on hardly any."""

import csv
import json
import runpy
from pathlib import Path

import pytest

from llt_core.cli.main import main

tables = runpy.run_path(str(Path(__file__).parents[1] / "analysis" / "phase_tables.py"))
needs_published = pytest.mark.skipif(not tables["there"](), reason="published tables not here")
COUNTS = {"lr_decay": [28, 13, 14, 16, 20], "constant_lr": [44, 87, 5, 17, 16]}


@pytest.fixture(autouse=True)
def narrow(monkeypatch, tmp_path):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LLT_STORE", str(tmp_path / "store"))


def published(name):
    return str(tables["SHARED"] / "published" / f"resnet18_cifar10_{name}.csv")


def write(table, path="table.csv"):
    """Write a table in wide form, under names that every reader knows."""
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*(axis.name.split(".")[-1] for axis in table.axes), *table.columns])
        values = [axis.values for axis in table.axes]
        values += [column.values.tolist() for column in table.columns.values()]
        for row in zip(*values, strict=True):
            writer.writerow(["" if value != value else value for value in row])
    return path


def asked(capsys, *arguments):
    assert main(["phases", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@needs_published
@pytest.mark.parametrize("name", COUNTS)
def test_the_published_tables(name, capsys):
    facts = asked(capsys, published(name))
    assert [phase["cells"] for phase in facts["phases"]] == COUNTS[name]
    claims = {claim["name"]: claim["verdict"] for claim in facts["claims"]}
    assert claims["accuracy_order"] == claims["best_predictor"] == "holds"
    best = max(
        (c for c in facts["correlations"]["converged"] if c["predictor"]),
        key=lambda c: abs(c["spearman"]["value"]),
    )
    assert best["column"].startswith("cka")
    assert len(facts["by_cell"]) == facts["cells"] == sum(COUNTS[name])
    assert all(row["reason"] for row in facts["by_cell"])
    assert all(row["probabilities"] is None for row in facts["by_cell"])


@needs_published
def test_it_is_readable_at_eighty_columns(capsys):
    assert main(["phases", published("constant_lr")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    assert "III       5 78.63 [76.62, 80.65]" in text
    assert "holds: Mean test accuracy orders I < {II, III} < IV-A < IV-B" in text
    assert "…" not in text
    assert "(file resnet18_cifar10_constant_lr.csv)" in text


@needs_published
def test_rows_and_thresholds_can_be_chosen(capsys):
    facts = asked(capsys, published("lr_decay"), "--where", "width>1 and batch_size<=256")
    assert (facts["rows"], facts["cells"]) == (91, 63)
    all_cells = asked(
        capsys, published("lr_decay"), "--rule", "train_loss=99", "--rule", "log_trace=99"
    )
    assert all_cells["counts"]["I"] == 0
    assert all_cells["rule"]["train_loss"] == 99
    relative = asked(capsys, published("lr_decay"), "--relative-cka", "0.5")
    assert relative["relative_cka"] == 0.5
    assert relative["counts"]["IV-A"] == relative["counts"]["IV-B"] == 18
    fitted = asked(capsys, published("lr_decay"), "--fit")
    assert fitted["fit"]["held_out_score"] > fitted["fit"]["held_out_default_score"]
    assert fitted["rule"]["cka"] == fitted["fit"]["rule"]["cka"]
    assert main(["phases", published("lr_decay"), "--fit"]) == 0
    said = capsys.readouterr().out
    assert "left-out phases agree with the full fit on" in said
    (line,) = (line for line in said.splitlines() if line.startswith("in other commands: "))
    again = asked(capsys, published("lr_decay"), *line.partition(": ")[2].split())
    assert again["rule"] == fitted["rule"]
    assert again["counts"] == fitted["counts"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--rule", "ckaa=1"], "the rule has no threshold 'ckaa'"),
        (["--rule", "cka"], "expected: a finite number"),
        (["--rule", "cka=high"], "--rule cka=high"),
        (["--rule", "cka=nan"], "--rule cka=nan"),
        (["--rule", "unconverged=-5"], "no cell would be well connected"),
        (["--where", "widht > 1"], "one of width"),
        (["--where", "width > 1000"], "no cell of table is left"),
        (["--fit", "--rule", "cka=1"], "--fit with thresholds of your own"),
        (["--fit"], "cells of table have all that thresholds are fitted to"),
        (["--relative-cka", "0.5", "--rule", "cka=0.5"], "a number and a quantile"),
        (["--relative-cka", "2"], "is not in the range"),
    ],
)
def test_wrong_requests(arguments, words, capsys):
    path = write(tables["grid"](9))
    assert main(["phases", path, *arguments]) == 2
    error = " ".join(capsys.readouterr().err.split())
    assert words in error
    assert "Traceback" not in error


@pytest.mark.parametrize("rows", [1, 3])
def test_a_few_cells(rows, capsys):
    path = write(tables["grid"](4).select([row < rows for row in range(4)]))
    facts = asked(capsys, path)
    assert facts["cells"] == rows
    assert sum(facts["counts"].values()) == rows
    assert {claim["verdict"] for claim in facts["claims"]} <= {"cannot be said", "does not hold"}
    assert main(["phases", path]) == 0
    assert f"table: {rows} cells" in capsys.readouterr().out


def test_no_cells_and_no_name(capsys):
    path = write(tables["grid"](4).select([False] * 4))
    assert main(["phases", path]) == 2
    capsys.readouterr()
    assert main(["phases"]) == 2
    error = capsys.readouterr().err
    assert "which one? The store has 0 sweeps and tables" in error
    assert "llt phases FILE.csv" in error
    assert main(["phases", "nothing"]) == 2


def test_what_is_missing_is_said(capsys):
    table = tables["grid"](25)
    values = table.columns["cka"].values
    values[:] = float("nan")
    facts = asked(capsys, write(table))
    found = facts["undetermined"]
    assert sum(group["cells"] for group in found) == facts["counts"]["undetermined"] > 0
    assert found[0]["reason"].startswith("no cka")
    cka = next(c for c in facts["correlations"]["all"] if c["column"] == "cka")
    assert (cka["n"], cka["missing"], cka["spearman"]["value"]) == (0, 25, None)


def test_ten_thousand_cells(capsys):
    """That it works; how long it takes is for benchmarks/phases.py, on a machine left alone."""
    facts = asked(capsys, write(tables["grid"](10_000)))
    assert facts["cells"] == 10_000
    assert len(facts["correlations"]["all"]) >= 7


def test_a_kept_table_of_means(capsys, tmp_path):
    from llt_core.store import Store
    from llt_core.store.kept import keep_table
    from llt_core.store.tables import as_rows, open_table

    with open("means.csv", "w") as file:
        file.write("width,train_loss,hessian_trace,mode_connectivity,cka,test_accuracy\n")
        file.writelines(f"{w},0.0{w},100,-0.5,0.{w},9{w}\n" for w in range(1, 7))
    table = open_table("means.csv")
    kinds = {axis.name: axis.kind for axis in table.axes}
    keep_table(Store(tmp_path / "store"), "means", as_rows(table), kinds=kinds, origin="a file")
    facts = asked(capsys, "means")
    assert sum(phase["cells"] for phase in facts["phases"]) == 6
    assert all(row["probabilities"] is None for row in facts["by_cell"])
    assert facts["converged_by"] == "train_loss"
    assert facts["converged"] == 4
    assert facts["inferred"] is None
    assert main(["phases", "means"]) == 0
    assert "4 converged (train loss < 0.05" in capsys.readouterr().out


def test_the_few_correlations_that_matter(capsys):
    strange = [f"mode_connectivity_train_loss_barrier_{k:02}" for k in range(12)]
    with open("many.csv", "w") as file:
        head = ["width", "test_accuracy", "train_accuracy", "train_loss", "cka", "cka_logits"]
        file.write(",".join([*head, *strange]) + "\n")
        for w in range(1, 13):
            # The further down the list, the further from the order of the accuracies.
            noise = [w + k * (w * 5 % 12) for k in range(12)]
            row = [w, 80 + w, 100, 1 / w, w**2, -w % 5, *noise]
            file.write(",".join(map(str, row)) + "\n")
    assert main(["phases", "many.csv"]) == 0
    few = capsys.readouterr().out
    assert main(["phases", "many.csv", "--all"]) == 0
    every = capsys.readouterr().out
    for name in ("train_loss", "cka", "cka_logits", strange[0]):
        assert f"\n{name} " in few
    assert strange[-1] not in few
    assert few.count("more columns: --all, or --json") == 2
    assert "more columns" not in every
    for name in strange:  # whole, at eighty columns
        assert f"\n{name} " in every
    assert max(map(len, every.splitlines())) <= 80


def test_a_mean_accuracy_is_a_percentage(capsys):
    with open("two.csv", "w") as file:
        file.write("width,train_loss,mode_connectivity,test_accuracy\n1,1,-5,99\n2,1,-5,80\n")
        file.write("3,1,5,1\n4,1,5,9\n")
    first, second = asked(capsys, "two.csv")["phases"][:2]
    assert (first["mean_test_accuracy"], first["interval"][1]) == (89.5, 100)
    assert (second["mean_test_accuracy"], second["interval"][0]) == (5, 0)


def test_long_names_leave_numbers_whole(capsys):
    rows = range(12)
    name = "mode_connectivity_of_a_very_long_measured_quantity_with_a_name_beyond_reason"
    with open("long.csv", "w") as file:
        file.write(f"width,test_accuracy,train_accuracy,{name}\n")
        file.writelines(f"{w + 1},{90 - w},100,{-w % 5}\n" for w in rows)
    assert main(["phases", "long.csv"]) == 0
    facts_text = capsys.readouterr().out
    facts = asked(capsys, "long.csv")
    assert max(map(len, facts_text.splitlines())) <= 80
    assert "…" not in facts_text
    found = next(c for c in facts["correlations"]["all"] if c["column"] == name)["spearman"]
    line = next(x for x in facts_text.splitlines() if f"{found['value']:+.3f}" in x)
    assert f"[{found['low']:.2f}, {found['high']:.2f}]" in line
    assert "  12 " in line or " 12 " in line


def test_cells_without_a_phase_keep_none(capsys):
    from rich.console import Console

    from llt_core.cli.phases_text import _print_certainty

    sure = {"IV-A": 1.0, "undetermined": 0.0}
    rows = [
        {"phase": "IV-A", "probabilities": sure},
        {"phase": None, "probabilities": {"IV-A": 0.0, "undetermined": 1.0}},
    ]
    _print_certainty(Console(width=200), rows)
    assert "1 of 1 cells with a phase" in capsys.readouterr().out
