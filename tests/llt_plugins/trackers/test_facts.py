import sys
from datetime import UTC, datetime

import pytest

from llt_core.plugins import Catalogue
from llt_core.plugins.observers import Observers
from llt_core.testing.requests import PROVENANCE, request
from llt_plugins.trackers.facts import Point, origin, points, statuses


@pytest.fixture
def records():
    return [facts["record"] for _, facts in request() if "record" in facts]


END = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC).timestamp()


def test_a_training_has_points_by_epoch_that_end_when_it_ended(records):
    found = list(points(records[0]))
    assert [(p.name, p.value, p.step) for p in found] == [
        ("learning_rate", 0.1, 1),
        ("train_loss", 2.3, 1),
        ("train_accuracy", 50.0, 1),
        ("learning_rate", 0.05, 2),
        ("train_loss", 1.1, 2),
        ("train_accuracy", 50.0, 2),
        ("seconds", 3.25, 0),
    ]
    assert [p.time - END for p in found] == [-1.5] * 3 + [0] * 4


def test_what_is_not_finite_is_left_out(records):
    found = [p for p in points(records[1]) if p.step == 2]
    assert [p.name for p in found] == ["learning_rate"]


def test_measurements_and_their_errors(records):
    measured = records[2]
    measured["measurements"][0]["standard_error"] = 0.25
    assert list(points(measured))[:2] == [
        Point("train_loss", 1.0, END),
        Point("train_loss.standard_error", 0.25, END),
    ]
    assert [p.name for p in points(records[3])] == ["seconds"]
    assert statuses(measured) == {}
    assert statuses(records[3]) == {"gap": "undefined"}


def test_origin(records):
    found = origin(records[0])
    assert found["git"] == "0123456789abcdef+"
    assert found["host"] == "here"
    assert found["seed"] == "123456789"
    assert "git.llt" not in found
    clean = PROVENANCE["git"] | {"cwd": {"sha": "abc", "dirty": False}}
    records[0]["provenance"] = PROVENANCE | {"git": clean}
    assert origin(records[0])["git"] == "abc"


@pytest.mark.parametrize(
    ("name", "absent"),
    [("mlflow", "mlflow"), ("mlflow", "alembic"), ("tensorboard", "tensorboard")],
)
def test_what_is_not_installed_is_told_once_with_the_line_that_installs_it(
    name, absent, monkeypatch, tmp_path
):
    if absent == "alembic":
        pytest.importorskip("mlflow")
    monkeypatch.setitem(sys.modules, absent, None)  # what Python says of it then is the real thing
    monkeypatch.chdir(tmp_path)
    observers = Observers(Catalogue.discover(), {name: {}})
    for hook, facts in request():
        observers.notify(hook, **facts)
    ((called, hook, message),) = observers.errors
    assert (called, hook) == (f"llt/{name}", "llt_sweep_started")
    assert absent in message
    assert message.endswith(f"next: pip install 'llt[{name}]'")
