"""Event files, read back by TensorBoard's own readers."""

import math
import subprocess
import sys

import pytest

from llt_core.testing.requests import DIGESTS, request
from llt_plugins.trackers.tensorboard_logs import TensorBoardLogs

pytestmark = pytest.mark.xdist_group("trackers")

pytest.importorskip("tensorboard")


def read(folder):
    """What TensorBoard finds in the one event file of a folder: tag → [(step, time, value)]."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (file,) = folder.iterdir()
    assert file.name.startswith("events.out.tfevents.")
    found = EventAccumulator(str(folder))
    found.Reload()
    return {
        tag: [(event.step, event.wall_time, event.value) for event in found.Scalars(tag)]
        for tag in found.Tags()["scalars"]
    }


def rows(folder):
    """The rows of the dashboard of hyperparameters: values, metrics and status of each group."""
    from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
    from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
    from tensorboard.context import RequestContext
    from tensorboard.plugins.base_plugin import TBContext
    from tensorboard.plugins.hparams import api_pb2, list_session_groups
    from tensorboard.plugins.hparams.backend_context import Context

    files = EventMultiplexer()
    files.AddRunsFromDirectory(str(folder))
    files.Reload()
    provider = MultiplexerDataProvider(files, str(folder))
    context, where = Context(TBContext(data_provider=provider)), RequestContext()
    experiment = context.experiment_from_metadata(
        where, "", True, context.hparams_metadata(where, ""), ()
    )
    asked = api_pb2.ListSessionGroupsRequest(
        start_index=0,
        slice_size=100,
        allowed_statuses=[api_pb2.STATUS_SUCCESS, api_pb2.STATUS_FAILURE],
        aggregation_type=api_pb2.AGGREGATION_AVG,
        include_metrics=True,
    )
    for metric in experiment.metric_infos:
        asked.col_params.add(metric=metric.name)
    groups = list_session_groups.Handler(where, context, "", asked).run().session_groups
    return {
        group.name: (
            {name: _plain(value) for name, value in group.hparams.items()},
            {value.name.tag: value.value for value in group.metric_values},
            [session.status for session in group.sessions],
        )
        for group in groups
    }


def _plain(value):
    return getattr(value, value.WhichOneof("kind"))


# ------------------------------------------------------------------------- a real sweep


def test_one_file_a_cell_and_a_new_one_only_by_force(swept):
    _, (_, _, result), (first, second, forced) = swept
    assert first == second
    assert {path.parent for path in forced} == {path.parent for path in first}
    assert len(first) == len(forced) == len(result.records) == 6
    assert not first & forced


def test_numbers_are_those_of_the_records(swept):
    folder, (_, _, result), _ = swept
    folder = folder / "runs" / "widths"
    for record in result.records:
        (place,) = folder.glob(f"* {record.digest[:8]}")
        width = record.composition["architecture"]["parameters"]["width"]
        assert f"seed 0 (width={width})" in place.name
        found = read(place)
        if record.cell.kind == "train":
            losses = [(step, value) for step, _, value in found["train_loss"]]
            wanted = [(epoch.epoch, epoch.train_loss) for epoch in record.history]
            assert [step for step, _ in losses] == [step for step, _ in wanted]
            for (_, told), (_, meant) in zip(losses, wanted, strict=True):
                assert math.isclose(told, meant, rel_tol=1e-6)  # event files have float32
            assert found["train_loss"][0][1] < found["train_loss"][1][1]
        else:
            (measured,) = record.measurements
            ((_, _, told),) = found[measured.name]
            assert math.isclose(told, measured.value, rel_tol=1e-6)
            assert f"{measured.name}.standard_error" in found


def test_all_of_one_model_stands_in_one_row(swept):
    folder, (_, _, result), _ = swept
    folder = folder / "runs" / "widths"
    found = rows(folder)
    models = [record for record in result.records if record.cell.kind == "train"]
    assert set(found) == {model.digest[:8] for model in models}
    for model in models:
        values, metrics, statuses = found[model.digest[:8]]
        width = model.composition["architecture"]["parameters"]["width"]
        assert values["architecture.width"] == width
        assert values["task"] == "llt/digits"
        assert not any(name.startswith("metric") for name in values)
        measured = [r for r in result.records if model.digest in getattr(r.cell, "models", ())]
        for record in measured:
            (one,) = record.measurements
            if one.name == "test_accuracy":  # the training has a train_loss too
                assert math.isclose(metrics[one.name], one.value, rel_tol=1e-6)
        assert len(statuses) == 3


# ------------------------------------------------------------------------- what else happens


def test_failures_divergence_and_pairs(told, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert not told(TensorBoardLogs(to=str(tmp_path)))
    (failed,) = (tmp_path / "small").glob(f"* {DIGESTS[4][:8]}")
    found = EventAccumulator(str(failed))
    found.Reload()
    (message,) = found.Tensors("failure")
    assert b"ZeroDivisionError: on purpose" in message.tensor_proto.string_val[0]
    (lost,) = (tmp_path / "small").glob(f"* {DIGESTS[1][:8]}")
    assert [step for step, *_ in read(lost)["train_loss"]] == [1]
    found = rows(tmp_path / "small")
    assert set(found) == {"11111111", "22222222", "11111111+22222222"}
    assert sorted(found["11111111"][2]) == [1, 1, 2]  # two succeeded, one failed
    assert found["11111111"][0]["label_noise#2.fraction"] == 0.2


def test_runs_have_a_folder_of_their_own(told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    heard = request()
    heard[0][1]["summary"]["name"] = ""
    assert not told(TensorBoardLogs(), heard)
    assert len(list((tmp_path / "runs" / "llt").iterdir())) == 5


def test_what_cannot_be_written_is_an_error_and_leaves_nothing(told, tmp_path):
    (tmp_path / "small").write_text("a file, where a folder should be")
    errors = told(TensorBoardLogs(to=str(tmp_path)))
    assert [hook for hook, _ in errors] == ["llt_sweep_started"]
    heard = request()
    heard[2][1]["record"]["history"][0]["train_loss"] = "no number"
    errors = told(TensorBoardLogs(to=str(tmp_path / "runs")), heard)
    assert [hook for hook, _ in errors] == ["llt_cell_finished"]
    assert not list((tmp_path / "runs").rglob(".*"))


def test_torch_is_not_imported(tmp_path):
    code = f"""
import sys
from llt_core.testing.requests import request
from llt_plugins.trackers.tensorboard_logs import TensorBoardLogs
tracker = TensorBoardLogs(to={str(tmp_path)!r})
tracker.llt_sweep_started(request()[0][1]["summary"])
tracker.llt_cell_finished(**request()[2][1])
assert not {{"torch", "tensorflow"}} & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    assert len(list(tmp_path.rglob("events.*"))) == 1
