"""What became of jobs: results of their cells, or another try."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from llt_core.interfaces import FailureKind, Outcome
from llt_core.interfaces.executor import known_kind
from llt_core.plugins.observers import Observers
from llt_core.store import Failure, Store
from llt_core.store.cells import StoreError
from llt_core.store.claims import Claims
from llt_core.store.drivers import Driver
from llt_core.store.partials import partial_file
from llt_core.store.sweeps import last_failure
from llt_core.sweep.agenda import Agenda
from llt_core.sweep.look import models_of, usable
from llt_core.sweep.plan import Plan, PlannedCell
from llt_core.sweep.results import CellResult, Listener

OUTSIDE: tuple[FailureKind, ...] = ("killed", "timeout", "out_of_memory")
"""Causes of failures outside the code, which are worth a retry."""
_PASSING: tuple[FailureKind, ...] = (*OUTSIDE, "damaged", "storage")
"""Failures of another driver's that say nothing of what happens here."""


@dataclass(frozen=True)
class Policy:
    """What to do about failures, and when to leave.

    Attributes
    ----------
    retries
        How often to try a cell again that failed for an outside cause.
    fail_fast
        Start nothing more once a cell has failed for good.
    detach
        Leave as soon as everything that can start was submitted, where jobs go on alone.
    """

    retries: int = 2
    fail_fast: bool = False
    detach: bool = False


@dataclass
class Outcomes:
    """Ends cells, one way or another, and tells everybody; ``results`` fills up.

    Attributes
    ----------
    failed
        Whether some cell has failed for good.
    full
        What to raise at the end because the store cannot be written any more.
    """

    plan: Plan
    results: dict[str, CellResult]
    store: Store
    claims: Claims
    driver: Driver
    agenda: Agenda
    observers: Observers
    listener: Listener
    policy: Policy
    force: bool = False
    failed: bool = field(default=False, init=False)
    full: StoreError | None = field(default=None, init=False)

    _tries: dict[str, int] = field(default_factory=dict, init=False)
    _halvings: dict[str, int] = field(default_factory=dict, init=False)
    _reached: dict[str, int] = field(default_factory=dict, init=False)
    _trained_anew: set[str] = field(default_factory=set, init=False)
    _read_anew: set[str] = field(default_factory=set, init=False)

    def halvings(self, cells: Sequence[PlannedCell]) -> int:
        """Return how often the samples at once have to be halved, after memory ran out."""
        return max(self._halvings.get(planned.digest, 0) for planned in cells)

    def tried(self, cells: Sequence[PlannedCell]) -> bool:
        """Whether any of the cells was tried before, in vain."""
        return any(planned.digest in self._tries for planned in cells)

    def settle(self, outcome: Outcome, cells: Sequence[PlannedCell]) -> None:
        """Take in the end of the job that computed ``cells``."""
        answers: dict[str, Any] = outcome.result or {}
        for planned in cells:
            answer = answers.get(planned.digest)
            if answer is None and self._stored(planned):
                continue  # the job was stopped after it had put this cell into the store
            if answer is None:
                kind, message = known_kind(outcome.failure, "killed"), outcome.message
                self._fail(planned, kind, message, outcome.traceback, alone=len(cells) == 1)
            elif "failure" in answer:
                kind = known_kind(answer["failure"], "code")
                self._fail(planned, kind, answer["message"], answer["traceback"])
            else:
                self._finish(CellResult(planned, "new", self.store.read(planned.digest)))

    def found(self, planned: PlannedCell) -> bool:
        """Take a cell from the store if another process has finished it meanwhile."""
        record = None if self.force else self.store.read(planned.digest)
        if record is None or not usable(self.store, record):
            return False
        self._finish(CellResult(planned, "cached", record))
        return True

    def failed_elsewhere(self, planned: PlannedCell, before: int) -> bool:
        """Whether another driver tried a cell in vain, after ``before`` failed attempts."""
        failure = last_failure(self.store, planned.digest)
        if failure is None or failure.attempt <= before or failure.kind in _PASSING:
            return False
        result = CellResult(planned, "failed", message=failure.message, failure=failure.kind)
        self._finish(result)
        return True

    def blocked(self, planned: PlannedCell) -> bool:
        """End a measurement that reads a model which does not exist."""
        for digest in models_of(planned):
            result = self.results.get(digest)
            record = result.record if result else self.store.read(digest)
            if record is None or record.status != "done":
                why = "failed" if record is None else "diverged"
                message = f"not measured: {self.plan[digest].label} {why}"
                self._finish(CellResult(planned, "blocked", message=message))
                return True
        return False

    def tell(self, hook: str, planned: PlannedCell, **facts: Any) -> None:
        """Let observers hear of a cell."""
        who = {"digest": planned.digest, "kind": planned.cell.kind, "label": planned.label}
        self.observers.notify(hook, **who, **facts)

    @contextmanager
    def disk(self) -> Iterator[None]:
        """Take note when the store turns out to be full, instead of raising at once."""
        try:
            yield
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
                raise
            self._note_full(error.strerror or str(error))

    def _stored(self, planned: PlannedCell) -> bool:
        record = None if self.force else self.store.read(planned.digest)
        if record is not None:
            self._finish(CellResult(planned, "new", record))
        return record is not None

    def _fail(
        self,
        planned: PlannedCell,
        kind: FailureKind,
        message: str,
        trace: str,
        alone: bool = True,
    ) -> None:
        """Record a failure; see to another try if it came from outside."""
        failure = Failure(
            digest=planned.digest,
            cell=planned.cell,
            kind=kind,
            message=message,
            traceback=trace,
            attempt=self.store.attempts(planned.digest) + 1,
            time=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        file = None
        with self.disk():  # a full disk: the failure is told, if not recorded
            file = self.store.record_failure(failure)
        told = failure.model_dump(mode="json")
        composition = planned.composition
        self.tell("llt_cell_failed", planned, composition=composition, failure=told)
        if kind == "storage":
            self._note_full(message)
        result = CellResult(planned, "failed", None, message, kind, file)
        if self._again(planned, kind, alone):
            self.driver.running.pop(planned.digest, None)
            self.listener.retrying(result, failure.attempt)
        else:
            self.failed = True
            self._finish(result)

    def _again(self, planned: PlannedCell, kind: FailureKind, alone: bool) -> bool:
        """Put a cell back on the agenda if it makes sense to try again."""
        digest = planned.digest
        damaged = [d for d in models_of(planned) if d not in self.store]
        if damaged and all(self._may_train_anew(model) for model in damaged):
            self._trained_anew.update(damaged)
            self.claims.release(digest)
            self.agenda.anew([self.plan[d] for d in damaged], planned)
            return True
        if kind == "damaged" and not damaged and digest not in self._read_anew:
            # Another measurement found the damage first, and the model was trained anew since.
            self._read_anew.add(digest)
            self.agenda.again(planned)
            return True
        if kind not in OUTSIDE:
            return False
        # One of a group may have cost all others the job: by itself each can show what it is.
        tries = self._tries.setdefault(digest, 0)
        if alone and not (self.policy.retries and self._got_further(digest)):
            self._tries[digest] = tries + 1
            if self._tries[digest] > self.policy.retries:
                return False
        if kind == "out_of_memory" and models_of(planned):
            self._halvings[digest] = self._halvings.get(digest, 0) + 1
        self.agenda.again(planned)
        return True

    def _may_train_anew(self, model: str) -> bool:
        """Whether a damaged model was not trained anew yet, or is just about to be."""
        return model not in self._trained_anew or self.agenda.awaited(model)

    def _got_further(self, digest: str) -> bool:
        """Whether a training has left a new checkpoint since its last attempt."""
        try:
            reached = partial_file(self.store, digest).stat().st_mtime_ns
        except OSError:
            return False
        further = reached != self._reached.get(digest)
        self._reached[digest] = reached
        return further

    def _finish(self, result: CellResult) -> None:
        planned = result.planned
        self.results[planned.digest] = result
        self.driver.running.pop(planned.digest, None)
        self.claims.release(planned.digest)
        self.agenda.ended(planned.digest)
        if result.origin == "new" and result.record is not None:
            record = result.record.model_dump(mode="json")
            self.tell("llt_cell_finished", planned, record=record)
        self.listener.finished(result)

    def _note_full(self, reason: str) -> None:
        self.full = StoreError(
            f"the store cannot be written any more: {reason}",
            where=str(self.store.root),
            expected="free space on the disk; finished cells are kept",
            next_step="make room (llt gc shows what can go), then the same command again",
        )
