"""``llt results`` and ``llt export`` on tables that were imported, and what replaces these."""

import csv
import io
import json
from pathlib import Path

import pytest

from llt_core.cli.main import main

CELLS = "width,batch_size,train_loss,cka\n2,32,0.5,0.6\n4,64,0.25,0.7\n"


@pytest.fixture
def llt(tmp_path, monkeypatch, capsys):
    """Return a function that runs a command in a folder whose store holds one imported table."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LLT_STORE", raising=False)
    Path("cells.csv").write_text(CELLS)
    assert main(["import", "table", "cells.csv"]) == 0
    capsys.readouterr()

    def call(*words):
        code = main(list(words))
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return code, out, " ".join(err.split())

    return call


def test_an_imported_table_is_exported_and_comes_back(llt):
    assert llt("export", "--sweep", "cells", "-o", "rows.csv")[0] == 0
    with open("rows.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    found = {(r["architecture.width"], r["name"]): float(r["value"]) for r in rows}
    assert found == {
        ("2", "train_loss"): 0.5,
        ("4", "train_loss"): 0.25,
        ("2", "cka"): 0.6,
        ("4", "cka"): 0.7,
    }
    assert llt("import", "table", "rows.csv")[0] == 0
    assert list(csv.DictReader(io.StringIO(llt("export", "--sweep", "rows")[1])))
    code, _, said = llt("export", "-o", "all.csv")
    assert (code, said) == (0, "0 rows written to all.csv imported: cells, rows (--sweep NAME)")


def test_an_imported_table_is_listed_with_its_origin(llt):
    code, out, _ = llt("results", "--sweep", "cells")
    lines = out.splitlines()
    assert code == 0
    assert lines[0].split() == ["width", "batch_size", "metric", "value", "±", "s.e.", "n"]
    assert ["4", "64", "cka", "0.7"] in [line.split() for line in lines]
    assert "file cells.csv" in out
    rows = json.loads(llt("results", "--sweep", "cells", "--metric", "cka", "--json")[1])
    assert [row["value"] for row in rows] == [0.6, 0.7]
    assert "imported: cells (--sweep NAME)" in llt("results")[1]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["results", "--sweep", "cells", "--metric", "ckaa"], "did you mean cka?"),
        (["results", "--sweep", "cells", "--task", "digts"], "none: the table names no task"),
        (["results", "--sweep", "cellls"], "expected: one of cells"),
        (["export", "--sweep", "cellls"], "no sweep or table is called 'cellls'"),
        (["cancel", "cells"], "cells is an imported table, no sweep"),
    ],
)
def test_wrong_names_are_told(llt, words, says):
    code, out, said = llt(*words)
    assert (code, out) == (2, "")
    assert says in said


def test_a_known_metric_without_measurements_is_no_mistake(llt):
    code, out, _ = llt("results", "--sweep", "cells", "--metric", "hessian_trace")
    assert (code, out) == (0, "no such measurements in cells\n")


def test_a_table_of_other_content_is_replaced_only_by_force(llt):
    kept = Path("llt-store/tables/cells.parquet")
    assert llt("import", "table", "cells.csv")[0] == 0  # the same again
    before = kept.read_bytes()
    Path("other.csv").write_text(CELLS.replace("0.7", "0.8"))
    for words in (["other.csv"], ["cells.csv", "--map", "width=architecture.width:temperature"]):
        code, _, said = llt("import", "table", *words, "--name", "cells")
        assert code == 2
        assert "another table is kept as 'cells'" in said
        assert "--force" in said
        assert kept.read_bytes() == before
    assert llt("import", "table", "other.csv", "--name", "cells", "--force")[0] == 0
    assert kept.read_bytes() != before
