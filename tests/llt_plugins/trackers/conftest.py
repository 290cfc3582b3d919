"""A request told to trackers, and databases of MLflow that need not be made anew each time."""

import inspect
import shutil
from copy import deepcopy

import pytest

from llt_core.testing.requests import request


@pytest.fixture(scope="session")
def told():
    """Call the hooks of a tracker with what is heard of a request; return what they raised."""

    def tell(tracker, heard=None):
        errors = []
        for hook, facts in request() if heard is None else heard:
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
    begin = [each for each in request() if each[0] == "llt_sweep_started"]
    assert not told(MlflowRuns(to=str(path), experiment="unused"), begin)
    return path


@pytest.fixture
def database(empty_database, tmp_path):
    return shutil.copy(empty_database, tmp_path / "runs.db")
