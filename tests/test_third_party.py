"""A stranger's package, really installed by pip, from ``llt list-plugins`` to a stored result."""

import json
import os
import runpy
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

# One process for all: they share one installation and one store.
pytestmark = pytest.mark.xdist_group("third_party")

HERE = Path(__file__).parent
Site = runpy.run_path(str(HERE / "llt_core" / "plugins" / "conftest.py"))["Site"]
LLT = Path(sys.executable).parent / "llt"

TINY = ("run", "--task", "digits", "--arch", "mlp:width=4,depth=1", "--set", "train.epochs=1")
TINY = (*TINY, "--threads", "1")

CLUMSY = """
import sys
from pathlib import Path
from llt_core.plugins import hookimpl

@hookimpl
def llt_provenance():
    return {"unstorable": Path(".")}

@hookimpl
def llt_cell_started(digest):
    sys.exit("I quit")

@hookimpl
def llt_cell_finished(record):
    record["measurements"] = []
    raise OSError("no space left for my log")
"""

FAILS = """
from llt_core.interfaces import Metric, Quantity

class Fails(Metric):
    summary = "A metric that always fails"
    returns = (Quantity(name="fails", unit="", description="nothing"),)

    def measure(self, context):
        raise ZeroDivisionError("as it always does")
"""


@pytest.fixture(scope="session")
def installed(tmp_path_factory):
    """The fixture package, installed by pip into a folder of its own, without a network."""
    target = tmp_path_factory.mktemp("installed")
    offline = ("--no-build-isolation", "--no-deps", "--no-index", "--disable-pip-version-check")
    pip = (sys.executable, "-m", "pip", "install", "--quiet", *offline, "--target", str(target))
    done = subprocess.run([*pip, str(HERE / "fixture_plugin")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return target


@pytest.fixture(scope="session")
def llt(installed, tmp_path_factory):
    """Call ``llt`` with the package, a store and a log of its own."""
    work = tmp_path_factory.mktemp("work")
    clumsy = Site(work / "clumsy")
    files = {"__init__.py": CLUMSY, "metrics.py": FAILS}
    clumsy.add("clumsy", {**files, "registry.toml": Site.declare("fails", "clumsy.metrics:Fails")})

    def call(*words, expect=0, with_clumsy=False, **env):
        path = [str(installed), *([str(clumsy.folder)] if with_clumsy else [])]
        clean = {k: v for k, v in os.environ.items() if not k.startswith("LLT_")}
        clean |= {"PYTHONPATH": os.pathsep.join(path), "COLUMNS": "300", "NO_COLOR": "1", **env}
        clean |= {"LLT_STORE": str(work / "store"), "LLT_HELLO_LOG": str(work / "log")}
        done = subprocess.run([LLT, *words], capture_output=True, text=True, cwd=work, env=clean)
        assert done.returncode == expect, f"{words}: {done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stdout + done.stderr
        return done

    call.work = work
    return call


@pytest.fixture(scope="session")
def result(llt):
    """Three models, measured by the stranger's metrics while a clumsy observer looks on."""
    metrics = ("--metric", "weight_norm", "--metric", "llt-hello/weight_norm:order=1")
    metrics = (*metrics, "--metric", "weight_distance")
    done = llt(*TINY, *metrics, "--models", "3", "--json", with_clumsy=True)
    return json.loads(done.stdout)


@pytest.fixture(scope="session")
def thetas(llt, result):
    """The parameters of each stored checkpoint as one vector, by digest."""
    found = {}
    for cell in result["cells"]:
        if cell["kind"] == "train":
            folder = llt.work / "store" / "cells" / cell["digest"][:2] / cell["digest"]
            tensors = load_file(folder / "model.safetensors").values()
            found[cell["digest"]] = np.concatenate([t.astype(float).ravel() for t in tensors])
    return found


def measured(result, metric, **parameters):
    """Return models and value of each measurement of one metric."""
    found = []
    for cell in result["cells"]:
        asked = cell["record"]["cell"].get("metric", {})
        if (asked.get("name"), asked.get("parameters")) == (metric, parameters):
            (value,) = cell["record"]["measurements"]
            found.append((tuple(cell["record"]["cell"]["models"]), value["value"]))
    return found


def test_it_is_listed_like_a_built_in(llt):
    rows = json.loads(llt("list-plugins", "--format", "json").stdout)["plugins"]
    mine = {row["name"]: row for row in rows if row["package"] == "llt-hello"}
    assert set(mine) == {"weight_norm", "weight_distance"}
    assert mine["weight_norm"]["summary"] == "Norm of all weights of a model"
    assert mine["weight_norm"]["version"] == "0.3.1"
    assert mine["weight_norm"]["state"] == "ok"
    assert "llt-hello==0.3.1" in llt("list-plugins", "--format", "requirements").stdout.split()
    out = llt("show", "weight_norm").stdout
    assert "order" in out
    assert "Order p; 2 is the Euclidean norm" in out


def test_the_switch_hides_it(llt):
    off = {"LLT_PLUGINS": "off"}
    assert "llt-hello" not in llt("list-plugins", **off).stdout
    told = llt(*TINY, "--metric", "weight_norm", expect=2, **off).stderr
    assert "no metric is called 'weight_norm'" in told


def test_its_metric_is_the_norm_of_the_stored_weights(result, thetas):
    assert len(thetas) == 3
    for order, parameters in ((2, {}), (1, {"order": 1.0})):
        found = measured(result, "llt-hello/weight_norm", **parameters)
        assert [models for models, _ in found] == [(digest,) for digest in thetas]
        for (digest,), value in found:
            expected = np.linalg.norm(thetas[digest], ord=order)
            assert value == pytest.approx(expected, rel=1e-12)
    assert len({value for _, value in measured(result, "llt-hello/weight_norm")}) == 3


def test_its_pair_metric_reads_every_pair(result, thetas):
    found = measured(result, "llt-hello/weight_distance")
    assert [models for models, _ in found] == list(combinations(thetas, 2))
    for (first, second), value in found:
        expected = np.linalg.norm(thetas[first] - thetas[second])
        assert value == pytest.approx(expected, rel=1e-12)
        assert value > 0


def test_its_observer_heard_every_cell_once(llt, result):
    lines = [json.loads(line) for line in (llt.work / "log").read_text().splitlines()]
    end = next(number for number, line in enumerate(lines) if line["event"] == "sweep")
    expected = sorted((cell["digest"], cell["kind"]) for cell in result["cells"])
    assert len(expected) == 12
    for event in ("started", "finished"):
        heard = [line for line in lines[:end] if line["event"] == event]
        assert sorted((line["digest"], line["kind"]) for line in heard) == expected
    assert lines[end]["cells"] == {"new": 12}


def test_provenance_names_the_package_and_what_it_says(result):
    for cell in result["cells"]:
        provenance = cell["record"]["provenance"]
        assert provenance["plugins"]["llt-hello"] == {"greeting": "hello"}
        assert "clumsy" not in provenance["plugins"]


def test_provenance_has_the_version_of_the_metric_package(result):
    records = [cell["record"] for cell in result["cells"] if cell["kind"] == "measure"]
    for record in records:
        assert record["provenance"]["plugin_packages"]["llt-hello"] == "0.3.1"


def test_answered_from_the_store_and_a_clumsy_observer_is_reported(llt, result):
    again = llt(*TINY, "--metric", "weight_norm", "--models", "3").stdout
    assert again.count("cached") == 3
    assert "observer" not in again
    done = llt(*TINY, "--metric", "fails", "--metric", "weight_norm", expect=1, with_clumsy=True)
    assert "ZeroDivisionError: as it always does" in done.stdout
    assert "cached" in done.stdout
    assert "observer clumsy.llt_cell_started failed: SystemExit: I quit" in done.stdout
    assert "observer clumsy.llt_provenance failed: TypeError" in done.stdout
    last = [json.loads(line) for line in (llt.work / "log").read_text().splitlines()][-3:]
    assert [line["event"] for line in last] == ["started", "failed", "sweep"]
    assert last[1]["message"].startswith("ZeroDivisionError: as it always does")
    assert last[2]["cells"] == {"cached": 2, "failed": 1}


def test_a_pair_metric_on_one_model_is_refused_before_any_work(llt, result):
    before = sorted((llt.work / "store").rglob("*"))
    told = llt(*TINY, "--seed", "77", "--metric", "weight_distance", expect=2).stderr
    assert "llt-hello/weight_distance compares models, and only one is asked for" in told
    assert "next: --models 2" in told
    assert sorted((llt.work / "store").rglob("*")) == before
