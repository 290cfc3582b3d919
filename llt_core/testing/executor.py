"""What every executor must do."""

from __future__ import annotations

import os
import time
from typing import Any, get_args
from unittest import SkipTest

from llt_core.interfaces import THREADS_VARIABLE, FailureKind, Job, Progress
from llt_core.testing.driving import Driving, job
from llt_core.testing.jobs import ERRORS

LONG = 3600.0
"""Seconds that a job sleeps which nobody waits for."""


class ExecutorConformance(Driving):
    """Subclass it and set ``component``; override what follows where your executor differs.

    Attributes
    ----------
    own_processes
        Whether jobs run outside the driver's process, so that they may end theirs.
    several
        How many jobs are submitted where there should be several.
    patience
        Seconds within which a job must have ended that takes no time itself.
    step
        Seconds between two reports of a job, long enough for the executor to pass one on.
    """

    # ---------------------------------------------------------------------- what comes back

    def test_results_come_back(self) -> None:
        """Each job is done once and returns what it should, in any order."""
        payload: dict[str, Any] = {
            "text": "Bäume\n", "list": [1, -2.5, None, True], "table": {"": {}}, "big": 2**60,
        }  # fmt: skip
        with self.running() as executor:
            jobs = [job(str(k), "give_back", k=k, **payload) for k in range(self.several)]
            ended = self.outcomes(executor, jobs)
        for k in range(self.several):
            found = ended[str(k)]
            assert found.failure is None, f"{self.who}: {found.message}\n{found.traceback}"
            assert found.result == {"k": k, **payload}, (
                f"{self.who} changed a payload or result on its way: {found.result!r}"
            )

    def test_bytes_travel_where_files_are_not_shared(self) -> None:
        """Without shared files, checkpoints are part of payloads and results."""
        with self.running() as executor:
            if executor.shares_files:
                raise SkipTest("shares files")
            content = bytes(range(256)) * 4096
            found = self.outcome(executor, job("bytes", "give_back", content=content))
        assert found.result == {"content": content}, f"{self.who} lost bytes: {found.message}"

    def test_an_id_can_be_used_again(self) -> None:
        """A job that failed is tried again under its id."""
        with self.running() as executor:
            first = self.outcome(executor, job("again", "fail", kind="code"))
            second = self.outcome(executor, job("again", "give_back", k=1))
        assert first.failure == "code", f"{self.who}: {first}"
        assert second.result == {"k": 1}, (
            f"{self.who} answers the second job called 'again' with {second}: forget a job "
            "once its outcome is told"
        )

    def test_capacity(self) -> None:
        """At least one job may be on its way."""
        with self.running() as executor:
            capacity = executor.capacity()
        assert isinstance(capacity, int), f"{self.who}.capacity() is {capacity!r}"
        assert capacity >= 1, f"{self.who}.capacity() is {capacity}; no job could ever start"

    # ----------------------------------------------------------------------------- failures

    def test_failures_have_a_kind(self) -> None:
        """An error in a job is told with its kind, message and traceback; the rest goes on."""
        kinds = [kind for kind in get_args(FailureKind) if kind in ERRORS]
        with self.running() as executor:
            jobs = [job(kind, "fail", kind=kind) for kind in kinds]
            ended = self.outcomes(executor, [*jobs, job("good", "give_back", k=1)])
        assert ended["good"].result == {"k": 1}, f"{self.who}: {ended['good']}"
        for kind in kinds:
            found = ended[kind]
            assert found.result is None, f"{self.who}: a job that raised has {found.result!r}"
            assert found.failure == kind, (
                f"{self.who} calls {ERRORS[kind]!r} a failure of kind {found.failure!r}, not "
                f"{kind!r}: use perform() on the far side and pass its Outcome on"
            )
            words = str(ERRORS[kind]).splitlines()[0]
            assert words in found.message, f"{self.who} says {found.message!r}, not {words!r}"
            assert (kind == "request") != ("in fail" in found.traceback), (
                f"{self.who}: the traceback of {kind} is {found.traceback!r}"
            )

    def test_what_cannot_be_imported_fails_alone(self) -> None:
        """An unknown module or function is the job's failure."""
        names = ("llt_core.testing.jobs:nothing", "llt_core.testing.no_such_module:run")
        with self.running() as executor:
            ended = self.outcomes(executor, [Job(name, name, {}) for name in names])
        for name in names:
            assert ended[name].failure == "code", f"{self.who}: {name} led to {ended[name]}"

    def test_a_plugin_that_exits_costs_its_job(self) -> None:
        """``sys.exit`` in a job is no end of anything else, and no success."""
        with self.running() as executor:
            jobs = [job("0", "leave", status=0), job("1", "leave", status=1)]
            ended = self.outcomes(executor, [*jobs, job("good", "give_back", k=1)])
        assert ended["good"].result == {"k": 1}, f"{self.who}: {ended['good']}"
        for name in ("0", "1"):
            assert ended[name].failure is not None, f"{self.who}: sys.exit({name}) is a success"

    def test_a_killed_process_costs_its_job(self) -> None:
        """A worker that dies is noticed; its job is ``killed``, every other is done."""
        self._needs_own_processes()
        bad = [job("kill", "kill"), job("crash", "crash", status=3), job("zero", "crash", status=0)]
        good = [job(str(k), "give_back", k=k) for k in range(self.several)]
        with self.running() as executor:
            ended = self.outcomes(executor, [*bad, *good])
        for one in bad:
            found = ended[one.id]
            assert found.failure == "killed", (
                f"{self.who}: the process of job {one.id!r} ended and the failure is "
                f"{found.failure!r}: notice ends of workers, and call them killed"
            )
            assert found.message, f"{self.who} does not say how job {one.id!r} was killed"
        for one in good:
            assert ended[one.id].result == one.payload, f"{self.who}: {ended[one.id]}"

    # ------------------------------------------------------------------- progress and polls

    def test_progress_is_reported_from_inside_poll(self) -> None:
        """Reports arrive in order, while :meth:`poll` runs, before the job's outcome."""
        polling = [False]
        heard: list[Progress] = []

        def report(progress: Progress) -> None:
            assert polling[0], f"{self.who} reports outside poll(): keep it for the next poll"
            heard.append(progress)

        steps = 5
        with self.running() as executor:
            executor.submit(
                job("job", "advance", job="cell", steps=steps, seconds=self.step), report
            )
            polling[0] = True
            found = self.next_outcomes(executor)
            polling[0] = False
            told = len(heard)
            polling[0] = True
            executor.poll(timeout=self.step)
        assert found[0].failure is None, f"{self.who}: {found[0].message}"
        sent = [Progress("cell", step, steps, f"step {step}") for step in range(1, steps + 1)]
        assert heard, f"{self.who} passed none of {steps} reports on in {steps * self.step:g} s"
        assert all(one in sent for one in heard), f"{self.who} changed a report: {heard}"
        order = [one.done for one in heard]
        assert order == sorted(set(order)), f"{self.who} mixed reports up: steps {order}"
        assert told == len(heard), f"{self.who} reports after it has told the outcome"

    def test_poll_without_jobs_returns_at_once(self) -> None:
        """Before the first job, and after the last."""
        with self.running() as executor:
            self._returns_at_once(executor)
            self.outcome(executor, job("one", "give_back"))
            self._returns_at_once(executor)

    def test_poll_returns_in_time(self) -> None:
        """A driver has other things to do than to wait for a long job."""
        self._needs_own_processes()
        with self.running() as executor:
            executor.submit(job("long", "sleep", seconds=LONG), lambda progress: None)
            start = time.monotonic()
            found = executor.poll(timeout=0.2)
            seconds = time.monotonic() - start
        assert found == [], f"{self.who}: a job that sleeps has ended: {found}"
        assert seconds < self.patience / 2, f"{self.who}.poll(0.2) took {seconds:.1f} s"

    def test_cancel_stops_what_waits_and_runs(self) -> None:
        """Nothing more is told of cancelled jobs, and their processes end."""
        self._needs_own_processes()
        with self.workspace() as folder, self.running(folder) as executor:
            begun = folder / "begun"
            payload = {"begun": str(begun)} if executor.shares_files else {}
            count = min(executor.capacity(), 3)
            for number in range(count):
                one = job(str(number), "sleep", seconds=LONG, **(payload if not number else {}))
                executor.submit(one, lambda progress: None)
            end = time.monotonic() + self.patience
            while payload and not begun.exists():
                assert time.monotonic() < end, f"{self.who} did not start a job"
                assert executor.poll(timeout=0.1) == [], f"{self.who}: a sleeping job ended"
            start = time.monotonic()
            executor.cancel()
            seconds = time.monotonic() - start
            assert seconds < self.patience, f"{self.who}.cancel() took {seconds:.1f} s"
            self._returns_at_once(executor)
            if payload:
                host, pid = begun.read_text().split()
                self._ends(host, int(pid))

    # ------------------------------------------------------------------------- surroundings

    def test_threads_are_told(self) -> None:
        """The variable for the number of threads, if set, is a whole number from 1 up."""
        self._needs_own_processes()
        with self.running() as executor:
            result = self.outcome(executor, job("look", "surroundings")).result
        assert result is not None
        assert result["pid"] != os.getpid(), f"{self.who} runs jobs here: set own_processes"
        count = result["threads"]
        assert count is None or (count.isdigit() and int(count) >= 1), (
            f"{self.who} sets {THREADS_VARIABLE} to {count!r}; use a number from 1 up"
        )

    # -------------------------------------------------------------- jobs without their driver

    def test_handles(self) -> None:
        """Only jobs that outlive their driver have handles; a strange one is refused."""
        with self.running() as executor:
            assert executor.attach(job("x", "give_back"), "no-such-handle", _ignore) is False, (
                f"{self.who}.attach() accepts a handle it cannot know"
            )
            if executor.outlives_driver:
                return
            executor.submit(job("one", "give_back"), _ignore)
            handles = dict(executor.handles())
            self.next_outcomes(executor)
        assert handles == {}, (
            f"{self.who} gives handles {handles} to jobs that end with it: set outlives_driver"
        )

    def test_another_driver_takes_a_job_over(self) -> None:
        """A job goes on when its driver leaves, and its outcome is told to the next one."""
        if not self.component.outlives_driver:
            raise SkipTest("jobs end with their driver")
        one = job("one", "sleep", seconds=20 * self.step)
        with self.workspace() as folder:
            first = type(self.component).model_validate(self.component.model_dump())
            first.start(folder / "executor")
            first.submit(one, _ignore)
            end = time.monotonic() + self.patience
            while one.id not in first.handles():
                assert time.monotonic() < end, f"{self.who}.handles() never names the job"
                assert first.poll(timeout=0.1) == [], f"{self.who}: the job ended too early"
            handle = first.handles()[one.id]
            first.close()
            with self.running(folder) as second:
                assert second.attach(one, handle, _ignore), f"{self.who} forgot {handle!r}"
                (found,) = self.next_outcomes(second)
        assert (found.job, found.result) == (one.id, one.payload), f"{self.who}: {found}"


def _ignore(progress: Progress) -> None:
    pass
