"""llt from Python: the same compositions, cells and store as the command line."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from llt_core.interfaces import Executor, Measurement
from llt_core.locations import data_root as locate_data
from llt_core.locations import store_root as locate_store
from llt_core.plugins import Catalogue
from llt_core.plugins.loader import create
from llt_core.plugins.observers import Observers
from llt_core.spec import ComputeSettings, Named, Pairs, RunSpec, SweepSpec
from llt_core.store import Record, Store
from llt_core.store.export import rows, to_pandas
from llt_core.store.sweeps import SweepPoint, SweepRecord, remember, sweep_rows
from llt_core.sweep import CellResult, Engine, Listener, Plan, make_plan
from llt_core.sweep.summary import Mean, summarise

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class RunResult:
    """What became of every cell of a run.

    Attributes
    ----------
    results
        One :class:`~llt_core.sweep.CellResult` per cell, models first.
    store
        Where the records are.
    observer_errors
        ``(package, hook, message)`` of every observer that raised.
    """

    results: tuple[CellResult, ...]
    store: Path
    observer_errors: tuple[tuple[str, str, str], ...] = ()

    @property
    def records(self) -> list[Record]:
        """The records of all cells that have one."""
        return [result.record for result in self.results if result.record is not None]

    @property
    def failed(self) -> list[CellResult]:
        """Cells without a usable result: failed, blocked, or diverged in training."""
        return [
            result
            for result in self.results
            if result.record is None or result.record.status == "diverged"
        ]

    def __getitem__(self, name: str) -> list[Measurement]:
        """Return the measurements called ``name``, one per model, pair or set."""
        found = [m for record in self.records for m in record.measurements if m.name == name]
        if not found:
            names = sorted({m.name for record in self.records for m in record.measurements})
            raise KeyError(f"{name!r} was not measured; there are {', '.join(names) or 'none'}")
        return found

    def to_rows(self) -> list[dict[str, Any]]:
        """Return one flat dictionary per measurement."""
        return rows(self.records)

    def to_pandas(self) -> pd.DataFrame:
        """Return one row per measurement, one column per field of the composition."""
        return to_pandas(self.to_rows())


@dataclass(frozen=True, kw_only=True)
class SweepResult(RunResult):
    """What became of every cell of a sweep.

    Attributes
    ----------
    sweep
        The varied fields, and which cells belong to which grid point.
    """

    sweep: SweepRecord

    def to_rows(self) -> list[dict[str, Any]]:
        """Return one flat dictionary per measurement, the varied fields first."""
        return sweep_rows(self.sweep, self.records)

    def points(self, *, every: bool = False) -> list[tuple[dict[str, Any], dict[str, Mean]]]:
        """Return the varied fields of each grid point, and the means over its models.

        Of each metric the first quantity is summarised, or ``every`` one.
        """
        known = {record.digest: record for record in self.records}
        return [
            (point.values, summarise(point.measures, known, every=every))
            for point in self.sweep.points
        ]


def run(
    task: str | Mapping[str, Any],
    metrics: Iterable[str | Mapping[str, Any]] = (),
    *,
    architecture: str | Mapping[str, Any] | None = None,
    perturbations: Iterable[str | Mapping[str, Any]] = (),
    train: Mapping[str, Any] | None = None,
    seed: int = 0,
    models: int = 1,
    pairs: Pairs = "all",
    store: str | Path | None = None,
    data_root: str | Path | None = None,
    compute: Mapping[str, Any] | None = None,
    force: bool = False,
) -> RunResult:
    """Train what is missing, measure what is missing, and return everything.

    Parameters
    ----------
    task, architecture, perturbations, metrics
        Plugin names, ``"name:key=value"``, or mappings ``{"name": …, key: value}``. Without
        an architecture the task's default is taken.
    train
        Overrides of the training recipe; ``{"recipe": "standard"}`` picks another one.
    seed, models
        Models are trained with seeds ``seed … seed + models − 1``.
    store, data_root
        Folders; see :mod:`llt_core.locations` for the defaults.
    pairs
        Which models the metrics of pairs compare: ``all``, a ``ring``, or the ``first`` two.
    compute
        Device, threads, memory format (:class:`~llt_core.spec.ComputeSettings`).
    force
        Compute again what the store already holds.

    Raises
    ------
    LltError
        The composition is impossible, or its data is missing.

    Examples
    --------
    >>> import llt_core
    >>> result = llt_core.run(                                      # doctest: +SKIP
    ...     "digits", ["hessian_trace", "test_accuracy"], architecture="resnet18:width=4"
    ... )
    >>> result["hessian_trace"][0].value                            # doctest: +SKIP
    """
    spec = RunSpec(
        task=Named.of(task),
        architecture=None if architecture is None else Named.of(architecture),
        perturbations=tuple(Named.of(item) for item in perturbations),
        metrics=tuple(Named.of(item) for item in metrics),
        train=dict(train or {}),
        seed=seed,
        models=models,
        pairs=pairs,
    )
    return execute(
        spec,
        store=locate_store(store),
        data_root=locate_data(data_root),
        compute=ComputeSettings.model_validate(compute or {}),
        force=force,
        command=f"llt_core.run in {Path(sys.argv[0]).name or 'python'}",
    )


def sweep(
    spec: SweepSpec | str | Path | None = None,
    *,
    profile: str = "",
    changes: Mapping[str, Any] | None = None,
    store: str | Path | None = None,
    data_root: str | Path | None = None,
    compute: Mapping[str, Any] | None = None,
    force: bool = False,
    listener: Listener | None = None,
    **keys: Any,
) -> SweepResult:
    """Run every missing cell of a sweep, and return everything.

    ``llt_core.sweep(…)`` is this function.

    Parameters
    ----------
    spec
        A sweep file, or a :class:`~llt_core.spec.SweepSpec`. Or give the keys of a sweep file
        as keywords: ``task``, ``architecture``, ``metrics``, ``models``, ``train``, ``axes``, …
    profile
        The section under ``[profiles]`` that overrides the rest.
    changes
        Dotted path → value, as ``--set`` on the command line.
    store, data_root, compute, force
        As in :func:`run`.
    listener
        Hears of progress.

    Raises
    ------
    LltError
        Some composition is impossible, or data is missing: before anything is computed.

    Examples
    --------
    >>> import llt_core
    >>> result = llt_core.sweep(                                    # doctest: +SKIP
    ...     task="digits", architecture="mlp", metrics=["test_accuracy"], models=2,
    ...     axes={"load": {"field": "architecture.width", "values": [1, 2, 4]}},
    ... )
    >>> result.to_pandas().groupby("architecture.width")["value"].mean()  # doctest: +SKIP
    """
    if isinstance(spec, SweepSpec):
        if profile or changes or keys:
            raise TypeError("a SweepSpec stands for itself: give profile and changes to its maker")
        wanted = spec
    elif spec is None:
        wanted = SweepSpec.of(profile=profile, changes=changes, **keys)
    elif keys:
        raise TypeError(f"a sweep file stands for itself: {', '.join(keys)} belong into changes")
    else:
        wanted = SweepSpec.read(spec, profile=profile, changes=changes)
    found = execute(
        wanted,
        store=locate_store(store),
        data_root=locate_data(data_root),
        compute=ComputeSettings.model_validate(compute or {}),
        force=force,
        command=f"llt_core.sweep in {Path(sys.argv[0]).name or 'python'}",
        listener=listener,
    )
    assert isinstance(found, SweepResult)
    return found


def execute(
    spec: RunSpec | SweepSpec,
    *,
    store: Path,
    data_root: Path,
    compute: ComputeSettings,
    force: bool = False,
    command: str = "",
    listener: Listener | None = None,
) -> RunResult:
    """Plan ``spec`` and run it; what the command line, :func:`run` and :func:`sweep` call.

    A sweep that has a name is remembered in the store before its first cell is computed.
    """
    catalogue = Catalogue.discover()
    plan = make_plan(spec, catalogue, data_root)
    observers = Observers(catalogue)
    engine = Engine(
        store=Store(store),
        executor=cast(Executor, create(catalogue.resolve("executor", "inline"), {})),
        observers=observers,
        data_root=data_root,
        compute=compute,
        force=force,
        command=command,
        listener=listener or Listener(),
    )
    asked = _sweep_record(spec, plan, command) if isinstance(spec, SweepSpec) else None
    if asked is not None and asked.name:
        shrunk = _shrunk(remember(engine.store, asked), asked)
        if shrunk:
            engine.listener.noted(shrunk)
    results = tuple(engine.run(plan))
    if asked is not None:
        return SweepResult(results, store, tuple(observers.errors), sweep=asked)
    return RunResult(results, store, tuple(observers.errors))


def _shrunk(old: SweepRecord | None, new: SweepRecord) -> str:
    """Say how much of what was remembered by this name no longer is; empty if nothing is lost."""
    cells = {*new.models, *new.measures}
    if old is None or cells.issuperset((*old.models, *old.measures)):
        return ""
    kept = sum(cells.issuperset((*p.models, *p.measures)) for p in old.points)
    return (
        f"the store now remembers {new.name} with {kept} of its former {len(old.points)} points "
        "as they were; nothing computed is lost, and --name keeps both"
    )


def _sweep_record(spec: SweepSpec, plan: Plan, command: str) -> SweepRecord:
    return SweepRecord(
        name=spec.name,
        title=spec.title,
        planned=datetime.now(UTC).isoformat(timespec="seconds"),
        command=command,
        fields=spec.fields,
        kinds=spec.kinds,
        spec=spec.model_dump(mode="json", exclude_defaults=True),
        points=tuple(
            SweepPoint(values=dict(p.values), models=p.trains, measures=p.measures)
            for p in plan.points
        ),
    )
