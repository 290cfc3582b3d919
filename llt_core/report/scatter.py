"""A quantity against the accuracy, coloured by phase. Importing this imports matplotlib."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from llt_core.analysis import PHASES, CellTable, PhaseRule, classify
from llt_core.analysis.coefficients import spearman_of_pairs
from llt_core.analysis.table import Floats
from llt_core.errors import RequestError
from llt_core.report.captions import Source, rule_in_words
from llt_core.report.display import (
    PHASE_COLOURS,
    PHASE_MARKERS,
    UNDETERMINED_COLOUR,
    metric_facts,
)
from llt_core.report.sheets import sheet
from llt_core.spec.naming import counted

CONVERGED = 99.0
"""Training accuracy in percent from which a cell counts as converged (Yang et al. 2021)."""


def scatter_figure(
    source: Source, name: str, against: str = "test_accuracy", rule: PhaseRule | None = None
) -> Figure:
    """Draw one point a cell, with its standard errors where they are known.

    Raises
    ------
    RequestError
        The table lacks a column, or no cell has both values.
    """
    table = source.table
    x, y = (_shown(table, column) for column in (name, against))
    both = np.isfinite(x[0]) & np.isfinite(y[0])
    if not both.any():
        raise RequestError(f"no cell of {table.name} has both {name} and {against}")
    verdicts = classify(table, rule)
    titles = [metric_facts(n).label(table.columns[n].unit) for n in (name, against)]
    errors = any(np.isfinite(part[1][both]).any() for part in (x, y))
    heading = [
        f"{titles[1]} against {titles[0]}",
        source.describe(),
        _correlations(table, *(table.columns[n].values for n in (name, against))),
        _beyond(table, (name, against)),
        rule_in_words(verdicts),
        "bars: ± 1 standard error" if errors else "standard errors not known",
    ]
    with sheet(1, 1, heading, (5.8, 4.2)) as made:
        (axes,) = made.panels
        axes.grid(True, color="0.93")
        for code, phase in enumerate((*PHASES, "undetermined")):
            cells = both & (verdicts.codes == (code if code < len(PHASES) else -1))
            if cells.any():
                axes.errorbar(
                    x[0][cells],
                    y[0][cells],
                    xerr=_bars(x[1][cells]),
                    yerr=_bars(y[1][cells]),
                    fmt=PHASE_MARKERS.get(phase, "x"),
                    color=PHASE_COLOURS.get(phase, UNDETERMINED_COLOUR),
                    ecolor="0.6",
                    elinewidth=0.6,
                    markersize=5,
                    markeredgecolor="white" if phase in PHASE_MARKERS else None,
                    markeredgewidth=0.4 if phase in PHASE_MARKERS else 1.0,
                    label=f"{phase} ({cells.sum()})",
                    rasterized=len(table) > 2500,
                )
        axes.set_xlabel(titles[0])
        axes.set_ylabel(titles[1])
        handles, labels = axes.get_legend_handles_labels()
        made.entries.update(dict(zip(labels, handles, strict=True)))
    return made.figure


def _correlations(table: CellTable, x: Floats, y: Floats) -> str:
    words = _correlation(*spearman_of_pairs(x, y), "cells")
    if "train_accuracy" not in table:
        return words
    some = table.columns["train_accuracy"].values >= CONVERGED
    return f"{words}; {_correlation(*spearman_of_pairs(x[some], y[some]), 'converged cells')}"


def _beyond(table: CellTable, names: tuple[str, str]) -> str:
    """Say how many cells are not drawn though they have both numbers; nothing if all are."""
    x, y = (table.columns[name].values for name in names)
    both = np.isfinite(x) & np.isfinite(y)
    drawn = both & np.isfinite(_shown(table, names[0])[0]) & np.isfinite(_shown(table, names[1])[0])
    lost = int((both & ~drawn).sum())
    return f"not drawn: {counted(lost, 'cell')} with a value that has no logarithm" if lost else ""


def _correlation(rho: float, n: int, what: str) -> str:
    if np.isnan(rho):
        return f"Spearman's ρ cannot be said of n = {n} {what}"
    return f"Spearman's ρ = {rho:.2f} (n = {n} {what})"


def _shown(table: CellTable, name: str) -> tuple[Floats, Floats]:
    """Return what is drawn of a column, and its standard errors."""
    column, facts = table.column(name), metric_facts(name)
    return facts.shown(column.values), facts.errors(column.values, column.standard_errors)


def _bars(errors: Floats) -> Floats | None:
    return errors if np.isfinite(errors).any() else None
