"""A supervised pool of long-lived worker processes, one job in flight in each."""

from __future__ import annotations

import pickle
import selectors
import signal
import socket
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from llt_core.interfaces import FailureKind, Job, Outcome, Progress, Report
from llt_plugins.executors import frames
from llt_plugins.executors.interruptions import Interruptions
from llt_plugins.executors.nursery import Nursery


@dataclass(eq=False)
class Worker:
    """One process, seen from the driver.

    Attributes
    ----------
    slot
        Which of the pool's places it takes; a place has its own variables (a GPU).
    deadline
        When its job must have ended, in seconds of the monotonic clock.
    begun
        Whether it has said that it took the job up.
    proven
        Whether it has done a job before.
    reason
        Why it is about to be killed, where the pool decided so.
    """

    slot: int
    pipe: socket.socket
    inbox: frames.Inbox
    job: Job | None = None
    report: Report = lambda progress: None
    deadline: float | None = None
    begun: bool = False
    proven: bool = False
    reason: tuple[FailureKind, str] | None = None
    usable: bool = True


class Pool:
    """Workers of the driver on its own machine, started when first needed.

    Parameters
    ----------
    slots
        The variables of each worker's environment; as many workers as there are entries.
    limit
        Seconds a job may take, None for no limit.
    fresh
        Start each worker as a new interpreter, with nothing loaded.
    """

    def __init__(
        self, slots: Sequence[Mapping[str, str]], limit: float | None = None, fresh: bool = False
    ) -> None:
        self._slots, self._limit, self._fresh = slots, limit, fresh
        self._queue: deque[tuple[Job, Report]] = deque()
        self._workers: dict[int, Worker] = {}
        self._ended: list[Outcome] = []
        self._nursery: Nursery | None = None
        self._interruptions: Interruptions | None = None
        self._count = 0

    def submit(self, job: Job, report: Report) -> None:
        """Give a job to a worker, or keep it until one is free."""
        self._queue.append((job, report))
        self._hear_nursery()
        self._hand_out()

    def poll(self, timeout: float | None) -> list[Outcome]:
        """Wait for a job to end, at most ``timeout`` seconds; return how those did that have.

        What was heard is kept if a report raises, and told by the next call.
        """
        end = None if timeout is None else time.monotonic() + timeout
        if self._interruptions is None:
            self._interruptions = Interruptions()
        with self._interruptions as interruptions:
            while not self._ended and (self._queue or self._busy()):
                ready = self._wait(interruptions, end)
                if not self._ended and (interruptions in ready or _over(end)):
                    break
        ended, self._ended = self._ended, []
        return ended

    def stop(self, patience: float = 0.0) -> None:
        """Drop what waits and end all processes; idle workers have ``patience`` seconds.

        The pool can be used again, with new workers.
        """
        self._queue.clear()
        try:
            if self._nursery is not None:
                for worker in self._workers.values():
                    with suppress(OSError):
                        if worker.job is None:
                            frames.write(worker.pipe, None)
                self._nursery.stop(0 if self._busy() else patience)
        finally:
            self._nursery = None
            for worker in self._workers.values():
                worker.pipe.close()
            self._workers.clear()
            if self._interruptions is not None:
                self._interruptions.close()
                self._interruptions = None

    def _busy(self) -> list[Worker]:
        return [worker for worker in self._workers.values() if worker.job is not None]

    # ------------------------------------------------------------------------- handing out

    def _hand_out(self) -> None:
        """Give waiting jobs to idle workers, new ones if there is room."""
        while self._queue:
            idle = next((w for w in self._workers.values() if w.usable and w.job is None), None)
            worker = idle or self._start()
            if worker is None:
                return
            job, report = self._queue[0]
            try:
                frames.write(worker.pipe, job)
            except OSError:  # it died idle; its job goes to another
                worker.usable = False
                continue
            except BaseException:
                self._queue.popleft()  # it cannot be pickled, or it is too late anyway
                raise
            self._queue.popleft()
            worker.job, worker.report = job, report
            worker.deadline = None if self._limit is None else time.monotonic() + self._limit

    def _start(self) -> Worker | None:
        """Start a worker in the first free place; None if there is none."""
        taken = {worker.slot for worker in self._workers.values()}
        free = [slot for slot in range(len(self._slots)) if slot not in taken]
        if not free:
            return None
        if self._nursery is None:
            shared = dict(set.intersection(*(set(slot.items()) for slot in self._slots)))
            preload = self._queue[0][0].entry.partition(":")[0]
            self._nursery = Nursery(preload, shared, self._fresh)
        self._count += 1
        pipe = self._nursery.start(self._count, self._slots[free[0]])
        worker = Worker(free[0], pipe, frames.Inbox(pipe))
        self._workers[self._count] = worker
        return worker

    # ----------------------------------------------------------------------------- hearing

    def _wait(
        self, interruptions: Interruptions, end: float | None
    ) -> list[frames.Inbox | Interruptions]:
        """Wait until something happens, and take note of it; return what could be read."""
        busy = {worker.inbox: worker for worker in self._busy() if not worker.inbox.closed}
        sources: list[frames.Inbox | Interruptions] = [*busy, interruptions]
        if self._nursery is not None:
            sources.append(self._nursery.notices)
        moments = [w.deadline for w in busy.values() if w.deadline is not None and not w.reason]
        if end is not None:
            moments.append(end)
        left = max(0.0, min(moments) - time.monotonic()) if moments else None
        if any(inbox.pending for inbox in busy):
            left = 0.0  # kept when a report raised
        ready = _readable(sources, left)
        for inbox, worker in busy.items():
            if inbox in ready or inbox.pending:
                self._hear(worker)
        self._hear_nursery()
        self._stop_late()
        self._hand_out()
        return ready

    def _hear(self, worker: Worker, reporting: bool = True) -> None:
        """Take what a worker says: progress, or how its job ended."""
        for content in worker.inbox.take():
            if worker.job is None:
                continue
            message = _unpack(content, worker.job)
            if isinstance(message, Outcome):
                worker.job = worker.deadline = None
                worker.begun, worker.proven = False, True
                self._ended.append(message)
            elif message is None:
                worker.begun = True
            elif reporting:
                worker.report(message)

    def _hear_nursery(self) -> None:
        """Take note of workers that have ended, and of the nursery's own end."""
        if self._nursery is None:
            return
        for number, code in self._nursery.hear():
            self._bury(number, _end_of_process("the worker", code))
        if self._nursery.gone:
            code = self._nursery.clear_away()
            self._nursery = None
            for number in list(self._workers):
                self._bury(number, _end_of_process("the process that starts workers", code))

    def _bury(self, number: int, how: str) -> None:
        """Let go of a worker; the job it had has failed, unless it had said otherwise.

        A job that it never took up goes to another: it died idle. If it died before its first
        job, others would too, so the job has failed.
        """
        worker = self._workers.pop(number)
        self._hear(worker, reporting=False)
        worker.pipe.close()
        if worker.job is None:
            return
        if worker.proven and not worker.begun and not worker.reason:
            self._queue.appendleft((worker.job, worker.report))
            return
        kind, message = worker.reason or ("killed", how)
        self._ended.append(Outcome(worker.job.id, failure=kind, message=message))

    def _stop_late(self) -> None:
        """Kill the workers whose jobs take too long."""
        for number, worker in self._workers.items():
            if worker.job is None or not _over(worker.deadline) or worker.reason:
                continue
            worker.reason = ("timeout", f"the job took longer than {(self._limit or 0) / 60:g} min")
            if self._nursery is not None:
                self._nursery.signal(number, signal.SIGKILL)


def _readable(
    sources: Sequence[frames.Inbox | Interruptions], seconds: float | None
) -> list[frames.Inbox | Interruptions]:
    """Wait until there is something to read; return where, nowhere when time is up."""
    with selectors.DefaultSelector() as selector:
        for source in sources:
            selector.register(source, selectors.EVENT_READ, source)
        return [key.data for key, _ in selector.select(seconds)]


def _unpack(content: bytes, job: Job) -> Outcome | Progress | None:
    try:
        message: Outcome | Progress | None = pickle.loads(content)
    except Exception as error:
        text = f"the result cannot be read here: {type(error).__name__}: {error}"
        return Outcome(job.id, failure="code", message=text)
    return message


def _over(moment: float | None) -> bool:
    return moment is not None and time.monotonic() >= moment


def _end_of_process(who: str, code: int) -> str:
    """Say how a process ended in the middle of a job."""
    if code >= 0:
        return f"{who} ended with exit code {code} in the middle of the job"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    why = "; perhaps the kernel had run out of memory" if -code == signal.SIGKILL else ""
    return f"{who} was killed by {name} in the middle of the job{why}"
