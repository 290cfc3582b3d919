"""The two jobs: train one model, or take measurements on one group of models.

Each function is called by an executor as ``function(payload, report)``, in whatever process
the job runs, and puts its results into the store itself. A worker knows nothing of sweeps.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
from safetensors.numpy import save_file
from torch import nn

from llt_core.errors import LltError
from llt_core.interfaces import (
    Architecture,
    MeasureContext,
    Measurement,
    Metric,
    Perturbation,
    Progress,
    Report,
    Task,
)
from llt_core.interfaces.executor import describe_failure
from llt_core.plugins import Catalogue
from llt_core.spec import ComputeSettings, MeasureCell, TrainCell
from llt_core.spec.identity import digest as identify
from llt_core.spec.training import TrainingRecipe
from llt_core.store import Record, Store
from llt_core.sweep.compose import rebuild
from llt_core.work.checkpoint import load_checkpoint, save_checkpoint
from llt_core.work.data import check_data, describe_data, load_splits
from llt_core.work.device import choose_device, threads
from llt_core.work.memory import keep_freed_memory
from llt_core.work.narrow import guard
from llt_core.work.provenance import describe_origin
from llt_core.work.seeding import seed_from, seeded
from llt_core.work.stages import NamedPerturbation, perturbed
from llt_core.work.trainer import Trainer

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
        self.catalogue = Catalogue.discover()
        self.device = choose_device(self.compute.device)
        keep_freed_memory()
        self._last_report = 0.0

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


def train(payload: dict[str, Any], report: Report) -> dict[str, Any]:
    """Train the one model of ``payload`` and put it into the store."""
    job = Job(payload, report)
    (planned,) = payload["cells"]
    cell, digest = TrainCell.model_validate(planned["cell"]), planned["digest"]
    parts = Parts.of(cell, job.catalogue)
    recipe = TrainingRecipe.model_validate(cell.training.parameters)
    # What is done to the trained weights does not change how they came about: all strengths of
    # such a perturbation start from one and the same trained model.
    trained_as = identify(parts.without_weight_perturbations(cell))
    seed = seed_from("train", trained_as)
    start = time.perf_counter()
    with threads(job.compute.threads) as thread_count, seeded(seed):
        job.progress(digest, 0, 1, "loading data")
        check_data(parts.task, cell.data, job.data_root)
        splits = load_splits(parts.task, parts.perturbations, job.data_root)
        model = parts.architecture.build(parts.task.describe())
        trainer = Trainer(
            model,
            parts.task,
            splits["train"],
            recipe,
            seed=seed_from("order", trained_as),
            device=job.device,
            perturbations=parts.perturbations,
            channels_last=job.compute.memory_format == "channels_last",
        )
        trained = trainer.run(lambda done, total, text: job.progress(digest, done, total, text))
        with job.store.staging(digest) as folder:
            checkpoint = None
            if trained.state is not None:
                model.load_state_dict(trained.state)
                model = perturbed("weights", parts.perturbations, model.to("cpu"))
                checkpoint = save_checkpoint(model, model.state_dict(), folder, trained.epoch)
            data = describe_data(parts.task, splits, job.data_root)
            record = Record(
                digest=digest,
                cell=cell,
                status=trained.status,
                seconds=time.perf_counter() - start,
                composition=planned["composition"],
                provenance=job.origin(cell, thread_count, data) | {"seed": seed},
                history=tuple(trained.history),
                checkpoint=checkpoint,
            )
            job.store.commit(record, folder, replace=payload["force"])
    return {digest: {"status": trained.status}}


def measure(payload: dict[str, Any], report: Report) -> dict[str, Any]:
    """Take every measurement of ``payload``, each on some of its models.

    Checkpoints are loaded once, and what metrics remember is computed once, for all of
    them. A metric that raises costs only its own cell.
    """
    job = Job(payload, report)
    trains = {digest: TrainCell.model_validate(cell) for digest, cell in payload["models"].items()}
    first = next(iter(trains.values()))
    parts = Parts.of(first, job.catalogue)
    answers: dict[str, Any] = {}
    with threads(job.compute.threads) as thread_count:
        check_data(parts.task, first.data, job.data_root)
        splits = load_splits(parts.task, parts.perturbations, job.data_root)
        context = MeasureContext(
            task=parts.task,
            models=tuple(_load_model(job, digest, cell) for digest, cell in trains.items()),
            splits=splits,
            sample_seed=seed_from("samples", first.task.name),
            device=job.device,
            probe=parts.architecture.probes,
            embed=parts.architecture.embeddings,
        )
        data = describe_data(parts.task, splits, job.data_root)
        origin = partial(job.origin, first, thread_count, data)
        for planned in payload["cells"]:
            try:
                chosen = [tuple(trains).index(digest) for digest in planned["cell"]["models"]]
                _measure_one(job, planned, context.restricted(chosen), origin)
                answers[planned["digest"]] = {"status": "done"}
            except (Exception, SystemExit) as error:
                answers[planned["digest"]] = describe_failure(error)
    return answers


def _load_model(job: Job, digest: str, cell: TrainCell) -> nn.Module:
    architecture = cast(Architecture, rebuild(cell.architecture, "architecture", job.catalogue))
    task = cast(Task, rebuild(cell.task, "task", job.catalogue))
    with seeded(0):
        model = guard(architecture.build(task.describe()))
    return load_checkpoint(model, job.store.path(digest) / "model.safetensors", job.device)


def _measure_one(
    job: Job,
    planned: dict[str, Any],
    context: MeasureContext,
    origin: Callable[[str], dict[str, Any]],
) -> None:
    cell, digest = MeasureCell.model_validate(planned["cell"]), planned["digest"]
    metric = cast(Metric, rebuild(cell.metric, "metric", job.catalogue))
    name = cell.metric.name.rpartition("/")[2]
    seed = seed_from("measure", digest)
    own = context.fresh(
        seed, lambda done, total: job.progress(digest, done, total, f"{name} {done}/{total}")
    )
    start = time.perf_counter()
    with seeded(seed):
        measurements = metric.measure(own)
    _check_returned(metric, cell.metric.name, measurements)
    with job.store.staging(digest) as folder:
        arrays = {
            f"{m.name}/{key}": np.ascontiguousarray(array)
            for m in measurements
            for key, array in m.arrays.items()
        }
        if arrays:
            save_file(arrays, folder / "arrays.safetensors")
        record = Record(
            digest=digest,
            cell=cell,
            seconds=time.perf_counter() - start,
            composition=planned["composition"],
            provenance=origin(cell.metric.name)
            | {"seed": seed, "sample_seed": context.sample_seed},
            measurements=tuple(measurements),
        )
        job.store.commit(record, folder, replace=job.payload["force"])


def _check_returned(metric: Metric, name: str, measurements: list[Measurement]) -> None:
    declared = {quantity.name for quantity in metric.returns}
    returned = [m.name for m in measurements]
    if not returned or not set(returned) <= declared or len(set(returned)) < len(returned):
        raise LltError(
            f"the metric {name} returned {', '.join(returned) or 'nothing'}",
            where=f"{type(metric).__module__}.{type(metric).__name__}.measure",
            expected=f"one measurement each of {', '.join(sorted(declared))}",
        )
    for measurement in measurements:
        for figure in measurement.figures:
            lacking = [array for array in figure.arrays if array not in measurement.arrays]
            if lacking:
                raise LltError(
                    f"the figure {figure.title!r} of {measurement.name} lacks its arrays "
                    f"{', '.join(lacking)}",
                    where=f"{type(metric).__module__}.{type(metric).__name__}.measure",
                    expected="every array a figure names in Measurement.arrays",
                )
