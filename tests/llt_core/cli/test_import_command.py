"""``llt import``: from an archive to a table in the store, or to an error and nothing else."""

import io
import json
import os
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from llt_core.analysis import classify
from llt_core.cli.main import main
from llt_core.store import Store
from llt_core.store.kept import table_names
from llt_core.store.tables import open_table, read_table

SHARED = Path(os.environ.get("LLT_SHARED", Path(__file__).resolve().parents[3] / "../shared"))
SAMPLE = SHARED / "published/reference_results_sample.tar.gz"
published = pytest.mark.skipif(not SAMPLE.exists(), reason="needs the published results")
CELL = "different_knobs_subset_10/bs_32/lr_decay/ResNet18_w4/metrics"
GOOD = pickle.dumps({0: {"loss": 0.5, "accuracy": 80.0}, 1: {"loss": 0.7, "accuracy": 70.0}})


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty folder to work in; what is written for a moment would go to ``scratch``."""
    work, scratch = tmp_path / "work", tmp_path / "scratch"
    work.mkdir()
    scratch.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("LLT_STORE", raising=False)
    return tmp_path


def archive(path, files, *more):
    with tarfile.open(path, "w:gz") as opened:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            opened.addfile(info, io.BytesIO(data))
        for info in more:
            opened.addfile(info)
    return path


def everything(home):
    return sorted(str(p.relative_to(home)) for p in home.rglob("*"))


@published
def test_the_sample_becomes_a_table_that_phases_can_be_read_from(home, capsys):
    assert main(["import", "reference", str(SAMPLE), "-o", "rows.csv"]) == 0
    out, err = capsys.readouterr()
    assert "10 cells, published: reference_results_sample.tar.gz" in out
    assert "width 1 to 64 (4 values), batch_size 19 to 512 (4 values)" in out
    assert "cka 2 192 – 8" in " ".join(out.split())
    assert "ResNet18_w1: test_loss: loss_acc_test.pkl is missing (models 0, 1, 2, 3, 4)" in out
    assert out.endswith("next: llt phases reference_results_sample\n")
    assert not err
    store = Store("llt-store", create=False)
    table = open_table("reference_results_sample", store)
    assert table.origin == "published: reference_results_sample.tar.gz"
    assert [(a.name, a.kind) for a in table.axes] == [
        ("architecture.width", "load"),
        ("train.batch_size", "temperature"),
    ]
    assert set(table.models) == {5}
    assert table.column("test_loss").reasons[0] == "loss_acc_test.pkl is missing"
    assert table.column("cka").n.tolist() == [6] + [10] * 9
    phases = [str(phase) for phase in classify(table).phases]
    assert len(phases) == 10
    again = read_table(Path("rows.csv"))
    assert [a.values for a in again.axes] == [a.values for a in table.axes]
    assert set(again.columns) == set(table.columns)
    for name, column in table.columns.items():
        np.testing.assert_allclose(again.column(name).values, column.values, rtol=1e-12)
        assert again.column(name).samples == column.samples


@published
def test_parquet_json_and_a_name(home, capsys):
    line = ["import", "reference", str(SAMPLE), "--name", "sample", "--store", "s"]
    assert main([*line, "-o", "rows.parquet", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["name"], facts["cells"], facts["rows"]) == ("sample", 10, 860)
    assert facts["quantities"]["test_loss"] == {"missing": 5, "ok": 45}
    assert facts["quantities"]["cka"] == {"ok": 96, "not_finite": 4}
    assert len(facts["problems"]) == 4
    assert set(facts["problems"][0]) == {"cell", "quantity", "reason"}
    assert len(pd.read_parquet("rows.parquet")) == 860
    assert main(line) == 0
    out = capsys.readouterr().out
    assert "kept as sample, in place of what was kept by that name" in out
    assert out.endswith("next: llt phases sample --store s\n")
    assert main(["import", "list", "--store", "s"]) == 0
    assert "sample 10 width, batch_size published:" in " ".join(capsys.readouterr().out.split())
    assert main(["import", "list", "--store", "s", "--json"]) == 0
    (listed,) = json.loads(capsys.readouterr().out)
    assert listed["axes"] == ["architecture.width", "train.batch_size"]


def test_a_folder_and_many_problems(home, capsys):
    for width in range(1, 31):
        folder = home / "results" / CELL.replace("w4", f"w{width}")
        folder.mkdir(parents=True)
        (folder / "loss_acc.pkl").write_bytes(GOOD)
    assert main(["import", "reference", str(home / "results")]) == 0
    out = capsys.readouterr().out
    assert "30 cells, published: results: width 1 to 30 (30 values)\n" in out
    assert out.count("not there: ") == 20
    assert "more; --json lists all" in out
    table = open_table("results", Store("llt-store", create=False))
    assert table.column("train_accuracy").values.tolist() == [75.0] * 30


def test_an_empty_list(home, capsys):
    archive(home / "r.tar.gz", {f"{CELL}/loss_acc.pkl": GOOD})
    assert main(["import", "reference", str(home / "r.tar.gz")]) == 0
    Path("llt-store/tables/r.parquet").unlink()
    capsys.readouterr()
    assert main(["import", "list"]) == 0
    assert capsys.readouterr().out.startswith("no table was imported into ")


def test_a_flat_table_for_machines(home, capsys):
    Path("cells.csv").write_text("width,batch_size,train_loss\n2,32,0.5\n4,64,0.25\n")
    assert main(["import", "table", "cells.csv", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["origin"].startswith("imported from cells.csv (SHA-256 ")
    assert Path(told.pop("file")) == Path("llt-store/tables/cells.parquet").resolve()
    del told["origin"]
    assert told == {
        "name": "cells",
        "cells": 2,
        "axes": {"architecture.width": [2, 4], "train.batch_size": [32, 64]},
        "quantities": ["train_loss"],
        "undetermined": 2,
        "replaced": False,
    }


def test_one_damaged_table_does_not_hide_the_others(home, capsys):
    Path("cells.csv").write_text("width,train_loss\n2,0.5\n4,0.25\n")
    for name in ("good", "bad"):
        assert main(["import", "table", "cells.csv", "--name", name]) == 0
    Path("llt-store/tables/bad.parquet").write_bytes(b"PAR1")
    capsys.readouterr()
    assert main(["import", "list"]) == 0
    out, err = capsys.readouterr()
    assert "good" in out
    assert "bad" not in out
    assert "bad.parquet" in err
    assert main(["import", "list", "--json"]) == 0
    good, bad = json.loads(capsys.readouterr().out)
    assert (good["name"], good["cells"]) == ("good", 2)
    assert bad["name"] == "bad"
    assert "cannot be read" in bad["error"]


class Runs:
    def __reduce__(self):
        return os.mkdir, ("canary",)


def link(name, target, kind=tarfile.SYMTYPE):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def objects():
    file = io.BytesIO()
    np.savez(file, ts=np.array([0.0, None, 1.0], dtype=object))
    return file.getvalue()


def large():
    file = io.BytesIO()
    np.savez_compressed(file, ts=np.zeros(2**22))
    return file.getvalue()


HOSTILE = {
    "a foreign pickle": (f"{CELL}/hessian.pkl", pickle.dumps(Runs()), "mkdir"),
    "one inside a good one": (
        f"{CELL}/hessian.pkl",
        pickle.dumps({0: {"trace": 1.0, "top_eigenvalue": [Runs()]}}),
        "mkdir",
    ),
    "an array of objects": (f"{CELL}/curve_test.npz", objects(), "array of objects"),
    "an array that unpacks to 32 MiB": (f"{CELL}/curve_test.npz", large(), "an array of"),
    "a large pickle": (f"{CELL}/hessian.pkl", bytes(2**21), "2,097,152 bytes"),
    "a name that leads out": ("../../x.pkl", b"", "leads out"),
    "an absolute name": ("/tmp/x.pkl", b"", "absolute"),
    "a large file nobody reads": ("net.pkl", bytes(65 * 2**20), "states"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_refused_named_and_nothing_left_behind(home, capsys, what):
    name, data, reason = HOSTILE[what]
    path = archive(home / "r.tar.gz", {f"{CELL}/loss_acc.pkl": GOOD, name: data})
    before = everything(home)
    assert main(["import", "reference", str(path), "-o", "rows.csv"]) == 2
    out, err = capsys.readouterr()
    assert not out
    assert "refused" in err
    assert reason in err
    assert name.rsplit("/", 1)[-1] in err
    assert "Traceback" not in err
    assert everything(home) == before


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_links_are_refused_too(home, capsys, kind):
    odd = link(f"{CELL}/hessian.pkl", "/etc/passwd", kind)
    path = archive(home / "r.tar.gz", {f"{CELL}/loss_acc.pkl": GOOD}, odd)
    before = everything(home)
    assert main(["import", "reference", str(path)]) == 2
    assert f"{CELL}/hessian.pkl" in capsys.readouterr().err
    assert everything(home) == before


def test_a_table_that_is_there_outlives_a_refused_one(home, capsys):
    good = archive(home / "r.tar.gz", {f"{CELL}/loss_acc.pkl": GOOD})
    assert main(["import", "reference", str(good)]) == 0
    kept = Path("llt-store/tables/r.parquet").read_bytes()
    bad = archive(home / "r.tar.gz", {f"{CELL}/loss_acc.pkl": pickle.dumps(Runs())})
    assert main(["import", "reference", str(bad)]) == 2
    assert Path("llt-store/tables/r.parquet").read_bytes() == kept
    assert table_names(Store("llt-store", create=False)) == ["r"]


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["nowhere.tar.gz"], "there is no archive or folder 'nowhere.tar.gz'"),
        (["r.tar.gz", "--name", "../up"], "a table cannot be called '../up'"),
        (["r.tar.gz", "--name", ".hidden"], "a table cannot be called"),
        (["r.tar.gz", "-o", "rows.txt"], "the ending of 'rows.txt' names no format"),
    ],
)
def test_wrong_requests(home, capsys, arguments, what):
    archive(Path("r.tar.gz"), {f"{CELL}/loss_acc.pkl": GOOD})
    assert main(["import", "reference", *arguments]) == 2
    assert what in " ".join(capsys.readouterr().err.split())
    assert [p.name for p in Path().iterdir()] == ["r.tar.gz"]


def test_a_sweep_keeps_its_name(home, capsys):
    archive(home / "r.tar.gz", {f"{CELL}/loss_acc.pkl": GOOD})
    Store("llt-store")
    Path("llt-store/sweeps").mkdir()
    Path("llt-store/sweeps/r.json").write_text("{}")
    assert main(["import", "reference", str(home / "r.tar.gz"), "-o", "rows.csv"]) == 2
    assert "a sweep is called 'r'" in capsys.readouterr().err
    assert not Path("rows.csv").exists()


def test_help_names_the_commands(home, capsys):
    assert main(["import", "--help"]) == 0
    text = capsys.readouterr().out
    assert "reference" in text
    assert "llt import reference results.tar.gz" in text
    assert main(["--help"]) == 0
    assert "import" in capsys.readouterr().out
