"""Cells become jobs: everything a worker must know, as plain values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from llt_core.interfaces import Job, Outcome
from llt_core.spec import ComputeSettings
from llt_core.store import Store
from llt_core.sweep import courier
from llt_core.sweep.look import models_of
from llt_core.sweep.plan import Plan, PlannedCell

TRAIN_ENTRY = "llt_core.work.worker:train"
MEASURE_ENTRY = "llt_core.work.worker:measure"


@dataclass(frozen=True)
class JobMaker:
    """What all jobs of a request have in common.

    Attributes
    ----------
    shares_files
        Whether jobs see the store. Else models travel with them, and results come back.
    """

    store: Store
    data_root: Path
    compute: ComputeSettings
    force: bool
    command: str
    plugins: dict[str, Any]
    shares_files: bool = True

    def make(
        self, cells: Sequence[PlannedCell], plan: Plan, *, halvings: int = 0, again: bool = False
    ) -> Job:
        """Return the job that computes ``cells``: one model, or measurements on one group.

        One that is tried ``again`` goes on where it was, also where all is computed anew.
        """
        models = models_of(*cells)
        compute = self.compute.model_copy(update={"halvings": self.compute.halvings + halvings})
        payload = {
            "cells": [
                {
                    "digest": planned.digest,
                    "cell": planned.cell.model_dump(mode="json"),
                    "composition": planned.composition,
                }
                for planned in cells
            ],
            "models": {digest: plan[digest].cell.model_dump(mode="json") for digest in models},
            "store": str(self.store.root),
            "data_root": str(self.data_root),
            "compute": compute.model_dump(mode="json"),
            "force": self.force,
            "resume": again or not self.force,
            "command": self.command,
            "plugins": self.plugins,
        }
        if self.shares_files:
            return Job(cells[0].digest, MEASURE_ENTRY if models else TRAIN_ENTRY, payload)
        entry = courier.MEASURE_ENTRY if models else courier.TRAIN_ENTRY
        return Job(cells[0].digest, entry, courier.pack(self.store, payload, models))

    def received(self, outcome: Outcome) -> Outcome:
        """Return ``outcome`` with its cells in the store, wherever they were computed."""
        if self.shares_files or outcome.result is None:
            return outcome
        return replace(outcome, result=courier.unpack(self.store, outcome.result, self.force))
