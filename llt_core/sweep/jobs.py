"""Cells become jobs: everything a worker must know, as plain values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llt_core.interfaces import Job
from llt_core.spec import ComputeSettings
from llt_core.store import Store
from llt_core.sweep.look import models_of
from llt_core.sweep.plan import Plan, PlannedCell

TRAIN_ENTRY = "llt_core.work.worker:train"
MEASURE_ENTRY = "llt_core.work.worker:measure"


@dataclass(frozen=True)
class JobMaker:
    """What all jobs of a request have in common."""

    store: Store
    data_root: Path
    compute: ComputeSettings
    force: bool
    command: str
    plugins: dict[str, Any]

    def make(self, cells: Sequence[PlannedCell], plan: Plan, halvings: int = 0) -> Job:
        """Return the job that computes ``cells``: one model, or measurements on one group."""
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
            "command": self.command,
            "plugins": self.plugins,
        }
        return Job(cells[0].digest, MEASURE_ENTRY if models else TRAIN_ENTRY, payload)
