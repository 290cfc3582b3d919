"""Deliberately wrong executors are caught by the kit, each by the check meant for it."""

import os
import re
import signal
from dataclasses import replace

import pytest
from pydantic import PrivateAttr

from llt_core.interfaces import Executor, perform
from llt_core.testing import ExecutorConformance
from llt_plugins.executors.local import Local


class Sound(Executor):
    summary = "one job after the other, right here"

    _queue: list = PrivateAttr(default_factory=list)

    def capacity(self):
        return 1

    def submit(self, job, report):
        self._queue.append((job, report))

    def poll(self, timeout=None):
        return [perform(*self._queue.pop(0))] if self._queue else []

    def cancel(self):
        self._queue.clear()


class NoRoom(Sound):
    def capacity(self):
        return 0


class Forgetful(Sound):
    def poll(self, timeout=None):
        return [one for one in super().poll() if one.job != "3"]


class Repetitive(Sound):
    def poll(self, timeout=None):
        return super().poll() * 2


class Lossy(Sound):
    def poll(self, timeout=None):
        return [
            replace(one, result=one.result and {key: str(one.result[key]) for key in one.result})
            for one in super().poll()
        ]


class Vague(Sound):
    def poll(self, timeout=None):
        return [replace(one, failure=one.failure and "code") for one in super().poll()]


class Terse(Sound):
    def poll(self, timeout=None):
        return [replace(one, traceback="") for one in super().poll()]


class Hopeful(Sound):
    """Takes an end without an error message for a success."""

    def poll(self, timeout=None):
        return [
            replace(one, failure=None) if one.message == "SystemExit: 0" else one
            for one in super().poll()
        ]


class Remembering(Sound):
    _known: dict = PrivateAttr(default_factory=dict)

    def poll(self, timeout=None):
        return [self._known.setdefault(one.job, one) for one in super().poll()]


class Eager(Sound):
    """Works while the driver submits."""

    def submit(self, job, report):
        self._queue.append(perform(job, report))

    def poll(self, timeout=None):
        return [self._queue.pop(0)] if self._queue else []


class Silent(Sound):
    def submit(self, job, report):
        super().submit(job, lambda progress: None)


class Garbled(Sound):
    def submit(self, job, report):
        super().submit(job, lambda progress: report(replace(progress, job=job.id)))


class Chatty(Sound):
    """Tells of jobs that nobody gave it."""

    def poll(self, timeout=None):
        return super().poll() or ["something"]


class Boasting(Sound):
    def handles(self):
        return {job.id: "a handle" for job, _ in self._queue}


class Credulous(Sound):
    def attach(self, job, handle, report):
        return True


QUICK = {"patience": 0.5, "several": 4, "step": 0.01}


def kit(executor, **attributes):
    body = {"component": executor, **QUICK, **attributes}
    return type("Checks", (ExecutorConformance,), body)()


def test_a_sound_executor_passes(failures):
    assert failures(ExecutorConformance, Sound(), **QUICK, own_processes=False) == {}


@pytest.mark.parametrize(
    ("executor", "check", "words"),
    [
        (NoRoom, "test_capacity", "no job could ever start"),
        (Forgetful, "test_results_come_back", "no job of Forgetful ended"),
        (Repetitive, "test_results_come_back", "tell the end of each job once"),
        (Lossy, "test_results_come_back", "changed a payload or result"),
        (Vague, "test_failures_have_a_kind", "not 'request'"),
        (Terse, "test_failures_have_a_kind", "traceback of"),
        (Hopeful, "test_a_plugin_that_exits_costs_its_job", "is a success"),
        (Remembering, "test_an_id_can_be_used_again", "forget a job"),
        (Eager, "test_progress_is_reported_from_inside_poll", "reports outside poll()"),
        (Silent, "test_progress_is_reported_from_inside_poll", "passed none of"),
        (Garbled, "test_progress_is_reported_from_inside_poll", "changed a report"),
        (Chatty, "test_poll_without_jobs_returns_at_once", "no job is on its way"),
        (Boasting, "test_handles", "set outlives_driver"),
        (Credulous, "test_handles", "a handle it cannot know"),
    ],
)
def test_a_wrong_executor_is_caught(executor, check, words):
    with pytest.raises((AssertionError, AttributeError)) as caught:
        getattr(kit(executor(), own_processes=False), check)()
    assert words in str(caught.value)


class Stubborn(Local):
    """Does not stop what runs; how it ends is nobody's concern."""

    def cancel(self):
        pass

    def close(self):
        super().cancel()


class Deserting(Stubborn):
    """Turns its back on what runs, with nobody left to stop it."""

    def cancel(self):
        self._gone = self._pool
        self._pool = None

    def close(self):
        self._pool = self._gone
        super().close()

    _gone: object = PrivateAttr(default=None)


class Blind(Local):
    def poll(self, timeout=None):
        return [one for one in super().poll(timeout) if one.failure != "killed"]


class Mistaken(Local):
    def poll(self, timeout=None):
        return [replace(one, failure=one.failure and "code") for one in super().poll(timeout)]


class Wild(Local):
    def submit(self, job, report):
        os.environ["LLT_THREADS"] = "many"
        super().submit(job, report)
        os.environ.pop("LLT_THREADS")

    @property
    def _look(self):
        return lambda: [{}]


class Patient(Local):
    """Waits as long as it likes."""

    def poll(self, timeout=None):
        signal.setitimer(signal.ITIMER_REAL, 2)  # only to end this test
        return super().poll(None)


@pytest.mark.parametrize(
    ("executor", "check", "words"),
    [
        (Stubborn, "test_cancel_stops_what_waits_and_runs", "for nothing"),
        (Deserting, "test_cancel_stops_what_waits_and_runs", "running after cancel()"),
        (Blind, "test_a_killed_process_costs_its_job", "notices every end"),
        (Mistaken, "test_a_killed_process_costs_its_job", "call them killed"),
        (Wild, "test_threads_are_told", "a number from 1 up"),
        (Patient, "test_poll_returns_in_time", "took"),
    ],
)
def test_a_wrong_executor_with_processes_is_caught(executor, check, words):
    before = signal.signal(signal.SIGALRM, lambda *_: None)
    try:
        checks = kit(executor(workers=1, threads=1), patience=3.0)
        with pytest.raises(AssertionError, match=re.escape(words)):
            getattr(checks, check)()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
