"""MLflow as it is, on SQLite files and on a server; what it was told is read back by its client."""

import contextlib
import os
import socket
import sqlite3
import subprocess
import sys
import time

import pytest

from llt_core.plugins import Catalogue
from llt_core.plugins.observers import Observers
from llt_core.testing.requests import DIGESTS, request
from llt_plugins.trackers.mlflow_client import patient
from llt_plugins.trackers.mlflow_runs import MlflowRuns

pytestmark = pytest.mark.xdist_group("trackers")

for _module in ("mlflow", "sqlalchemy", "alembic"):
    pytest.importorskip(_module)


@contextlib.contextmanager
def reading(target):
    from mlflow.tracking import MlflowClient

    with patient(10):
        yield MlflowClient(str(target) if "://" in str(target) else f"sqlite:///{target}")


def runs(target, experiment):
    with reading(target) as client:
        found = client.get_experiment_by_name(experiment)
        return [] if found is None else list(client.search_runs([found.experiment_id]))


def by_digest(target, experiment):
    return {run.data.tags["llt.digest"]: run for run in runs(target, experiment)}


# ------------------------------------------------------------------------- a real sweep


def test_each_cell_is_told_once_and_again_only_by_force(swept):
    database, results = swept[0] / "runs.db", swept[1]
    forced = [run.data.tags.get("llt.forced") for run in runs(database, "widths")]
    assert sorted(forced, key=bool) == [None] * 6 + ["true"] * 6
    assert {found.origin for found in results[1].results} == {"cached"}
    assert runs(database, "llt") == []


def test_runs_say_what_the_records_say(swept):
    database, first = swept[0] / "runs.db", swept[1][0]
    unforced = [run for run in runs(database, "widths") if "llt.forced" not in run.data.tags]
    known = {run.data.tags["llt.digest"]: run for run in unforced}
    assert set(known) == {record.digest for record in first.records}
    columns = {row["digest"]: row for row in first.to_rows()}
    for record in first.records:
        run, seen = known[record.digest], record.provenance
        assert run.info.status == "FINISHED"
        assert run.info.end_time - run.info.start_time == pytest.approx(1e3 * record.seconds, abs=1)
        tags = run.data.tags
        assert tags["llt.host"] == seen["host"]
        assert tags["llt.command"] == seen["command"]
        assert tags["llt.seed"] == str(seen["seed"])
        assert tags["llt.seeds"] == "0"
        assert tags["llt.status"] == "done"
        assert tags.get("llt.git.llt", "").rstrip("+") == (seen["git"]["llt"] or {}).get("sha", "")
        width = record.composition["architecture"]["parameters"]["width"]
        assert run.data.params["architecture.width"] == str(width)
        assert run.data.params["train.epochs"] == "2"
        assert f"(width={width})" in run.info.run_name
        if record.cell.kind == "measure":
            (measured,) = record.measurements
            assert run.data.metrics[measured.name] == measured.value
            assert run.data.metrics[f"{measured.name}.standard_error"] == measured.standard_error
            assert tags["llt.models"] == record.cell.models[0]
            wanted = {k: v for k, v in columns[record.digest].items() if k in run.data.params}
            assert len(wanted) > 20
            for name, value in wanted.items():
                assert run.data.params[name] == ("" if value is None else str(value)), name


def test_the_history_of_a_training_is_told_by_epoch(swept):
    database, first = swept[0] / "runs.db", swept[1][0]
    record = next(record for record in first.records if record.cell.kind == "train")
    run = next(r for r in runs(database, "widths") if r.data.tags["llt.digest"] == record.digest)
    with reading(database) as client:
        for name in ("train_loss", "train_accuracy", "learning_rate"):
            told = client.get_metric_history(run.info.run_id, name)
            assert {p.step: p.value for p in told} == {
                epoch.epoch: getattr(epoch, name) for epoch in record.history
            }
        loss = sorted(
            client.get_metric_history(run.info.run_id, "train_loss"), key=lambda p: p.step
        )
    assert loss[0].timestamp < loss[1].timestamp


# ------------------------------------------------------------------------- what else happens


def test_failures_divergence_and_pairs(database, told):
    assert not told(MlflowRuns(to=str(database)))
    known = by_digest(database, "small")
    model, lost, _, gap, fails = (known[digest] for digest in DIGESTS[:5])
    assert fails.info.status == "FAILED"
    assert fails.data.tags["llt.failure"] == "code"
    assert fails.data.tags["llt.message"] == "ZeroDivisionError: on purpose"
    assert "    ZeroDivisionError: on purpose" in fails.data.tags["mlflow.note.content"]
    assert fails.data.params["metric"] == "llt/hessian_trace"
    assert fails.data.params["architecture.width"] == "4"
    assert lost.info.status == "FINISHED"
    assert lost.data.tags["llt.status"] == "diverged"
    assert lost.data.metrics["train_loss"] == 2.3
    assert gap.data.tags["llt.models"] == f"{DIGESTS[0]} {DIGESTS[1]}"
    assert gap.data.tags["llt.status.gap"] == "undefined"
    assert set(gap.data.metrics) == {"seconds"}
    assert model.data.params["label_noise_2.fraction"] == "0.2"
    assert model.data.params["train.milestones"] == "0.5 0.75"


def test_long_histories_and_long_values_fit(database, told):
    start, (hook, facts), end = request()[0], request()[2], request()[-1]
    record = facts["record"]
    (first, _) = record["history"]
    record["history"] = [first | {"epoch": number + 1} for number in range(700)]
    many = {f"p{number}": number for number in range(250)}
    record["composition"]["train"] = many | {"long": "x" * 10_000}
    assert not told(MlflowRuns(to=str(database)), [start, (hook, facts), end])
    (run,) = runs(database, "small")
    with reading(database) as client:
        loss = client.get_metric_history(run.info.run_id, "train_loss")
        assert sorted(point.step for point in loss) == list(range(1, 701))
    assert run.data.params["train.p249"] == "249"
    assert run.data.params["train.long"] == "x" * 499 + "…"
    assert run.info.status == "FINISHED"


def test_names_of_experiments(database, told):
    nameless = [(hook, facts) for hook, facts in request() if hook != "llt_cell_failed"]
    nameless[0][1]["summary"]["name"] = ""
    assert not told(MlflowRuns(to=f"sqlite:///{database}"), nameless)
    assert len(runs(database, "llt")) == 4
    assert not told(MlflowRuns(to=str(database), experiment="mine"))
    assert len(runs(database, "mine")) == 5


def test_a_relative_file_and_what_mlflow_is_told_by_variable(
    empty_database, told, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    for name in ("here.db", "there.db"):
        (tmp_path / name).write_bytes(empty_database.read_bytes())
    assert not told(MlflowRuns(to="here.db"))
    assert len(runs(tmp_path / "here.db", "small")) == 5
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///there.db")
    assert not told(MlflowRuns())
    assert len(runs(tmp_path / "there.db", "small")) == 5


def test_a_folder_as_mlflow_had_it_once(told, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    folder = f"file://{tmp_path}/mlruns"
    assert not told(MlflowRuns(to=folder))
    assert len(runs(folder, "small")) == 5


def test_without_work_mlflow_is_not_imported(tmp_path):
    code = f"""
import sys
from llt_core.testing.requests import answered
from llt_plugins.trackers.mlflow_runs import MlflowRuns
tracker = MlflowRuns(to={str(tmp_path / "no.db")!r})
(_, started), (_, finished) = answered()
tracker.llt_sweep_started(**started)
tracker.llt_sweep_finished()
assert "mlflow" not in sys.modules and "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    assert not (tmp_path / "no.db").exists()


# ------------------------------------------------------------------------- when it does not answer


def change(database, statement):
    """Take a table away from under MLflow's feet, or give it back."""
    with contextlib.closing(sqlite3.connect(database)) as connection:
        connection.execute(statement)
        connection.commit()


def test_what_it_misses_is_told_later(database, told, capfd):
    tracker = MlflowRuns(to=str(database))
    start, *cells, end = request()
    assert not told(tracker, [start])
    change(database, "ALTER TABLE runs RENAME TO away")
    errors = told(tracker, cells[:4])
    assert [hook for hook, _ in errors] == ["llt_cell_finished"] * 2
    assert "tried again" in str(errors[0][1])
    assert "no such table" in str(errors[0][1])
    assert "Traceback" not in str(errors[0][1]) + capfd.readouterr().err
    change(database, "ALTER TABLE away RENAME TO runs")
    assert not told(tracker, [*cells[4:], end])
    assert set(by_digest(database, "small")) == set(DIGESTS[:5])


def test_after_three_failures_it_is_left_alone_until_the_end(database, told):
    tracker = MlflowRuns(to=str(database))
    start, *cells, end = request()
    assert not told(tracker, [start])
    change(database, "ALTER TABLE runs RENAME TO away")
    errors = told(tracker, cells)
    assert len(errors) == 3, "the fourth and fifth cell do not wait"
    assert "told at the end" in str(errors[2][1])
    ((hook, error),) = told(tracker, [end])
    assert hook == "llt_sweep_finished"
    assert "MLflow was not told of 5 cells; the store has them" in str(error)
    change(database, "ALTER TABLE away RENAME TO runs")
    assert runs(database, "small") == []
    assert not told(tracker)
    assert len(runs(database, "small")) == 5


def test_at_the_end_it_is_asked_once_more(database, told):
    tracker = MlflowRuns(to=str(database))
    start, *cells, end = request()
    assert not told(tracker, [start])
    change(database, "ALTER TABLE runs RENAME TO away")
    assert len(told(tracker, cells)) == 3
    change(database, "ALTER TABLE away RENAME TO runs")
    assert not told(tracker, [end])
    assert len(runs(database, "small")) == 5


def test_runs_that_are_refused_do_not_wait(database, told):
    tracker = MlflowRuns(to=str(database))
    start, *cells, end = request()
    assert not told(tracker, [start, *cells[:2]])
    with reading(database) as client:
        client.delete_experiment(client.get_experiment_by_name("small").experiment_id)
    errors = told(tracker, cells[2:4])
    assert [hook for hook, _ in errors] == ["llt_cell_finished"]
    assert "MLflow refuses a run" in str(errors[0][1])
    with reading(database) as client:
        client.restore_experiment(client.get_experiment_by_name("small").experiment_id)
    ((hook, error),) = told(tracker, [*cells[4:], end])
    assert hook == "llt_sweep_finished"
    assert "MLflow was not told of 1 cell;" in str(error)
    assert set(by_digest(database, "small")) == {*DIGESTS[:5]} - {DIGESTS[1]}


@pytest.fixture
def silent():
    """The address of a server that accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_a_server_that_never_answers_holds_nobody_up(silent):
    observers = Observers(Catalogue.discover(), {"mlflow": {"to": silent, "timeout": 1}})
    assert not observers.errors
    start = time.monotonic()
    for hook, facts in request():
        observers.notify(hook, **facts)
    assert time.monotonic() - start < 20
    ((name, hook, message),) = observers.errors
    assert (name, hook) == ("llt/mlflow", "llt_sweep_started")
    assert "nothing is tracked" in message
    assert silent in message


def test_what_the_user_has_set_stands(monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "77")
    monkeypatch.delenv("MLFLOW_DISABLE_TELEMETRY", raising=False)
    with patient(3):
        assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "77"
        assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "77"
    assert "MLFLOW_DISABLE_TELEMETRY" not in os.environ


# ------------------------------------------------------------------------- a real server


def serve(database, port):
    """Start ``mlflow server`` and wait until it answers."""
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri"]
    command += [f"sqlite:///{database}", "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(
        [*command, "--workers", "1"],
        env=os.environ | quiet,
        cwd=database.parent,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    end = time.monotonic() + 120
    while time.monotonic() < end and process.poll() is None:
        time.sleep(0.3)
        with contextlib.suppress(Exception), reading(f"http://127.0.0.1:{port}") as client:
            client.search_experiments(max_results=1)
            return process
    stop(process)
    raise AssertionError("mlflow server does not start")


def stop(process):
    import signal

    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.slow
def test_a_real_server_that_dies_and_comes_back(database, told):
    for module in ("flask", "flask_cors", "graphene", "aiohttp"):
        pytest.importorskip(module)  # what `mlflow server` needs and its client does not
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    tracker = MlflowRuns(to=address)
    start, *cells, end = request()
    server = serve(database, port)
    try:
        assert not told(tracker, [start, *cells[:2]])
        assert len(runs(address, "small")) == 1
        stop(server)
        begin = time.monotonic()
        ((hook, error),) = told(tracker, cells[2:4])
        assert time.monotonic() - begin < 30
        assert hook == "llt_cell_finished"
        assert "tried again" in str(error)
        server = serve(database, port)
        assert not told(tracker, [*cells[4:], end])
        known = by_digest(address, "small")
        assert set(known) == set(DIGESTS[:5])
        statuses = {digest: run.info.status for digest, run in known.items()}
        assert statuses == dict.fromkeys(DIGESTS[:4], "FINISHED") | {DIGESTS[4]: "FAILED"}
    finally:
        stop(server)
