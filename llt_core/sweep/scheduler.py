"""The scheduler: keeps an executor busy with the cells that can start, until all have ended."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from llt_core.interfaces import Executor, Job, Progress
from llt_core.spec.naming import counted
from llt_core.store import states
from llt_core.sweep.interrupts import Interrupts
from llt_core.sweep.jobs import JobMaker
from llt_core.sweep.outcomes import Outcomes
from llt_core.sweep.plan import PlannedCell

LOOK_EVERY = 1.0
"""Seconds between two looks at what others do: who asks to stop, and what they computed."""
WAITING_EVERY = 60.0
"""Seconds after which to say once more for whom this driver waits."""


@dataclass
class Scheduler:
    """The cells of one request on their way through an executor.

    Attributes
    ----------
    running
        The cells each job on its way computes, by the job's id.
    left
        Whether jobs were left to go on alone.
    cancelling
        Whether somebody asked to stop everything now, jobs that would go on alone included.
    """

    executor: Executor
    jobs: JobMaker
    outcomes: Outcomes
    interrupts: Interrupts
    running: dict[str, list[PlannedCell]] = field(default_factory=dict)
    left: bool = field(default=False, init=False)
    cancelling: bool = field(default=False, init=False)

    _named: dict[str, str] = field(default_factory=dict, init=False)
    _held: dict[str, int] = field(default_factory=dict, init=False)
    _looked: float = field(default=0.0, init=False)
    _said: tuple[str, float] = field(default=("", 0.0), init=False)
    _due: bool = field(default=True, init=False)
    _told: set[str] = field(default_factory=set, init=False)

    def __post_init__(self) -> None:
        known = self.outcomes
        self.plan, self.store, self.agenda = known.plan, known.store, known.agenda
        self.claims, self.driver, self.listener = known.claims, known.driver, known.listener

    def run(self) -> None:
        """Compute everything; see :meth:`llt_core.sweep.engine.Engine.run` for what it raises."""
        while True:
            self._look_around()
            if not self._stopping:
                self._fill()
            if self._leaving:
                self.leave()
                break
            if self.running:
                for outcome in self.executor.poll(LOOK_EVERY):
                    self._named.pop(outcome.job, None)
                    cells = self.running.pop(outcome.job)
                    with self.outcomes.disk():
                        self.outcomes.settle(self.jobs.received(outcome), cells)
                self._name_jobs()
            elif self._stopping or not self.agenda.held:
                break
            else:
                self._tell_waiting()
                time.sleep(LOOK_EVERY / 4)
        if self.outcomes.full is not None:
            raise self.outcomes.full
        if self.interrupts.asked:
            raise KeyboardInterrupt

    @property
    def _stopping(self) -> bool:
        failed = self.outcomes.failed and self.outcomes.policy.fail_fast
        return self.interrupts.asked or failed or self.outcomes.full is not None

    @property
    def _leaving(self) -> bool:
        """Whether to go now, because the jobs that run need nobody."""
        if not self.executor.outlives_driver or not self.running:
            return False
        return self.interrupts.asked or (
            self.outcomes.policy.detach and self.running.keys() == self._named.keys()
        )

    def leave(self) -> None:
        """Let jobs go on alone; those the executor has not passed on yet are dropped."""
        self._name_jobs()
        for job in self._named:
            for planned in self.running[job]:
                self.claims.leave(planned.digest)
        self.left = True
        if self._named:
            count = counted(len(self._named), "job")
            self.listener.noted(f"leaving {count} to go on; the same command takes them up")

    def _look_around(self) -> None:
        """Hear who asks to stop, and see what others have finished or left meanwhile."""
        if not (self._hear() or self._due):
            return
        self._due = False
        if self.driver.asked_to_stop and self.executor.outlives_driver:
            self._withdraw()
            self._stop_if_asked()
        if not self._stopping:
            with self.outcomes.disk():
                self._take_up_held()
            self.agenda.reconsider()

    def _hear(self) -> bool:
        """Hear who asks to stop; whether it was time to."""
        if time.monotonic() - self._looked < LOOK_EVERY:
            return False
        self._looked = time.monotonic()
        self._stop_if_asked()
        if self.driver.asked_to_stop and not self.interrupts.asked:
            self.interrupts.ask()
        return True

    def _stop_if_asked(self) -> None:
        if self.driver.asked_to_stop == "now":
            self.cancelling = True
            raise KeyboardInterrupt

    def _withdraw(self) -> None:
        """Drop the jobs that have not begun: others than those that run are not wanted."""
        dropped = self.executor.withdraw()
        for job in dropped:
            self._named.pop(job, None)
            for planned in self.running.pop(job, ()):
                self.driver.running.pop(planned.digest, None)
                self.claims.release(planned.digest)
        if dropped:
            self.listener.noted(f"dropped {counted(len(dropped), 'job')} that had not begun")

    def _take_up_held(self) -> None:
        """Take over the jobs of held cells whose driver has died since this one started."""
        held = {planned.digest: planned for planned in self.agenda.held}
        orphans: dict[tuple[str, str], list[str]] = {}
        with suppress(OSError):  # asked again in a second
            orphans = self.claims.all_orphans() if held else {}
        others: dict[str, list[str]] = {}
        for (executor, handle), digests in orphans.items():
            if held.keys().isdisjoint(digests):
                continue
            if executor == self.claims.executor and self.executor.outlives_driver:
                taken = {d for d in digests if d in held and self.claims.adopt(d, handle)}
                self.take_up({handle: self.agenda.release(taken)} if taken else {})
            else:
                others.setdefault(executor, []).append(handle)
        for executor in others.keys() - self._told:
            self._told.add(executor)
            first, count = others[executor][0], counted(len(others[executor]), "job")
            self.listener.noted(
                f"waiting for {count} of {executor} without a driver ({first}): "
                f"--executor {executor} takes them up, llt cancel ends them"
            )

    def _tell_waiting(self) -> None:
        """Say who computes what is left, as nothing can start here before that is over."""
        try:
            elsewhere = states.running(self.store)
        except OSError:  # asked again soon
            return
        held = sorted({planned.digest for planned in self.agenda.held} & elsewhere.keys())
        if held:
            who, label = elsewhere[held[0]].who, self.plan[held[0]].label
            more = f" (and {len(held) - 1} more)" if len(held) > 1 else ""
            text = f"waiting for {who}, which computes {label}{more}"
            said, when = self._said
            if text != said or time.monotonic() - when >= WAITING_EVERY:
                self._said = (text, time.monotonic())
                self.listener.waiting(text)

    def _fill(self) -> None:
        """Submit what can start, as far as the executor has room."""
        while not self._stopping and len(self.running) < max(1, self.executor.capacity()):
            group = self.agenda.next()
            if group is None:
                return
            with self.outcomes.disk():
                self._start(group)

    def _start(self, group: list[PlannedCell]) -> None:
        """Submit what is left of a group: not found, not held, not blocked by a lost model."""
        ready = [planned for planned in group if self._can_start(planned)]
        if not ready:
            return
        for planned in ready:
            self.outcomes.tell("llt_cell_started", planned, composition=planned.composition)
        job = self.jobs.make(
            ready,
            self.plan,
            halvings=self.outcomes.halvings(ready),
            again=self.outcomes.tried(ready),
        )
        self.running[job.id] = ready
        self._said = ("", 0.0)
        for planned in ready:
            self._show(planned.digest)
        try:
            self.listener.started(ready)
            if not self._attached(job):
                self.executor.submit(job, self.progress)
        except OSError:
            del self.running[job.id]
            raise

    def _attached(self, job: Job) -> bool:
        """Take a job over that a driver submitted and died before it could note its handle."""
        if not self.executor.outlives_driver:
            return False
        inherited = any(self.claims.inherited(p.digest) for p in self.running[job.id])
        return inherited and self.executor.attach(job, "", self.progress)

    def _can_start(self, planned: PlannedCell) -> bool:
        digest = planned.digest
        if self.outcomes.found(planned):
            return False
        if self.claims.take(digest) is not None:  # another driver is computing it
            self._held.setdefault(digest, self.store.attempts(digest))
            self.agenda.later(planned)
            return False
        before = self._held.pop(digest, None)
        if before is not None and self.outcomes.failed_elsewhere(planned, before):
            return False
        # Another driver may have finished it between the look and the claim.
        return not (self.outcomes.found(planned) or self.outcomes.blocked(planned))

    def progress(self, progress: Progress) -> None:
        """Pass on how far a job is, to who draws it and to who looks from outside."""
        self._due |= self._hear()  # one long cell must not keep the driver from hearing
        if progress.job not in self.plan:
            return  # a job taken over may also compute what nobody asks for now
        self._show(progress.job, progress.done, progress.total, progress.text)
        self.listener.progress(progress)

    def _show(self, digest: str, done: int = 0, total: int = 0, text: str = "") -> None:
        label = self.plan[digest].label
        self.driver.running[digest] = {"label": label, "done": done, "total": total, "text": text}

    def take_up(self, jobs: Mapping[str, list[PlannedCell]]) -> None:
        """Take over jobs, by handle, that an earlier driver left."""
        for handle, cells in jobs.items():
            job = self.jobs.make(cells, self.plan)
            if self.executor.attach(job, handle, self.progress):
                self.running[job.id] = cells
                self._named[job.id] = handle
                self.listener.started(cells)
            else:
                for planned in cells:
                    self.agenda.again(planned)

    def _name_jobs(self) -> None:
        """Note in the claims how another driver could take over the jobs that have names."""
        for job, handle in self.executor.handles().items():
            if job in self.running and self._named.get(job) != handle:
                self._named[job] = handle
                with self.outcomes.disk():
                    for planned in self.running[job]:
                        self.claims.name(planned.digest, handle)
