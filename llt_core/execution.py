"""A request carried out: planned, remembered, computed where the user wants, and its results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from llt_core.errors import RequestError
from llt_core.interfaces import Executor, Measurement
from llt_core.plugins import Catalogue
from llt_core.plugins.loader import create
from llt_core.plugins.observers import Observers
from llt_core.spec import ComputeSettings, Named, RunSpec, SweepSpec
from llt_core.spec.naming import counted
from llt_core.spec.sweep_file import DEFAULT_EXECUTOR
from llt_core.store import Record, Store
from llt_core.store.export import rows, to_pandas
from llt_core.store.sweeps import SweepRecord, remember, sweep_rows
from llt_core.sweep import CellResult, Engine, Listener, Policy, make_plan
from llt_core.sweep.adaptive import Adaptive
from llt_core.sweep.remembering import shrunk, sweep_record
from llt_core.sweep.summary import Mean, summarise

if TYPE_CHECKING:
    import pandas as pd


_SHOWN = 10
"""Quantities of which a result prints the first value."""


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

    def __repr__(self) -> str:
        """Return what it holds in a few lines; :meth:`to_pandas` returns all of it."""
        origins = Counter(result.origin for result in self.results)
        cells = ", ".join(f"{count} {origin}" for origin, count in origins.items())
        found = [m for record in self.records for m in record.measurements]
        counts = Counter(m.name for m in found)
        firsts = {m.name: m for m in reversed(found)}
        lines = [
            f"  {name}: {_value(firsts[name])}" + f", and {count - 1} more" * (count > 1)
            for name, count in counts.items()
        ]
        if len(lines) > _SHOWN:
            lines[_SHOWN - 1 :] = [f"  … {len(lines) - _SHOWN + 1} more quantities"]
        head = f"{type(self).__name__}: {counted(len(self.results), 'cell')} ({cells or 'none'})"
        return "\n".join([head, *lines, f"  store: {self.store}"])

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


@dataclass(frozen=True, kw_only=True, repr=False)
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


def _value(measurement: Measurement) -> str:
    error = measurement.standard_error
    numbers = "none" if measurement.value is None else f"{measurement.value:.5g}"
    return f"{numbers}{f' ± {error:.2g}' if error else ''} {measurement.unit}".rstrip()


def execute(
    spec: RunSpec | SweepSpec,
    *,
    store: Path,
    data_root: Path,
    compute: ComputeSettings,
    executor: Named | None = None,
    track: Sequence[Named] | None = None,
    policy: Policy | None = None,
    force: bool = False,
    command: str = "",
    listener: Listener | None = None,
    adaptive: Adaptive | None = None,
) -> RunResult:
    """Plan ``spec`` and run it; what the command line, :func:`run` and :func:`sweep` call.

    A sweep that has a name is remembered in the store before its first cell is computed. With
    ``adaptive`` only part of its grid is measured, and the map of the rest is inferred.
    """
    catalogue = Catalogue.discover()
    plan = make_plan(spec, catalogue, data_root)
    chosen = choose_executor(spec, executor, catalogue)
    where = make_executor(chosen, catalogue)
    policy = policy or Policy()
    if adaptive is not None:
        adaptive.check(plan)
    if policy.detach:
        _check_outlives(chosen.name, where)
    wanted = None if track is None else {named.name: named.parameters for named in track}
    observers = Observers(catalogue, wanted)
    engine = Engine(
        store=Store(store),
        executor=where,
        executor_name=chosen.name,
        observers=observers,
        data_root=data_root,
        compute=compute,
        policy=policy,
        force=force,
        sweep=spec.name if isinstance(spec, SweepSpec) else "",
        command=command,
        patient=isinstance(spec, SweepSpec),
        listener=listener or Listener(),
    )
    asked = None
    if isinstance(spec, SweepSpec):
        asked = sweep_record(spec, plan, chosen, command)
        _remember(engine, asked)
    if adaptive is None:
        results = tuple(engine.run(plan))
    else:
        results = tuple(adaptive.run(engine, plan, lambda: make_executor(chosen, catalogue)))
    if asked is None:
        return RunResult(results, store, tuple(observers.errors))
    return SweepResult(results, store, tuple(observers.errors), sweep=asked)


def make_executor(chosen: Named, catalogue: Catalogue) -> Executor:
    """Return the executor that :func:`choose_executor` chose."""
    return cast(Executor, create(catalogue.resolve("executor", chosen.name), chosen.parameters))


def choose_executor(
    spec: RunSpec | SweepSpec, executor: Named | None, catalogue: Catalogue
) -> Named:
    """Return the executor with its parameters: as given, as the sweep says, as ``llt.toml`` says.

    A single run takes no notice of the executor in ``llt.toml``: it is over soon, here.
    """
    stated = spec.executor if isinstance(spec, SweepSpec) else None
    settings = catalogue.settings
    usual = (settings.executor or DEFAULT_EXECUTOR) if isinstance(spec, SweepSpec) else "inline"
    name = (executor or stated or Named(name=usual)).name
    parameters = dict(settings.executors.get(name, {}))
    for said in (stated, executor):
        if said is not None and said.name == name:
            parameters |= said.parameters
    return Named(name=name, parameters=parameters)


def _check_outlives(name: str, executor: Executor) -> None:
    if not executor.outlives_driver:
        raise RequestError(
            f"jobs of the executor {name} end with this process",
            expected="an executor whose jobs go on without it, such as slurm",
            next_step="leave --detach out, or --executor slurm",
        )


def _remember(engine: Engine, asked: SweepRecord) -> None:
    """Remember a sweep that has a name, and say what is forgotten for it."""
    if asked.name and (lost := shrunk(remember(engine.store, asked), asked)):
        engine.listener.noted(lost)
