"""Requests told to trackers, and databases of MLflow that need not be made anew each time."""

import importlib.util
import inspect
import shutil
from copy import deepcopy

import pytest

import llt_core
from llt_core.testing.requests import request as heard_request


@pytest.fixture(scope="session")
def told():
    """Call the hooks of a tracker with what is heard of a request; return what they raised."""

    def tell(tracker, heard=None):
        errors = []
        for hook, facts in heard_request() if heard is None else heard:
            method = getattr(tracker, hook, None)
            if method is None:
                continue
            try:
                method(**{n: deepcopy(facts[n]) for n in inspect.signature(method).parameters})
            except Exception as error:
                errors.append((hook, error))
        return errors

    return tell


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory, told):
    """An SQLite file in which MLflow has made its tables, which takes seconds."""
    for module in ("mlflow", "sqlalchemy", "alembic"):
        pytest.importorskip(module)
    from llt_plugins.trackers.mlflow_runs import MlflowRuns

    path = tmp_path_factory.mktemp("mlflow") / "empty.db"
    begin = [each for each in heard_request() if each[0] == "llt_sweep_started"]
    assert not told(MlflowRuns(to=str(path), experiment="unused"), begin)
    return path


@pytest.fixture
def database(empty_database, tmp_path):
    return shutil.copy(empty_database, tmp_path / "runs.db")


@pytest.fixture(scope="session")
def swept(tmp_path_factory, request):
    """A real sweep of two networks, run three times: new, from the store, and by force.

    Gives the folder in which all trackers that are installed were told of it, the three results,
    and the event files that were there after each.
    """
    folder, track = tmp_path_factory.mktemp("swept"), []
    if importlib.util.find_spec("tensorboard"):
        track.append({"name": "tensorboard", "to": str(folder / "runs")})
    if importlib.util.find_spec("mlflow") and importlib.util.find_spec("alembic"):
        shutil.copy(request.getfixturevalue("empty_database"), folder / "runs.db")
        track.append({"name": "mlflow", "to": str(folder / "runs.db")})
    results, files = [], []
    for force in (False, False, True):
        result = llt_core.sweep(
            name="widths",
            task="digits",
            architecture={"name": "mlp", "depth": 1},
            metrics=["test_accuracy", "train_loss"],
            train={"epochs": 2},
            axes={"load": {"field": "architecture.width", "values": [2, 4]}},
            store=folder / "store",
            compute={"threads": 1, "device": "cpu"},
            executor="inline",
            track=track,
            force=force,
        )
        assert not result.observer_errors
        assert not result.failed
        results.append(result)
        files.append({p.relative_to(folder) for p in (folder / "runs").rglob("events.*")})
    return folder, results, files
