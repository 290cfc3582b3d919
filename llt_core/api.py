"""llt from Python: the same compositions, cells and store as the command line."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from llt_core.errors import RequestError, wanted
from llt_core.execution import RunResult, SweepResult, execute
from llt_core.locations import data_root as locate_data
from llt_core.locations import store_root as locate_store
from llt_core.spec import ComputeSettings, Named, Pairs, RunSpec, SweepSpec
from llt_core.sweep import Listener, Policy

__all__ = ["RunResult", "SweepResult", "run", "sweep"]


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
    executor: str | Mapping[str, Any] | None = None,
    track: Iterable[str | Mapping[str, Any]] | None = None,
    retries: int = Policy.retries,
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
    executor
        Where to compute: a name, ``"name:key=value"`` or a mapping. By default this process.
    track
        Trackers to tell of every cell, in the same forms; by default those of ``llt.toml``.
    retries
        How often to try a cell again that failed for an outside cause: a killed process, a
        lost machine, memory that ran out.
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
        compute=_compute(compute),
        executor=None if executor is None else Named.of(executor),
        track=None if track is None else [Named.of(item) for item in track],
        policy=Policy(retries=retries),
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
    executor: str | Mapping[str, Any] | None = None,
    track: Iterable[str | Mapping[str, Any]] | None = None,
    retries: int = Policy.retries,
    fail_fast: bool = False,
    detach: bool = False,
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
    store, data_root, compute, track, retries, force
        As in :func:`run`.
    executor
        Where to compute, if not where the sweep or ``llt.toml`` says. By default in several
        processes on this machine.
    fail_fast
        Start nothing more once a cell has failed for good.
    detach
        Submit what can start and return, where jobs go on alone (on Slurm).
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
        compute=_compute(compute),
        executor=None if executor is None else Named.of(executor),
        track=None if track is None else [Named.of(item) for item in track],
        policy=Policy(retries=retries, fail_fast=fail_fast, detach=detach),
        force=force,
        command=f"llt_core.sweep in {Path(sys.argv[0]).name or 'python'}",
        listener=listener,
    )
    assert isinstance(found, SweepResult)
    return found


def _compute(settings: Mapping[str, Any] | None) -> ComputeSettings:
    try:
        return ComputeSettings.model_validate(settings or {})
    except ValidationError as error:
        wrong = error.errors()[0]
        key = ".".join(map(str, wrong["loc"]))
        raise RequestError(
            f"compute cannot have {key} = {wrong['input']!r}",
            where="compute",
            expected=f"keys among {', '.join(ComputeSettings.model_fields)}"
            if wrong["type"] == "extra_forbidden"
            else wanted(wrong),
        ) from error
