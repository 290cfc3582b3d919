"""``llt phases``: the phase of each cell of a table, and the paper's claims about them."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from llt_core.cli.counting import counting
from llt_core.cli.options import json_option, store_if_there, store_option
from llt_core.cli.rules import rule_options
from llt_core.errors import RequestError
from llt_core.locations import store_root

if TYPE_CHECKING:
    from llt_core.analysis import CellTable, PhaseRule
    from llt_core.analysis.fitting import Fit
    from llt_core.analysis.phases import Verdicts
    from llt_core.store import Store


@click.command("phases", context_settings={"show_default": True})
@click.argument("source", metavar="[SWEEP|TABLE]", required=False)
@click.option("--where", "condition", metavar="EXPR", help="Only rows of which this is true")
@rule_options
@click.option("--fit", is_flag=True, help="Fit the thresholds to the test accuracies")
@click.option(
    "--converged",
    type=click.FloatRange(0, 100),
    default=99.0,
    metavar="PERCENT",
    help="Train accuracy from which a cell is converged",
)
@click.option("--all", "every", is_flag=True, help="Correlations of every column, not of a few")
@store_option
@json_option
def command(
    source: str | None,
    condition: str | None,
    rule: PhaseRule | None,
    fit: bool,
    converged: float,
    every: bool,
    store: str | None,
    as_json: bool,
) -> int:
    """Sort cells into the five phases, and check the paper's claims about them.

    Takes a sweep, an imported table, or a .csv or .parquet file; without a name, the only one of
    the store. Conditions name axes (by their last part) and columns, compare them with numbers
    and 'texts', and join by and, or, not.

    Numbers in brackets are 95 % intervals: Student's over the cells of a phase, cut to 0 to 100
    percent, the bootstrap's over cells for correlations. They do not cover the choice of the
    grid. Of many columns, the correlations of those are shown that the rule and the claims are
    about, and the strongest others.

    \b
    [bold]Examples:[/]
      llt phases quickstart
      llt phases results.csv --where 'width>1 and batch_size<=256'
      llt phases results.csv --rule cka=0.6 --rule train_loss=0.1
      llt phases results.csv --relative-cka 0.5
      llt phases results.csv --fit
      llt phases quickstart --json
    """
    from llt_core.analysis import PhaseRule
    from llt_core.store.tables import open_table

    if fit and rule is not None:
        raise RequestError("--fit with thresholds of your own", expected="one of them")
    opened = store_if_there(store)
    source = _only(opened) if source is None else source
    with counting("cells read") as told:
        table = open_table(source, opened, told)
    if not len(table):
        raise RequestError(f"the table {table.name} has no cells", expected="at least one row")
    rows, whole = len(table), table
    if condition is not None:
        from llt_core.analysis.where import where

        table = table.select(where(table, condition))
        if not len(table):
            raise RequestError(f"no cell of {table.name} is left", where=f"--where {condition!r}")
    facts = {"rows": rows, "where": condition, **_facts(table, rule or PhaseRule(), fit, converged)}
    sweep = opened is not None and whole.name == source and not Path(source).is_file()
    facts["inferred"] = _inferred(opened, whole, condition) if opened and sweep else None
    if as_json:
        print(json.dumps(_finite(facts), indent=1))
    else:
        from llt_core.cli.phases_text import print_phases

        print_phases(facts, every)
    return 0


def _only(store: Store | None) -> str:
    """Return the name of the one sweep or table of the store."""
    from llt_core.store.kept import table_names
    from llt_core.store.sweeps import names

    found = [*names(store), *table_names(store)] if store is not None else []
    if len(found) == 1:
        return found[0]
    raise RequestError(
        f"which one? The store has {len(found)} sweeps and tables",
        where=str(store.root) if store is not None else str(store_root()),
        expected=f"one of {', '.join(found)}" if found else "a .csv or .parquet file",
        next_step=f"llt phases {found[0] if found else 'FILE.csv'}",
    )


def _facts(table: CellTable, rule: PhaseRule, fit: bool, converged_at: float) -> dict[str, Any]:
    """Return everything the command has to say, for machines."""
    from llt_core.analysis import classify
    from llt_core.analysis.claims import check_claims
    from llt_core.analysis.descent import peaks
    from llt_core.analysis.statistics import converged, correlate

    fitted = _fitted(table, rule) if fit else None
    rule = rule if fitted is None else fitted.rule
    verdicts = classify(table, rule)
    edge = verdicts.rule.train_loss
    found = {among: correlate(table, among, converged_at=converged_at, loss_below=edge)
             for among in ("all", "converged")}  # fmt: skip
    descents = {axis.name: peaks(table, axis) for axis in table.axes}
    claims = check_claims(
        table, verdicts, found["converged"], converged_at=converged_at, descents=descents
    )
    return {
        "table": table.name,
        "origin": table.origin,
        "cells": len(table),
        "axes": {axis.name: axis.kind for axis in table.axes},
        "rule": verdicts.rule.model_dump(exclude={"cka_quantile"}),
        "relative_cka": rule.cka_quantile,
        "fit": None if fitted is None else asdict(fitted) | {"rule": fitted.rule.model_dump()},
        "columns": verdicts.columns,
        "counts": verdicts.counts,
        "phases": _by_phase(table, verdicts),
        "undetermined": _grouped(verdicts.reasons, verdicts.codes.tolist()),
        "claims": [asdict(claim) for claim in claims],
        "converged_at": converged_at,
        "converged": int(converged(table, converged_at, edge).sum()),
        "converged_by": next((c for c in ("train_accuracy", "train_loss") if c in table), None),
        "correlations": {among: [asdict(c) for c in held] for among, held in found.items()},
        "double_descent": {
            axis: [asdict(peak) | {"hessian_distance": peak.distance} for peak in held]
            for axis, held in descents.items()
        },
        "by_cell": _by_cell(table, verdicts),
    }


def _fitted(table: CellTable, rule: PhaseRule) -> Fit:
    """Fit the thresholds: over a second for ten thousand cells, shown on a terminal alone."""
    from rich.console import Console

    from llt_core.analysis.fitting import fit_rule

    with Console(stderr=True).status(f"Fitting thresholds to {len(table)} cells"):
        return fit_rule(table, default=rule)


def _by_phase(table: CellTable, verdicts: Verdicts) -> list[dict[str, Any]]:
    """Return how many cells each phase has, and their mean test accuracy where it is known."""
    import numpy as np

    from llt_core.analysis import PHASES
    from llt_core.analysis.intervals import mean_interval

    known = "test_accuracy" in table
    accuracy = table.columns["test_accuracy"].values if known else np.full(len(table), np.nan)
    found = []
    for code, phase in enumerate(PHASES):
        held = accuracy[verdicts.codes == code]
        held = held[~np.isnan(held)]
        found.append(
            {
                "phase": phase,
                "cells": verdicts.counts[phase],
                "with_accuracy": len(held),
                "mean_test_accuracy": float(held.mean()) if len(held) else None,
                "interval": np.clip(mean_interval(held), 0, 100).tolist(),  # of a percentage
            }
        )
    return found


def _by_cell(table: CellTable, verdicts: Verdicts) -> list[dict[str, Any]]:
    """Return the phase of each cell, and how likely it is to have which; None if nobody knows."""
    from llt_core.analysis import PHASES
    from llt_core.analysis.confidence import phase_probabilities

    probabilities = phase_probabilities(table, verdicts.rule).tolist()
    return [
        {
            "cell": {axis.name: axis.values[row] for axis in table.axes},
            "phase": phase,
            "reason": reason,
            "probabilities": dict(zip((*PHASES, "undetermined"), chances, strict=True))
            if chances[0] == chances[0]
            else None,
        }
        for row, (phase, reason, chances) in enumerate(
            zip(verdicts.phases, verdicts.reasons, probabilities, strict=True)
        )
    ]


def _inferred(store: Store, table: CellTable, condition: str | None) -> dict[str, Any] | None:
    """Return what an adaptive sweep says of the cells that were not measured; None without one."""
    from collections import Counter

    import numpy as np

    from llt_core.analysis.where import where
    from llt_core.report.inferred import InferredMap, joined
    from llt_core.store.maps import recall_map
    from llt_core.store.sweeps import names

    found = recall_map(store, table.name) if table.name in names(store) else None
    if found is None:
        return None
    inferred = InferredMap.of(found, table)
    longer, marked = joined(table, inferred)
    chosen = np.ones(len(longer), np.bool_) if condition is None else where(longer, condition)
    places = [place for row, place in marked.items() if chosen[row]]
    counts = Counter(inferred.phases[place] or "undetermined" for place in places)
    sure = inferred.confidence[places]
    return {
        "cells": len(places),
        "counts": dict(sorted(counts.items())),
        "mean_probability": float(sure.mean()) if len(places) else None,
        "by_cell": [
            {
                "cell": {axis.name: axis.values[row] for axis in longer.axes},
                "phase": inferred.phases[place],
                "probability": float(inferred.confidence[place]),
            }
            for row, place in marked.items()
            if chosen[row]
        ],
        "rule": found.rule,
    }


def _grouped(reasons: Sequence[str], codes: Sequence[int]) -> list[dict[str, Any]]:
    """Count the reasons of undetermined cells, the most frequent first."""
    from collections import Counter

    counted = Counter(reason for reason, code in zip(reasons, codes, strict=True) if code < 0)
    return [{"reason": reason, "cells": count} for reason, count in counted.most_common()]


def _finite(value: Any) -> Any:
    """Return the value with None for every number that JSON cannot say."""
    if isinstance(value, dict):
        return {key: _finite(held) for key, held in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(held) for held in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
