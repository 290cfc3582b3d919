"""``llt report`` in a folder with a store: a real sweep, and a table from a file."""

import json
import re

import numpy as np
import pytest

from llt_core.analysis import PHASES, PhaseRule
from llt_core.cli.main import main
from llt_core.report.page import details_of
from llt_core.store import Store
from llt_core.store.maps import MapPoint, PhaseMap, remember_map
from llt_core.store.sweeps import recall
from llt_core.store.tables import open_table

FILE = """\
title = "A try <b>"
task = "digits"
architecture = "mlp:depth=1"
metrics = ["train_loss", "test_accuracy", "l2_distance",
    { name = "linear_connectivity", points = 3, samples = 64 }]
models = 2

[train]
epochs = 2

[axes.load]
field = "architecture.width"
values = [4, 8]
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with a finished sweep of two grid points."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "try.toml").write_text(FILE)
    code = main(
        ["sweep", str(folder / "try.toml"), "--store", str(folder / "llt-store"), "--threads", "1"]
    )
    assert code == 0
    return folder


@pytest.fixture
def llt(home, monkeypatch, capsys):
    """Return a function that runs a command there and gives code, output and errors."""
    monkeypatch.chdir(home)
    monkeypatch.delenv("LLT_STORE", raising=False)

    def call(*words):
        code = main([str(word) for word in words])
        out, err = capsys.readouterr()
        return code, out, " ".join(err.split())

    return call


def data_of(path):
    """Return the document that a page holds."""
    page = path.read_text(encoding="utf-8")
    return json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1])


def test_a_sweep_becomes_a_page(llt, home):
    assert llt("report", "try", "-o", "page.html") == (0, "", "written to page.html")
    data = data_of(home / "page.html")
    assert (data["name"], data["title"], data["imported"]) == ("try", "A try <b>", False)
    assert data["axes"][0]["levels"] == [4, 8]
    assert {"train_loss", "test_accuracy", "l2_distance", "linear_connectivity"} <= {
        column["name"] for column in data["columns"]
    }
    about = dict(data["about"])
    assert about["Seeds"] == "0, 1"
    assert about["Task"] == "digits"
    assert about["Command"] == recall(Store(home / "llt-store"), "try").command


def test_figures_are_those_of_the_stored_arrays(llt, home):
    store = Store(home / "llt-store", create=False)
    sweep = recall(store, "try")
    details = details_of(store, sweep, open_table("try", store))
    assert len(details.figures) == 2
    for point, figures in zip(sweep.points, details.figures, strict=True):
        histories = {f["title"]: f["series"] for f in figures if f["group"] == "history"}
        for digest, series in zip(point.models, histories["Training loss"], strict=True):
            record = store.read(digest)
            losses = [epoch.train_loss for epoch in record.history]
            np.testing.assert_allclose(series["y"], losses, rtol=1e-3)
            assert series["label"] == f"seed {record.composition['seeds'][0]}"
        curve = next(f for f in figures if f["group"] == "curve")
        assert curve["series"][0]["x"] == [0, 0.5, 1]
    first = details.provenance[0]
    assert first["Seeds"] == "0, 1"
    assert first["Models"] == ", ".join(digest[:8] for digest in sweep.points[0].models)


def test_a_file_is_replaced_only_with_force(llt, home):
    assert llt("report", "try")[0] == 0
    (home / "try-report.html").write_text("mine")
    code, _, errors = llt("report", "try")
    assert code == 2
    assert "try-report.html is there already" in errors
    assert "--force" in errors
    assert (home / "try-report.html").read_text() == "mine"
    assert llt("report", "try", "--force", "--quiet") == (0, "", "")
    assert data_of(home / "try-report.html")["rows"] == 2


def test_json_says_what_was_written(llt, home):
    code, out, _ = llt("report", "try", "-o", "facts.html", "--json")
    facts = json.loads(out)
    assert code == 0
    assert facts["bytes"] == (home / "facts.html").stat().st_size
    assert facts["cells"] == sum(facts["phases"].values()) == 2


def test_a_sweep_is_compared_with_itself(llt, home):
    assert llt("report", "try", "--compare", "try", "-o", "same.html")[0] == 0
    compared = data_of(home / "same.html")["compare"]
    assert compared["shared"] == 2


def test_an_adaptive_sweep_shows_what_it_inferred(llt, home):
    store = Store(home / "llt-store", create=False)
    measured, inferred = (
        MapPoint(
            values={"architecture.width": width},
            phase=phase,
            probabilities=(0.1, 0.0, 0.2, 0.0, 0.7) if basis == "inferred" else (1, 0, 0, 0, 0),
            basis=basis,
        )
        for width, phase, basis in ((4, "I", "measured"), (16, "IV-B", "inferred"))
    )
    rule = PhaseRule(cka=0.5)
    remember_map(
        store,
        PhaseMap(
            name="try",
            rule=rule.model_dump(),
            phases=PHASES,
            allowed=2,
            points=(measured, inferred),
        ),
    )
    try:
        assert llt("report", "try", "-o", "adaptive.html")[0] == 0
    finally:
        (store.root / "maps" / "try.json").unlink()
    data = data_of(home / "adaptive.html")
    assert data["rows"] == 3
    assert data["inferred"] == {
        "at": [0, 0, 1],
        "codes": [-1, -1, 4],
        "confidence": [None, None, 0.7],
    }
    assert {t["name"]: t["value"] for t in data["thresholds"]} == rule.model_dump()
    assert data["findings"][0]["text"].startswith("2 cells of 2 models")
    assert data["findings"][-1]["text"].startswith("1 cell was not measured")


def test_unknown_names_and_folders(llt):
    code, _, errors = llt("report", "nothing")
    assert code == 2
    assert "nothing" in errors
    assert "Traceback" not in errors
    code, _, errors = llt("report", "try", "-o", "no/such/folder.html")
    assert code == 2
    assert "cannot write the page" in errors
