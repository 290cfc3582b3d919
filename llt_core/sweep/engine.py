"""The engine: asks the store what exists, has the rest computed, and says what became of it."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from llt_core.interfaces import Executor, FailureKind, Job, Outcome, Progress
from llt_core.plugins.observers import Observers
from llt_core.spec import ComputeSettings, MeasureCell
from llt_core.store import Failure, Record, Store
from llt_core.sweep.plan import Plan, PlannedCell

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
        todo = missing(plan, self.store, self.force)
        cached = [planned for planned in plan.cells if planned.digest not in todo]
        self._take_cached(cached)
        self.listener.planned(list(todo.values()), len(cached))
        if todo:
            plan.task.prepare(self.data_root)
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
        for digest in todo:
            if not self.force and digest in self.store and not _usable(self.store, digest):
                self.store.set_aside(digest)

    def _take_cached(self, cells: list[PlannedCell]) -> None:
        for planned in cells:
            record = self.store.read(planned.digest)
            if record is not None:
                self._results[planned.digest] = CellResult(planned, "cached", record)

    def _work(self, plan: Plan, todo: dict[str, PlannedCell]) -> None:
        """Submit models, then release each group of measurements as its models exist."""
        waiting = _groups([m for m in plan.measures if m.digest in todo])
        running = 0
        for train in plan.trains:
            if train.digest in todo:
                self._submit(TRAIN_ENTRY, [train], plan)
                running += 1
        while True:
            ready = [g for g in waiting if not any(self._pending(d, todo) for d in _models(*g))]
            waiting = [group for group in waiting if group not in ready]
            for group in ready:
                running += self._release(group, plan)
            if not running:
                return
            for outcome in self.executor.poll():
                running -= 1
                self._settle(outcome)

    def _pending(self, digest: str, todo: dict[str, PlannedCell]) -> bool:
        return digest in todo and digest not in self._results

    def _release(self, group: list[PlannedCell], plan: Plan) -> int:
        """Submit one group, less what is blocked because a model it reads does not exist."""
        lost = {digest: why for digest in _models(*group) if (why := self._lost(digest))}
        ready = []
        for planned in group:
            gone = [digest for digest in _models(planned) if digest in lost]
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
                digest: plan[digest].cell.model_dump(mode="json") for digest in _models(*cells)
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

    def _settle(self, outcome: Outcome) -> None:
        """Turn the end of a job into results of its cells."""
        answers: dict[str, Any] = outcome.result or {}
        for planned in self._jobs.pop(outcome.job):
            answer = answers.get(planned.digest)
            if answer is None:
                self._fail(planned, outcome.failure or "killed", outcome.message, outcome.traceback)
            elif "failure" in answer:
                self._fail(planned, answer["failure"], answer["message"], answer["traceback"])
            else:
                record = self.store.read(planned.digest)
                self._finish(CellResult(planned, "new", record))

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
    if force or store is None:
        return {planned.digest: planned for planned in plan.cells}
    measures = {m.digest: m for m in plan.measures if store.read(m.digest) is None}
    needed = {digest for m in measures.values() for digest in _models(m)}
    if not plan.measures:
        needed = {train.digest for train in plan.trains}
    trains = {
        train.digest: train
        for train in plan.trains
        if train.digest in needed and not _usable(store, train.digest)
    }
    return trains | measures


def _usable(store: Store, digest: str) -> bool:
    """Whether a model's record is there and its checkpoint is what the record says."""
    record = store.read(digest)
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


def _models(*cells: PlannedCell) -> tuple[str, ...]:
    """Return the digests that measure cells read, each once (train cells read none)."""
    found = [d for c in cells if isinstance(c.cell, MeasureCell) for d in c.cell.models]
    return tuple(dict.fromkeys(found))


def _groups(measures: list[PlannedCell]) -> list[list[PlannedCell]]:
    """Gather measurements that share loads and forward passes.

    All that read one and the same model go together, and so do all pairs and sets: K models
    then cost K loads and K passes, not K².
    """
    groups: dict[tuple[str, ...], list[PlannedCell]] = {}
    for planned in measures:
        models = _models(planned)
        groups.setdefault(models if len(models) == 1 else (), []).append(planned)
    return list(groups.values())
