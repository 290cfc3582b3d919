"""``llt phases`` on a sweep of a store, with cells that were inferred."""

import json

import pytest

from llt_core.analysis import PHASES, PhaseRule
from llt_core.cli.main import main
from llt_core.store import Store
from llt_core.store.maps import MapPoint, PhaseMap, remember_map

FILE = """\
task = "digits"
architecture = "mlp:depth=1"
metrics = ["train_loss", "test_accuracy"]

[train]
epochs = 1

[axes.load]
field = "architecture.width"
values = [4, 8]
"""


@pytest.fixture
def store(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LLT_STORE", str(tmp_path / "store"))
    (tmp_path / "try.toml").write_text(FILE)
    assert main(["sweep", "try.toml", "--threads", "1"]) == 0
    capsys.readouterr()
    return Store(tmp_path / "store", create=False)


def asked(capsys, *arguments):
    assert main(["phases", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_inferred_cells_stand_apart(store, capsys):
    assert asked(capsys, "try")["inferred"] is None
    points = [
        MapPoint(
            values={"architecture.width": width},
            phase=phase,
            probabilities=tuple(chance if phase == p else (1 - chance) / 4 for p in PHASES),
            basis=basis,
        )
        for width, phase, chance, basis in (
            (4, "I", 1.0, "measured"),
            (8, "II", 0.9, "inferred"),  # measured since: not counted
            (16, "IV-B", 0.7, "inferred"),
            (32, "IV-B", 0.9, "inferred"),
            (64, "III", 0.8, "inferred"),
        )
    ]
    rule = PhaseRule(cka=0.5).model_dump()
    remember_map(
        store, PhaseMap(name="try", rule=rule, phases=PHASES, allowed=2, points=tuple(points))
    )
    facts = asked(capsys, "try")
    assert facts["cells"] == 2
    assert facts["inferred"]["cells"] == 3
    assert facts["inferred"]["counts"] == {"III": 1, "IV-B": 2}
    assert facts["inferred"]["mean_probability"] == pytest.approx(0.8)
    assert facts["inferred"]["by_cell"][0] == {
        "cell": {"architecture.width": 16},
        "phase": "IV-B",
        "probability": 0.7,
    }
    assert asked(capsys, "try", "--where", "width<=16")["inferred"]["counts"] == {"IV-B": 1}
    assert main(["phases", "try"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "Not measured, but inferred: 3 cells: 1 in III, 2 in IV-B; right with a" in text
    assert "by the thresholds of the sweep" in text
    assert main(["phases", "try", "--rule", "cka=0.5"]) == 0
    assert "by the thresholds of the sweep" not in " ".join(capsys.readouterr().out.split())
