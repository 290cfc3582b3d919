"""The engine: asks the store what exists, has the rest computed, and says what became of it."""

from __future__ import annotations

import hashlib
import time
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from llt_core.interfaces import Executor, FailureKind, Job, Outcome, Progress
from llt_core.plugins.observers import Observers
from llt_core.spec import ComputeSettings
from llt_core.store import Failure, Record, Store
from llt_core.sweep.plan import Plan, PlannedCell
from llt_core.sweep.waiting import Waiting, models_of

Origin = Literal["cached", "new", "failed", "blocked"]
TRAIN_ENTRY = "llt_core.work.worker:train"
MEASURE_ENTRY = "llt_core.work.worker:measure"


@dataclass(frozen=True)
class CellResult:
    """What became of one cell: its record, or why there is none."""

    planned: PlannedCell
    origin: Origin
    record: Record | None = None
    message: str = ""
    failure: FailureKind | None = None
    failure_file: Path | None = None


class Listener:
    """Hears of progress; the default ignores it. Command lines draw it."""

    def noted(self, text: str) -> None:
        """Hear of something the user may want to know before anything starts."""

    def planned(self, todo: list[PlannedCell], cached: int) -> None:
        """Hear which cells will be computed and how many were already there."""

    def progress(self, progress: Progress) -> None:
        """Hear how far a running job is; its id is the digest of a cell."""

    def finished(self, result: CellResult) -> None:
        """Hear that a cell ended, well or not."""


@dataclass
class Engine:
    """Runs plans against one store.

    Attributes
    ----------
    executor
        Where jobs run. The engine knows no more of it than its contract.
    force
        Compute every cell again, whatever the store holds.
    command
        The command line, for provenance.
    """

    store: Store
    executor: Executor
    observers: Observers
    data_root: Path
    compute: ComputeSettings = field(default_factory=ComputeSettings)
    force: bool = False
    command: str = ""
    listener: Listener = field(default_factory=Listener)
    _results: dict[str, CellResult] = field(default_factory=dict, init=False)
    _jobs: dict[str, list[PlannedCell]] = field(default_factory=dict, init=False)

    def run(self, plan: Plan) -> list[CellResult]:
        """Compute what is missing and return one result per cell, in the plan's order.

        Raises
        ------
        DataError, StoreError
            Data is needed and missing, or the store cannot be written; raised before
            anything starts.
        KeyboardInterrupt
            After the executor was told to stop; finished cells stay in the store.
        """
        start = time.monotonic()
        self._results, self._jobs = {}, {}
        todo, found = look(plan, self.store, self.force)
        for planned in plan.cells:
            if planned.digest in found:
                record = found[planned.digest]
                self._results[planned.digest] = CellResult(planned, "cached", record)
        self.listener.planned(list(todo.values()), len(plan.cells) - len(todo))
        if todo:
            for task in {id(p.parts.task): p.task for p in todo.values()}.values():
                task.prepare(self.data_root)
            self._ready_store(todo)
            try:
                self._work(plan, todo)
            except BaseException:
                self.executor.cancel()
                raise
        results = [self._results[c.digest] for c in plan.cells if c.digest in self._results]
        self._notify_end(results, time.monotonic() - start)
        return results

    def _ready_store(self, todo: dict[str, PlannedCell]) -> None:
        """Clear the way: leftovers of killed runs, and models whose checkpoint is damaged."""
        with self.store.staging("probe"):
            self.store.clean()
        for digest in () if self.force else todo:
            record = self.store.read(digest)
            if record is not None and not _usable(self.store, digest, record):
                self.store.set_aside(digest)

    def _work(self, plan: Plan, todo: dict[str, PlannedCell]) -> None:
        """Keep the executor busy: measurements whose models exist first, then the next model."""
        trains = deque(train for train in plan.in_order() if train.digest in todo)
        waiting = Waiting([m for m in plan.measures if m.digest in todo], todo)
        running = 0
        while True:
            while running < max(1, self.executor.capacity()) and (waiting.ready or trains):
                if waiting.ready:
                    running += self._release(waiting.ready.popleft(), plan)
                else:
                    train = trains.popleft()
                    if self._found(train):
                        waiting.ended(train.digest)
                    else:
                        self._submit(TRAIN_ENTRY, [train], plan)
                        running += 1
            if not running:
                return
            for outcome in self.executor.poll():
                running -= 1
                for planned in self._settle(outcome):
                    waiting.ended(planned.digest)

    def _found(self, planned: PlannedCell) -> bool:
        """Take a cell from the store if another process has finished it meanwhile."""
        record = None if self.force else self.store.read(planned.digest)
        if record is None or not _usable(self.store, planned.digest, record):
            return False
        self._finish(CellResult(planned, "cached", record))
        return True

    def _release(self, group: list[PlannedCell], plan: Plan) -> int:
        """Submit what is left of a group, less what is blocked by a model that does not exist."""
        group = [planned for planned in group if not self._found(planned)]
        lost = {digest: why for digest in models_of(*group) if (why := self._lost(digest))}
        ready = []
        for planned in group:
            gone = [digest for digest in models_of(planned) if digest in lost]
            if gone:
                message = f"not measured: {plan[gone[0]].label} {lost[gone[0]]}"
                self._finish(CellResult(planned, "blocked", message=message))
            else:
                ready.append(planned)
        if ready:
            self._submit(MEASURE_ENTRY, ready, plan)
        return 1 if ready else 0

    def _lost(self, digest: str) -> str | None:
        """Say what became of a model that cannot be measured; None if it can."""
        result = self._results.get(digest)
        record = result.record if result else self.store.read(digest)
        if record is None:
            return "failed"
        return None if record.status == "done" else "diverged"

    def _submit(self, entry: str, cells: list[PlannedCell], plan: Plan) -> None:
        for planned in cells:
            self.observers.notify("llt_cell_started", digest=planned.digest, kind=planned.cell.kind)
        payload = {
            "cells": [
                {
                    "digest": planned.digest,
                    "cell": planned.cell.model_dump(mode="json"),
                    "composition": planned.composition,
                }
                for planned in cells
            ],
            "models": {
                digest: plan[digest].cell.model_dump(mode="json") for digest in models_of(*cells)
            },
            "store": str(self.store.root),
            "data_root": str(self.data_root),
            "compute": self.compute.model_dump(mode="json"),
            "force": self.force,
            "command": self.command,
            "plugins": self.observers.provenance(),
        }
        self._jobs[cells[0].digest] = cells
        self.executor.submit(Job(cells[0].digest, entry, payload), self.listener.progress)

    def _settle(self, outcome: Outcome) -> list[PlannedCell]:
        """Turn the end of a job into results of its cells, and return these."""
        answers: dict[str, Any] = outcome.result or {}
        cells = self._jobs.pop(outcome.job)
        for planned in cells:
            answer = answers.get(planned.digest)
            if answer is None:
                self._fail(planned, outcome.failure or "killed", outcome.message, outcome.traceback)
            elif "failure" in answer:
                self._fail(planned, answer["failure"], answer["message"], answer["traceback"])
            else:
                record = self.store.read(planned.digest)
                self._finish(CellResult(planned, "new", record))
        return cells

    def _fail(self, planned: PlannedCell, kind: FailureKind, message: str, trace: str) -> None:
        failure = Failure(
            digest=planned.digest,
            cell=planned.cell,
            kind=kind,
            message=message,
            traceback=trace,
            attempt=self.store.attempts(planned.digest) + 1,
            time=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        try:
            file = self.store.record_failure(failure)
        except OSError:  # a full disk: the failure is told, if not recorded
            file = None
        self.observers.notify(
            "llt_cell_failed",
            digest=planned.digest,
            kind=planned.cell.kind,
            failure=failure.model_dump(mode="json"),
        )
        self._finish(
            CellResult(planned, "failed", message=message, failure=kind, failure_file=file)
        )

    def _finish(self, result: CellResult) -> None:
        self._results[result.planned.digest] = result
        if result.origin == "new" and result.record is not None:
            self.observers.notify(
                "llt_cell_finished",
                digest=result.planned.digest,
                kind=result.planned.cell.kind,
                record=result.record.model_dump(mode="json"),
            )
        self.listener.finished(result)

    def _notify_end(self, results: list[CellResult], seconds: float) -> None:
        counts: dict[str, int] = {}
        for result in results:
            counts[result.origin] = counts.get(result.origin, 0) + 1
        self.observers.notify("llt_sweep_finished", summary={"cells": counts, "seconds": seconds})


def missing(plan: Plan, store: Store | None, force: bool = False) -> dict[str, PlannedCell]:
    """Return the cells that must be computed, by digest, models first; change nothing.

    A model is needed if it is asked for alone, or if a missing measurement reads it. Without
    a store nothing is there yet.
    """
    return look(plan, store, force)[0]


def look(
    plan: Plan, store: Store | None, force: bool = False
) -> tuple[dict[str, PlannedCell], dict[str, Record]]:
    """Return what is :func:`missing`, and the records of the other cells that have one."""
    if force or store is None:
        return {planned.digest: planned for planned in plan.cells}, {}
    records = {m.digest: r for m in plan.measures if (r := store.read(m.digest)) is not None}
    measures = {m.digest: m for m in plan.measures if m.digest not in records}
    needed = {digest for m in measures.values() for digest in models_of(m)}
    needed |= {digest for p in plan.points if not p.measures for digest in p.trains}
    trains: dict[str, PlannedCell] = {}
    for train in plan.trains:
        record = store.read(train.digest)
        if train.digest in needed and not _usable(store, train.digest, record):
            trains[train.digest] = train
        elif record is not None:
            records[train.digest] = record
    return trains | measures, records


def _usable(store: Store, digest: str, record: Record | None) -> bool:
    """Whether a model's record is there and its checkpoint is what the record says."""
    if record is None:
        return False
    if record.checkpoint is None:
        return True
    file = store.path(digest) / record.checkpoint.file
    if file.is_file():
        with file.open("rb") as content:
            if hashlib.file_digest(content, "sha256").hexdigest() == record.checkpoint.sha256:
                return True
    return False
