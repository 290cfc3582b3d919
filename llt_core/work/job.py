"""What both jobs start from: an unpacked payload, and the components a cell names."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import torch

from llt_core.interfaces import Architecture, Perturbation, Progress, Report, Task
from llt_core.plugins import Catalogue
from llt_core.plugins.remembered import current_catalogue
from llt_core.spec import ComputeSettings, TrainCell
from llt_core.store import Store
from llt_core.sweep.compose import rebuild
from llt_core.work.device import choose_device
from llt_core.work.log import CellLog, cell_log
from llt_core.work.memory import keep_freed_memory
from llt_core.work.provenance import describe_origin
from llt_core.work.stages import NamedPerturbation

REPORT_EVERY = 0.1
"""Seconds between two progress reports."""


@dataclass
class Job:
    """A payload, unpacked."""

    payload: dict[str, Any]
    report: Report

    def __post_init__(self) -> None:
        self.store = Store(self.payload["store"])
        self.data_root = Path(self.payload["data_root"])
        self.compute = ComputeSettings.model_validate(self.payload["compute"])
        keep_freed_memory()
        self._last_report = 0.0

    @cached_property
    def catalogue(self) -> Catalogue:
        """The plugins of this process."""
        return current_catalogue()

    @cached_property
    def device(self) -> torch.device:
        """Where networks run."""
        return choose_device(self.compute.device)

    def log(self, digest: str, work: str) -> AbstractContextManager[CellLog]:
        """Return the log of a cell, to be held open while something is done for it."""
        return cell_log(self.store, digest, work)

    @property
    def resumes(self) -> bool:
        """Whether a training goes on from a checkpoint that an earlier attempt has left."""
        return bool(self.payload["resume"])

    def progress(self, job: str, done: int, total: int, text: str) -> None:
        """Pass progress on, a few times a second at most."""
        now = time.monotonic()
        if now - self._last_report >= REPORT_EVERY or done >= total:
            self._last_report = now
            self.report(Progress(job, done, total, text))

    def origin(
        self, cell: TrainCell, thread_count: int, data: dict[str, Any], *metrics: str
    ) -> dict[str, Any]:
        """Return the provenance of a record that is finished now."""
        names = [cell.task.name, cell.architecture.name, *(p.name for p in cell.perturbations)]
        names += metrics
        return {
            **describe_origin(
                device=self.device,
                thread_count=thread_count,
                packages=[name.partition("/")[0] for name in names],
                command=self.payload["command"],
            ),
            "compute": self.compute.model_dump(mode="json"),
            "data": data,
            "plugins": self.payload["plugins"],
        }


@dataclass
class Parts:
    """The components a train cell names."""

    task: Task
    architecture: Architecture
    perturbations: list[NamedPerturbation]

    @classmethod
    def of(cls, cell: TrainCell, catalogue: Catalogue) -> Parts:
        """Rebuild them from their references."""
        return cls(
            cast(Task, rebuild(cell.task, "task", catalogue)),
            cast(Architecture, rebuild(cell.architecture, "architecture", catalogue)),
            [
                (ref.name, cast(Perturbation, rebuild(ref, "perturbation", catalogue)))
                for ref in cell.perturbations
            ],
        )

    def without_weight_perturbations(self, cell: TrainCell) -> TrainCell:
        """Return ``cell`` up to the end of training: the same cell if it has none of them."""
        kept = [
            ref
            for ref, (_, perturbation) in zip(cell.perturbations, self.perturbations, strict=True)
            if perturbation.stage != "weights"
        ]
        return cell.model_copy(update={"perturbations": tuple(kept)})
