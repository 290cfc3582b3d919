"""The built-in trackers run the kit that strangers run; the kit's request is a real one."""

import pytest

from llt_core.store import Failure, Record
from llt_core.testing import TrackerConformance
from llt_core.testing.requests import request as heard_request
from llt_plugins.trackers.mlflow_runs import MlflowRuns
from llt_plugins.trackers.tensorboard_logs import TensorBoardLogs

pytestmark = pytest.mark.xdist_group("trackers")  # one import of MLflow for all


class TestMlflowRuns(TrackerConformance):
    requires = ("mlflow", "sqlalchemy", "alembic")

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def one_database(cls, tmp_path_factory):
        """One database for all checks: MLflow needs seconds to make one."""
        cls.component = MlflowRuns(to=str(tmp_path_factory.mktemp("told") / "runs.db"))


class TestTensorBoardLogs(TrackerConformance):
    component = TensorBoardLogs()
    requires = ("tensorboard",)


def test_the_request_of_the_kit_has_records_as_the_store_has_them():
    heard = heard_request()
    records = [facts["record"] for _, facts in heard if "record" in facts]
    for record in records:
        assert Record.model_validate(record).model_dump(mode="json") == record
    (failure,) = [facts["failure"] for _, facts in heard if "failure" in facts]
    assert Failure.model_validate(failure).model_dump(mode="json") == failure
    assert {record["status"] for record in records} == {"done", "diverged"}
