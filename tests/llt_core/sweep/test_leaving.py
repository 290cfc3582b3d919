"""Jobs that go on without their driver: left, taken up, waited for, and never in vain."""

import errno
import os
import signal
import threading
import time
from contextlib import contextmanager, suppress

import pytest

import llt_core
from llt_core.store import Failure, Store, drivers
from llt_core.store import claims as claims_module
from llt_core.store.cells import StoreError
from llt_core.store.claims import Claim, Claims, read_claims
from llt_core.store.drivers import Driver, DriverRecord, ask_to_stop
from llt_core.store.files import write_whole
from llt_core.sweep import Listener
from llt_core.sweep.scheduler import Scheduler

FAST = {"epochs": 1, "batch_size": 256}
LONG = {"epochs": 100_000, "batch_size": 8}


class Notes(Listener):
    """Remembers what happens, and may do something about it."""

    def __init__(self, **then):
        self.texts, self.events, self._then = [], [], then

    def noted(self, text):
        self.texts.append(text)
        self._then.get("noted", lambda text: None)(text)

    def planned(self, todo, cached):
        self._then.get("planned", lambda todo: None)(todo)

    def started(self, cells):
        self.events += [("started", planned.digest) for planned in cells]
        self._then.get("started", lambda cells: None)(cells)

    def progress(self, progress):
        self._then.get("progress", lambda progress: None)(progress)

    def finished(self, result):
        self.events.append(("finished", result.planned.digest))


@pytest.fixture
def sweep(detached):
    """Return llt_core.sweep over two tiny networks; keywords override."""

    def run(executor="detached", *, train=FAST, metrics=(), seconds=100, **more):
        with at_most(seconds):
            return llt_core.sweep(
                task="digits",
                architecture="mlp:depth=1",
                train=train,
                metrics=list(metrics),
                axes={"load": {"field": "architecture.width", "values": [4, 5]}},
                executor=executor,
                store=detached / "store",
                compute={"threads": 1},
                **more,
            )

    return run


@contextmanager
def at_most(seconds):
    """Fail instead of waiting for ever."""

    def late(number, frame):
        raise AssertionError(f"not over after {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture
def tidy(detached):
    """End the jobs that a test leaves."""
    yield
    for file in detached.rglob("executors/detached/*.pid"):
        with suppress(ProcessLookupError):
            os.killpg(int(file.read_text()), signal.SIGKILL)


def left_by_a_dead_machine(store, digest, executor, handle):
    """Put a claim there as a driver elsewhere would have left it; its last beat is just over."""
    token = "elsewhere-1-00"
    record = DriverRecord(token=token, host="elsewhere", place="elsewhere", pid=1)
    for folder in ("drivers", "claims"):
        (store.root / folder).mkdir(exist_ok=True)
    write_whole(store.root / "drivers" / f"{token}.json", record.model_dump_json())
    (store.root / "claims" / digest).mkdir()
    claim = Claim(driver=token, executor=executor, handle=handle)
    write_whole(store.root / "claims" / digest / "1", claim.model_dump_json())


def test_a_driver_elsewhere_that_dies_while_others_wait(sweep, detached, monkeypatch):
    monkeypatch.setattr(drivers, "DEAD_AFTER", 2.5)
    store = Store(detached / "store")
    listener = Notes(
        planned=lambda todo: left_by_a_dead_machine(store, todo[0].digest, "detached", "999999")
    )
    result = sweep(listener=listener)
    assert [cell.origin for cell in result.results] == ["new", "new"]
    assert list(read_claims(store.root)) == []


def test_a_job_of_another_executor_is_named_and_waited_for(sweep, detached, monkeypatch):
    monkeypatch.setattr(drivers, "DEAD_AFTER", 2.5)
    store = Store(detached / "store")

    def given_up(text):
        for digest, claim in list(read_claims(store.root)):
            if claim.executor == "cluster":
                (store.root / "claims" / digest / "1").unlink()

    listener = Notes(
        planned=lambda todo: left_by_a_dead_machine(store, todo[0].digest, "cluster", "77_0"),
        noted=given_up,
    )
    result = sweep("inline", listener=listener)
    assert [cell.origin for cell in result.results] == ["new", "new"]
    assert listener.texts == [
        "waiting for 1 job of cluster without a driver (77_0): "
        "--executor cluster takes them up, llt cancel ends them"
    ]


@pytest.mark.parametrize("how", ["fault", "terminate"])
def test_neither_a_fault_nor_a_request_to_terminate_costs_jobs(sweep, detached, tidy, how):
    def break_off(cells):
        if how == "fault":
            (detached / "break").touch()
        else:
            threading.Thread(target=terminate_when_named).start()

    def terminate_when_named():
        while not any(claim.handle for _, claim in read_claims(detached / "store")):
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    expected = ZeroDivisionError if how == "fault" else KeyboardInterrupt
    with pytest.raises(expected):
        sweep("detached:cells=1", train=LONG, listener=Notes(started=break_off))
    ((digest, claim),) = read_claims(detached / "store")
    assert runs(claim.handle)
    (detached / "break").unlink(missing_ok=True)
    # It is taken up by the next driver, which leaves it again.
    with pytest.raises(KeyboardInterrupt):
        sweep("detached:cells=1", train=LONG, listener=Notes(started=interrupt))
    ((again, taken),) = read_claims(detached / "store")
    assert (again, taken.handle) == (digest, claim.handle)
    assert taken.driver != claim.driver
    assert runs(claim.handle)


def test_terminated_before_a_job_was_passed_on(sweep, detached, tidy):
    with pytest.raises(KeyboardInterrupt):
        sweep(listener=Notes(started=lambda cells: os.kill(os.getpid(), signal.SIGTERM)))
    assert [claim.handle for _, claim in read_claims(detached / "store")] == [""]
    result = sweep()
    assert [cell.origin for cell in result.results] == ["new", "new"]
    assert list(read_claims(detached / "store")) == []


@pytest.mark.parametrize("fault", ["while taken up", "cannot be named", "impatience"])
def test_no_claim_is_lost_however_the_driver_ends(sweep, detached, tidy, monkeypatch, fault):
    write = claims_module.write_whole
    sent = []

    def trouble(path, text, **keys):
        if path.parent.parent.name == "claims":
            if fault == "cannot be named":
                raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
            if fault == "impatience" and len(sent) < 3:
                sent.append(os.kill(os.getpid(), signal.SIGINT))
        return write(path, text, **keys)

    if fault == "while taken up":
        sweep(train=LONG, detach=True)
        once = iter([signal.SIGTERM])
        listener = Notes(started=lambda cells: [os.kill(os.getpid(), n) for n in once])
        with pytest.raises(KeyboardInterrupt):
            sweep(train=LONG, listener=listener)
    else:
        monkeypatch.setattr(claims_module, "write_whole", trouble)
        with pytest.raises((OSError, KeyboardInterrupt)):
            sweep(train=LONG)
        monkeypatch.undo()
        os.chdir(detached)
    assert len(list(read_claims(detached / "store"))) == 2
    # Whoever comes next finds the jobs, named or not, and does not submit them again.
    begun = sorted(file.stat().st_mtime_ns for file in detached.rglob("executors/*/*.json"))
    sweep(train=LONG, detach=True)
    claims = dict(read_claims(detached / "store"))
    assert len({claim.handle for claim in claims.values() if claim.handle}) == 2
    assert sorted(f.stat().st_mtime_ns for f in detached.rglob("executors/*/*.json")) == begun


def test_ctrl_c_leaves_what_runs_and_drops_what_was_not_passed_on(sweep, detached, tidy):
    seen = []

    def twice(cells):
        seen.extend(cells)
        if len(seen) == 2:
            interrupt(cells)

    listener = Notes(started=twice)
    with pytest.raises(KeyboardInterrupt):
        sweep("detached:gate=1", train=LONG, listener=listener)
    ((digest, claim),) = read_claims(detached / "store")
    assert digest == seen[0].digest
    assert runs(claim.handle)
    assert listener.texts[-1] == "leaving 1 job to go on; the same command takes them up"


def test_asked_to_finish_it_drops_what_has_not_begun(sweep, detached, tidy):
    store = Store(detached / "store")

    def ask(cells):
        if len(listener.events) == 2:
            token = next(iter(drivers.drivers(store))).token
            ask_to_stop(store, token, "finish")

    listener = Notes(started=ask)
    with pytest.raises(KeyboardInterrupt):
        sweep("detached:gate=1", train=LONG, listener=listener)
    assert "dropped 1 job that had not begun" in listener.texts
    assert len(list(read_claims(store.root))) == 1


def test_asked_to_stop_now_it_ends_all_jobs(sweep, detached, tidy):
    store = Store(detached / "store")
    handles = []

    def ask(cells):
        if len(listener.events) < 2:
            return
        threading.Thread(target=ask_when_named).start()

    def ask_when_named():
        while len(named := [c.handle for _, c in read_claims(store.root) if c.handle]) < 2:
            time.sleep(0.05)
        handles.extend(named)
        ask_to_stop(store, next(iter(drivers.drivers(store))).token, "now")

    listener = Notes(started=ask)
    with pytest.raises(KeyboardInterrupt):
        sweep(train=LONG, listener=listener)
    assert list(read_claims(store.root)) == []
    assert len(handles) == 2
    deadline = time.monotonic() + 20
    while any(map(runs, handles)):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_now_is_heard_while_what_has_not_begun_is_dropped(sweep, detached, tidy, monkeypatch):
    store = Store(detached / "store")
    withdraw = Scheduler._withdraw

    def slow(scheduler):
        withdraw(scheduler)
        ask_to_stop(store, next(iter(drivers.drivers(store))).token, "now")

    def ask(cells):
        ask_to_stop(store, next(iter(drivers.drivers(store))).token, "finish")

    monkeypatch.setattr(Scheduler, "_withdraw", slow)
    with pytest.raises(KeyboardInterrupt):
        sweep("detached:cells=1", train=LONG, listener=Notes(started=ask))
    assert list(read_claims(store.root)) == []


def test_a_full_disk_of_who_listens_ends_the_sweep(sweep):
    def full(cells):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(StoreError, match="cannot be written any more"):
        sweep("inline", seconds=30, listener=Notes(started=full))


@pytest.mark.parametrize("kind", ["damaged", "storage", "killed"])
def test_what_failed_elsewhere_for_a_passing_cause_is_done_here(sweep, detached, kind):
    store = Store(detached / "store")
    sweep("inline")
    with Driver(store) as other:
        claims = Claims(store, other)

        def fail(planned):
            time.sleep(1.5)
            told = {"digest": planned.digest, "cell": planned.cell, "kind": kind, "attempt": 1}
            store.record_failure(Failure(**told, message=kind, traceback="", time="2026-01-01"))
            claims.release_all()

        def take(todo):
            claims.take(todo[0].digest)
            threading.Thread(target=fail, args=[todo[0]]).start()

        result = sweep("inline", metrics=["train_loss"], listener=Notes(planned=take))
    assert {cell.origin for cell in result.results} == {"new", "cached"}


def test_a_strange_look_at_claims_costs_nothing(sweep, detached, monkeypatch):
    """A file server is away for a moment, while a cell is held."""
    store = Store(detached / "store")
    calls = []

    def all_orphans(self):
        calls.append(time.monotonic())
        if len(calls) == 1:
            return {}
        if len(calls) == 3:
            claims.release_all()
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    monkeypatch.setattr(Claims, "all_orphans", all_orphans)
    with Driver(store) as other:
        claims = Claims(store, other)
        take = Notes(planned=lambda todo: claims.take(todo[0].digest))
        result = sweep("inline", listener=take)
    assert len(calls) >= 3
    assert [cell.origin for cell in result.results] == ["new", "new"]


def test_detached_from_python(sweep, detached, tidy):
    result = sweep(train=LONG, detach=True)
    assert result.results == ()
    assert len(list(read_claims(detached / "store"))) == 2


def test_what_others_held_is_started_while_a_long_cell_reports(sweep, detached):
    """Reports come from inside the executor, and must not keep the driver from looking."""
    store = Store(detached / "store")
    with Driver(store) as other:
        claims = Claims(store, other)
        listener = Notes(
            planned=lambda todo: claims.take(todo[1].digest),
            progress=lambda progress: claims.release_all(),
        )
        sweep("ticking", listener=listener)
    (one, two), first_end = (
        [digest for event, digest in listener.events if event == "started"],
        [event for event, _ in listener.events].index("finished"),
    )
    assert one != two
    assert ("started", two) in listener.events[:first_end]


def test_a_lost_race_for_a_damaged_model_is_run_again_once(sweep):
    result = sweep("unlucky:times=1", metrics=["train_loss"])
    assert [cell.origin for cell in result.results] == ["new"] * 4
    again = sweep("unlucky:times=9", metrics=["test_loss"])
    failed = [cell for cell in again.results if cell.origin == "failed"]
    assert [cell.failure for cell in failed] == ["damaged", "damaged"]


def interrupt(cells):
    os.kill(os.getpid(), signal.SIGINT)


def runs(handle):
    assert handle
    try:
        with open(f"/proc/{handle}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
