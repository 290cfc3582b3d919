"""The two jobs: train one model, or take measurements on one group of models.

Each function is called by an executor as ``function(payload, report)``, in whatever process
the job runs, and puts its results into the store itself. A worker knows nothing of sweeps.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
from safetensors.numpy import save_file
from torch import nn

from llt_core.errors import LltError
from llt_core.interfaces import Architecture, MeasureContext, Measurement, Metric, Report, Task
from llt_core.interfaces.contracts import measurements_of, network_of
from llt_core.interfaces.executor import describe_failure
from llt_core.interfaces.places import method_of
from llt_core.spec import MeasureCell, TrainCell
from llt_core.spec.identity import digest as identify
from llt_core.spec.naming import counted
from llt_core.spec.training import TrainingRecipe
from llt_core.store import Checkpoint, Record
from llt_core.sweep.compose import rebuild
from llt_core.work.checkpoint import DamagedModelError, load_checkpoint, save_checkpoint
from llt_core.work.data import check_data, describe_data, load_splits
from llt_core.work.device import threads
from llt_core.work.job import Job, Parts
from llt_core.work.log import CellLog, log_failure
from llt_core.work.memory import memory_given_back
from llt_core.work.narrow import guard
from llt_core.work.partial import Partial
from llt_core.work.seeding import seed_from, seeded
from llt_core.work.stages import perturbed
from llt_core.work.trainer import Trained, Trainer
from llt_core.work.undisturbed import Watch

Origin = Callable[[str], dict[str, Any]]
"""Gives the provenance of a measurement by the metric of that name."""


def train(payload: dict[str, Any], report: Report) -> dict[str, Any]:
    """Train the one model of ``payload`` and put it into the store."""
    job = Job(payload, report)
    (planned,) = payload["cells"]
    with job.log(planned["digest"], "training") as log, memory_given_back():
        status = _train_one(job, planned, log)
    return {planned["digest"]: {"status": status}}


def _train_one(job: Job, planned: dict[str, Any], log: CellLog) -> str:
    cell, digest = TrainCell.model_validate(planned["cell"]), planned["digest"]
    parts = Parts.of(cell, job.catalogue)
    recipe = TrainingRecipe.model_validate(cell.training.parameters)
    # What is done to the trained weights does not change how they came about: all strengths of
    # such a perturbation start from one and the same trained model.
    trained_as = identify(parts.without_weight_perturbations(cell))
    seed = seed_from("train", trained_as)
    kept = Partial(job.store, digest, job.compute, log)
    with threads(job.compute.threads) as thread_count, seeded(seed):
        log.note(f"device {job.device}, {thread_count} threads")
        job.progress(digest, 0, 1, "loading data")
        check_data(parts.task, cell.data, job.data_root)
        splits = load_splits(parts.task, parts.perturbations, job.data_root)
        data = describe_data(parts.task, splits, job.data_root)
        trainer = Trainer(
            network_of(parts.architecture, parts.task.describe()),
            parts.task,
            splits["train"],
            recipe,
            seed=seed_from("order", trained_as),
            device=job.device,
            perturbations=parts.perturbations,
            channels_last=job.compute.memory_format == "channels_last",
        )
        kept.resume(trainer, data["fingerprint"], anew=not job.resumes)
        trained = trainer.run(
            lambda done, total, text: job.progress(digest, done, total, text), kept.watch
        )
        with job.store.staging(digest) as folder:
            checkpoint = _save(trainer.model, trained, parts, folder)
            resumed = {"resumed": kept.resumed} if kept.resumed else {}
            record = Record(
                digest=digest,
                cell=cell,
                status=trained.status,
                seconds=kept.seconds,
                composition=planned["composition"],
                provenance=job.origin(cell, thread_count, data) | {"seed": seed} | resumed,
                history=tuple(trained.history),
                checkpoint=checkpoint,
            )
            job.store.commit(record, folder, replace=job.payload["force"])
        kept.drop()
    log.note(f"{trained.status} after {counted(len(trained.history), 'epoch')}")
    return trained.status


def _save(model: nn.Module, trained: Trained, parts: Parts, folder: Path) -> Checkpoint | None:
    """Write the model as it is after what is done to its weights; None if training diverged."""
    if trained.state is None:
        return None
    model.load_state_dict(trained.state)
    model = perturbed("weights", parts.perturbations, model.to("cpu"))
    return save_checkpoint(model, model.state_dict(), folder, trained.epoch)


def measure(payload: dict[str, Any], report: Report) -> dict[str, Any]:
    """Take every measurement of ``payload``, each on some of its models.

    Checkpoints are loaded once, and what metrics remember is computed once, for all of
    them. A metric that raises, or leaves a model changed, costs only its own cell.
    """
    job = Job(payload, report)
    trains = {digest: TrainCell.model_validate(cell) for digest, cell in payload["models"].items()}
    answers: dict[str, Any] = {}
    with threads(job.compute.threads) as thread_count:
        context, origin, watch = _loaded(job, trains, thread_count)
        for planned in payload["cells"]:
            if watch.disturbed:
                context, origin, watch = _loaded(job, trains, thread_count)
            try:
                chosen = [tuple(trains).index(digest) for digest in planned["cell"]["models"]]
                with job.log(planned["digest"], "measurement"), memory_given_back():
                    _measure_one(job, planned, context, chosen, origin, watch)
                answers[planned["digest"]] = {"status": "done"}
            except (Exception, SystemExit) as error:
                answers[planned["digest"]] = describe_failure(error)
    return answers


def _loaded(
    job: Job, trains: Mapping[str, TrainCell], thread_count: int
) -> tuple[MeasureContext, Origin, Watch]:
    """Return what is measured, what says where a measurement came from, and who watches over it.

    What happens meanwhile is logged with the first cell, and why it failed with all of them.
    """
    cells = [planned["digest"] for planned in job.payload["cells"]]
    work = f"loading {len(trains)} models for {len(cells)} measurements"
    try:
        with job.log(cells[0], work) as log, memory_given_back():
            log.note(f"device {job.device}, {thread_count} threads")
            return _load(job, trains, thread_count)
    except Exception as error:
        for digest in cells[1:]:
            log_failure(job.store, digest, work, error)
        raise


def _load(
    job: Job, trains: Mapping[str, TrainCell], thread_count: int
) -> tuple[MeasureContext, Origin, Watch]:
    first = next(iter(trains.values()))
    parts = Parts.of(first, job.catalogue)
    check_data(parts.task, first.data, job.data_root)
    splits = load_splits(parts.task, parts.perturbations, job.data_root)
    context = MeasureContext(
        task=parts.task,
        models=_load_models(job, trains),
        splits=splits,
        sample_seed=seed_from("samples", first.task.name),
        device=job.device,
        probe=parts.architecture.probes,
        embed=parts.architecture.embeddings,
        halvings=job.compute.halvings,
    )
    data = describe_data(parts.task, splits, job.data_root)
    return context, partial(job.origin, first, thread_count, data), Watch(context.models)


def _load_models(job: Job, trains: Mapping[str, TrainCell]) -> tuple[nn.Module, ...]:
    """Return the models as they were trained, and verified to be that.

    Raises
    ------
    DamagedModelError
        Some are not; the store has no longer a record of them, so that they are trained again.
    """
    models, damaged = [], []
    for digest, cell in trains.items():
        try:
            models.append(_load_model(job, digest, cell))
        except DamagedModelError as error:
            job.store.set_aside(digest)
            damaged.append(error)
    if damaged:
        raise damaged[0]
    return tuple(models)


def _load_model(job: Job, digest: str, cell: TrainCell) -> nn.Module:
    record = job.store.read(digest)
    if record is None or record.checkpoint is None:
        raise DamagedModelError(
            f"the trained model {digest} is gone",
            where=str(job.store.path(digest)),
            expected="the model that was there when this measurement began",
            next_step="run the same command again: it trains this model anew",
        )
    architecture = cast(Architecture, rebuild(cell.architecture, "architecture", job.catalogue))
    task = cast(Task, rebuild(cell.task, "task", job.catalogue))
    with seeded(0):
        model = guard(network_of(architecture, task.describe()))
    file = job.store.path(digest) / record.checkpoint.file
    return load_checkpoint(model, file, job.device, record.checkpoint.sha256)


def _measure_one(
    job: Job,
    planned: dict[str, Any],
    context: MeasureContext,
    chosen: list[int],
    origin: Origin,
    watch: Watch,
) -> None:
    cell, digest = MeasureCell.model_validate(planned["cell"]), planned["digest"]
    metric = cast(Metric, rebuild(cell.metric, "metric", job.catalogue))
    name = cell.metric.name.rpartition("/")[2]
    seed = seed_from("measure", digest)
    own = context.restricted(chosen).fresh(
        seed, lambda done, total: job.progress(digest, done, total, f"{name} {done}/{total}")
    )
    start = time.perf_counter()
    with seeded(seed), watch.over(metric, cell.metric.name, chosen):
        measurements = measurements_of(metric, metric.measure(own))
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
            where=method_of(metric, "measure"),
            expected=f"one measurement each of {', '.join(sorted(declared))}",
        )
    for measurement in measurements:
        for figure in measurement.figures:
            lacking = [array for array in figure.arrays if array not in measurement.arrays]
            if lacking:
                raise LltError(
                    f"the figure {figure.title!r} of {measurement.name} lacks its arrays "
                    f"{', '.join(lacking)}",
                    where=method_of(metric, "measure"),
                    expected="every array a figure names in Measurement.arrays",
                )
