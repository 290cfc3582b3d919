"""The engine: asks the store what exists, has the rest computed, and says what became of it."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from llt_core.interfaces import Executor
from llt_core.plugins.observers import Observers
from llt_core.spec import ComputeSettings
from llt_core.store import Store
from llt_core.store.claims import Claims
from llt_core.store.drivers import Driver
from llt_core.store.partials import drop_finished
from llt_core.sweep.agenda import Agenda
from llt_core.sweep.interrupts import Interrupts
from llt_core.sweep.jobs import JobMaker
from llt_core.sweep.look import look, usable
from llt_core.sweep.outcomes import Outcomes, Policy
from llt_core.sweep.plan import Plan, PlannedCell
from llt_core.sweep.results import CellResult, Listener
from llt_core.sweep.scheduler import Scheduler


@dataclass
class Engine:
    """Runs plans against one store.

    Attributes
    ----------
    executor, executor_name
        Where jobs run. The engine knows no more of it than its contract.
    policy
        What to do about failures, and when to leave.
    force
        Compute every cell again, whatever the store holds.
    sweep, command
        The sweep's name, for those who look from outside; the command line, for provenance.
    patient
        One interruption lets running cells finish; the second stops. Else the first does.
    """

    store: Store
    executor: Executor
    observers: Observers
    data_root: Path
    executor_name: str = ""
    compute: ComputeSettings = field(default_factory=ComputeSettings)
    policy: Policy = field(default_factory=Policy)
    force: bool = False
    sweep: str = ""
    command: str = ""
    patient: bool = False
    listener: Listener = field(default_factory=Listener)

    def run(self, plan: Plan) -> list[CellResult]:
        """Compute what is missing and return one result per cell, in the plan's order.

        Cells that were not started, because the first failure was to end the run or because
        jobs go on without this process, have none.

        Raises
        ------
        DataError, StoreError
            Data is needed and missing, or the store cannot be written; raised before
            anything starts, unless the disk gets full.
        KeyboardInterrupt
            After running cells have finished, or the executor was told to stop; finished
            cells stay in the store.
        """
        start = time.monotonic()
        seen = look(plan, self.store, self.force)
        drop_finished(self.store, seen.found)
        results = {d: CellResult(plan[d], "cached", record) for d, record in seen.found.items()}
        self.listener.planned(list(seen.todo.values()), len(seen.found))
        for digest, model in seen.lost.items():
            message = f"not measured: {plan[model].label} diverged"
            results[digest] = CellResult(plan[digest], "blocked", message=message)
            self.listener.blocked(results[digest])
        self._notify_start(plan, seen.todo)
        if seen.todo:
            for task in {id(p.parts.task): p.task for p in seen.todo.values()}.values():
                task.prepare(self.data_root)
            self._ready_store(seen.todo)
            try:
                self._compute(plan, seen.todo, results)
            except BaseException:
                self._notify_end(plan, results, time.monotonic() - start)
                raise
        self._notify_end(plan, results, time.monotonic() - start)
        return [results[c.digest] for c in plan.cells if c.digest in results]

    def _ready_store(self, todo: dict[str, PlannedCell]) -> None:
        """Clear the way: leftovers of killed runs, and models whose checkpoint is damaged."""
        with self.store.staging("probe"):
            self.store.clean()
        for digest in () if self.force else todo:
            record = self.store.read(digest)
            if record is not None and not usable(self.store, record):
                self.store.set_aside(digest)

    def _compute(
        self, plan: Plan, todo: dict[str, PlannedCell], results: dict[str, CellResult]
    ) -> None:
        """Have everything in ``todo`` computed and note what became of it in ``results``."""
        name = self.executor_name
        driver = Driver(self.store, sweep=self.sweep, executor=name, command=self.command)
        interrupts = Interrupts(self.patient, self._tell_interrupted)
        with driver, interrupts:
            try:
                # Before any claim: an executor that cannot start leaves other drivers' jobs alone.
                self.executor.start(self.store.root / "executors" / (name or "unnamed"))
                self._schedule(plan, todo, results, driver, interrupts)
            finally:
                self.executor.close()
                self.store.clean()

    def _schedule(
        self,
        plan: Plan,
        todo: dict[str, PlannedCell],
        results: dict[str, CellResult],
        driver: Driver,
        interrupts: Interrupts,
    ) -> None:
        lasting = self.executor.outlives_driver
        claims = Claims(self.store, driver, self.executor_name, lasting=lasting)
        orphans = _adopt(claims, todo)
        adopted = {planned.digest for cells in orphans.values() for planned in cells}
        outcomes = Outcomes(
            plan=plan,
            results=results,
            store=self.store,
            claims=claims,
            driver=driver,
            agenda=Agenda(plan, todo, adopted),
            observers=self.observers,
            listener=self.listener,
            policy=self.policy,
            force=self.force,
        )
        scheduler = Scheduler(self.executor, self._job_maker(), outcomes, interrupts)
        try:
            scheduler.take_up(orphans)
            scheduler.run()
        except BaseException:
            if scheduler.left:
                raise
            if scheduler.cancelling or not self.executor.outlives_driver:
                self.executor.cancel()
            else:  # a request to terminate, or a fault of the driver's: no reason to lose work
                claims.leave_all()
                with suppress(Exception):
                    scheduler.leave()
            raise
        finally:
            claims.release_all()
            claims.clear()

    def _job_maker(self) -> JobMaker:
        return JobMaker(
            store=self.store,
            data_root=self.data_root,
            compute=self.compute,
            force=self.force,
            command=self.command,
            plugins=self.observers.provenance(),
            shares_files=self.executor.shares_files,
        )

    def _tell_interrupted(self) -> None:
        after = (
            "leaving; the same command goes on from here, and llt cancel stops jobs"
            if self.executor.outlives_driver
            else "finishing the cells that are running; Ctrl-C again stops now"
        )
        self.listener.noted(f"interrupted: {after}")

    def _notify_start(self, plan: Plan, todo: dict[str, PlannedCell]) -> None:
        summary = {
            "name": self.sweep,
            "command": self.command,
            "fields": list(plan.points[0].values),
            "store": str(self.store.root),
            "executor": self.executor_name,
            "force": self.force,
            "cells": {"train": len(plan.trains), "measure": len(plan.measures)},
            "todo": dict(Counter(planned.cell.kind for planned in todo.values())),
        }
        self.observers.notify("llt_sweep_started", summary=summary)

    def _notify_end(self, plan: Plan, results: dict[str, CellResult], seconds: float) -> None:
        summary = {
            "name": self.sweep,
            "cells": dict(Counter(result.origin for result in results.values())),
            "complete": len(results) == len(plan.cells),
            "seconds": seconds,
        }
        self.observers.notify("llt_sweep_finished", summary=summary)


def _adopt(claims: Claims, todo: dict[str, PlannedCell]) -> dict[str, list[PlannedCell]]:
    """Claim what jobs compute that an earlier driver left, and return it by their handles."""
    found = {
        handle: [todo[d] for d in digests if d in todo and claims.adopt(d, handle)]
        for handle, digests in claims.orphans().items()
    }
    return {handle: cells for handle, cells in found.items() if cells}
