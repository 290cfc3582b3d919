"""llt from Python: the same compositions, cells and store as the command line."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from llt_core.interfaces import Executor, Measurement
from llt_core.locations import data_root as locate_data
from llt_core.locations import store_root as locate_store
from llt_core.plugins import Catalogue
from llt_core.plugins.loader import create
from llt_core.plugins.observers import Observers
from llt_core.spec import ComputeSettings, Named, Pairs, RunSpec
from llt_core.store import Record, Store
from llt_core.store.export import rows, to_pandas
from llt_core.sweep import CellResult, Engine, Listener, make_plan

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


def execute(
    spec: RunSpec,
    *,
    store: Path,
    data_root: Path,
    compute: ComputeSettings,
    force: bool = False,
    command: str = "",
    listener: Listener | None = None,
) -> RunResult:
    """Plan ``spec`` and run it; what both the command line and :func:`run` call."""
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
    results = engine.run(plan)
    return RunResult(tuple(results), store, tuple(observers.errors))
