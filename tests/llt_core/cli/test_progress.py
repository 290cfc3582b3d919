"""What is drawn, or written, while cells are computed."""

import io
import json
import re

import pytest
from rich.console import Console

import llt_core
from llt_core.cli.json_lines import JsonLines
from llt_core.cli.progress import _Bars
from llt_core.cli.sweep_progress import SweepProgress
from llt_core.interfaces import Progress
from llt_core.plugins import Catalogue
from llt_core.spec import SweepSpec
from llt_core.store import Store
from llt_core.store.index import records
from llt_core.sweep import CellResult, make_plan

GRID = {
    "task": "digits",
    "architecture": "mlp:depth=1,width=4",
    "metrics": ["train_loss", "l2_distance"],
    "models": 2,
    "train": {"epochs": 1, "batch_size": 256},
    "axes": {"rate": {"field": "train.learning_rate", "values": [0.05, 1e30]}},
}


@pytest.fixture
def sweep(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(listener, **changes):
        return llt_core.sweep(
            store=tmp_path / "store", data_root=tmp_path, compute={"threads": 1},
            executor="inline", listener=listener, **{**GRID, **changes},
        )  # fmt: skip

    return run


@pytest.fixture
def plan(tmp_path):
    return make_plan(SweepSpec.of(**GRID), Catalogue.discover(), tmp_path)


def test_one_object_a_line(sweep, capsys):
    with JsonLines() as listener:
        sweep(listener)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    events = [line["event"] for line in lines]
    assert events[0] == "planned"
    assert events[-1] == "summary"
    assert (lines[0]["todo"], lines[0]["cached"]) == (10, 0)
    assert lines[0]["kinds"] == {"train": 4, "train_loss": 4, "l2_distance": 2}
    summary = lines[-1]
    assert summary["cells"] == {"new": 7, "cached": 0, "failed": 0, "blocked": 3}
    assert summary["ended"] == "done"
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT.*\+00:00", line["time"]) for line in lines)
    ended = {line["digest"]: line for line in lines if line["event"] in ("finished", "failed")}
    assert len(ended) == 10
    started = [line["digest"] for line in lines if line["event"] == "started"]
    assert len(started) == len(set(started)) == 7
    for digest, line in ended.items():
        if line["event"] == "failed":
            assert line["origin"] == "blocked"
            assert "diverged" in line["message"]
        else:
            assert digest in started
            assert line["seconds"] > 0
    statuses = [line["status"] for line in ended.values() if line["kind"] == "train"]
    assert sorted(statuses) == ["diverged", "diverged", "done", "done"]
    loss = next(line for line in ended.values() if line.get("measurements"))
    measured = loss["measurements"][0]
    assert measured["value"] > 0
    with JsonLines() as listener:
        sweep(listener)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["event"] for line in lines] == ["planned", *["failed"] * 3, "summary"]
    assert {line["origin"] for line in lines[1:-1]} == {"blocked"}
    assert lines[-1]["cells"] == {"new": 0, "cached": 7, "failed": 0, "blocked": 3}


def test_progress_of_one_cell_at_most_once_a_second(plan, capsys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("llt_core.cli.json_lines.time.monotonic", lambda: now[0])
    one, two = plan.trains[:2]
    listener = JsonLines()
    listener.planned([one, two], 0)
    for step in range(30):
        now[0] = step / 10
        for cell in (one, two):
            listener.progress(Progress(cell.digest, step, 30, "epoch"))
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    told = [(line["digest"], line["done"]) for line in lines if line["event"] == "progress"]
    assert told == [(cell.digest, step) for step in (0, 10, 20) for cell in (one, two)]


@pytest.mark.parametrize(
    ("error", "ended"), [(KeyboardInterrupt, "interrupted"), (ValueError, "error")]
)
def test_the_summary_comes_however_it_ends(error, ended, capsys):
    with pytest.raises(error), JsonLines():
        raise error
    assert json.loads(capsys.readouterr().out)["ended"] == ended


def test_failures_and_tries_in_json(plan, capsys):
    listener = JsonLines()
    listener.planned(list(plan.cells), 0)
    result = CellResult(plan.trains[0], "failed", message="gone", failure="killed")
    listener.retrying(result, 1)
    listener.finished(result)
    _, again, failed = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert (again["event"], again["attempt"], again["failure"]) == ("retrying", 1, "killed")
    assert (failed["event"], failed["message"], failed["file"]) == ("failed", "gone", None)


@pytest.mark.parametrize(("height", "shown"), [(10, 7), (24, 21), (60, 40), (3, 2)])
def test_no_more_bars_than_the_terminal_has_lines(height, shown):
    console = Console(file=io.StringIO(), force_terminal=True, width=80, height=height)
    bars = _Bars(console=console)
    for number in range(40):
        bars.add_task(f"cell-{number}", total=10)
    with console.capture() as capture:
        for renderable in bars.get_renderables():
            console.print(renderable)
    text = capture.get()
    assert text.count("cell-") == shown
    assert "cell-0 " in text
    assert (f"… and {40 - shown} more running" in text) == (shown < 40)


def test_lines_where_there_is_no_terminal(sweep, capsys):
    with SweepProgress() as listener:
        sweep(listener)
    err = capsys.readouterr().err
    assert "10 cells to do, 0 in the store" in err
    assert err.count("diverged: its loss is not finite") == 2
    assert "[10/10]" in err
    assert "left" in err
    with SweepProgress() as listener:
        sweep(listener, metrics=["train_loss", "l2_distance"], force=True)
        listener.retrying(
            CellResult(make_first(listener), "failed", message="killed\nmore", failure="killed"), 1
        )
    assert "attempt 1 failed, another follows: killed\n" in capsys.readouterr().err


@pytest.mark.parametrize("live", [True, False])
def test_for_whom_it_waits_is_shown_until_it_goes_on(plan, capsys, live):
    listener = SweepProgress()
    listener._live, listener._plain = live, not live
    first = plan.trains[0]
    with listener:
        listener.planned([first], 0)
        listener.waiting("waiting for process 7 on there")
        if live:
            shown = [task.description for task in listener._progress.tasks]
            assert shown[1:] == ["waiting for process 7 on there"]
        else:
            assert "waiting for process 7 on there\n" in capsys.readouterr().err
        listener.started([first])
        assert not any("waiting" in task.description for task in listener._progress.tasks)


def make_first(listener):
    return next(iter(listener._todo.values()))


def test_the_time_left_is_shared_by_jobs_that_run_at_once(sweep, plan, tmp_path):
    sweep(None, axes={})
    timed = [
        record.model_copy(update={"seconds": 10.0 * max(1, len(record.history))})
        for record in records(Store(tmp_path / "store"))
    ]
    spec = SweepSpec.of(**{**GRID, "models": 40})
    trains = list(make_plan(spec, Catalogue.discover(), tmp_path).trains[:40])
    listener = SweepProgress(quiet=True)
    listener.planned(trains, 0)
    assert listener.seconds_left() is None
    for record in timed:
        listener._estimator.add(record)
    assert listener.seconds_left() == pytest.approx(400)
    for cell in trains[:4]:
        listener.started([cell])
    assert listener.seconds_left() == pytest.approx(400), "a cluster may let them wait"
    for cell in trains[:4]:
        listener.progress(Progress(cell.digest, 0, 2, "epoch"))
    assert listener.seconds_left() == pytest.approx(100)
    for cell in trains[:4]:
        listener.progress(Progress(cell.digest, 1, 2, "epoch"))
    assert listener.seconds_left() == pytest.approx(95)
    for cell in trains[1:]:
        listener._left.pop(cell.digest)
        listener._end(cell.digest)
    assert listener.seconds_left() == pytest.approx(5), "one cell cannot be shared"
