"""Which figure of a table is wanted, drawn and written. Importing this imports matplotlib."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from matplotlib.figure import Figure

from llt_core.analysis import PhaseRule
from llt_core.errors import RequestError
from llt_core.report.bundles import bundle_figure
from llt_core.report.captions import Source
from llt_core.report.grids import Plane
from llt_core.report.panels import figure2, gain_figure, metric_figure, phase_figure
from llt_core.report.pictures import write
from llt_core.report.scatter import scatter_figure
from llt_core.report.strands import StrandKind, strands_of_columns, strands_of_sweep
from llt_core.store import Store
from llt_core.store.sweeps import names
from llt_core.version import __version__

View = Literal["panel", "metric", "phases", "scatter", "gain", "curves", "spectra", "histories"]


@dataclass(frozen=True)
class Wish:
    """What to draw of a table.

    Attributes
    ----------
    metric
        The column, where the view is of one.
    against
        The column that a scatter draws upwards.
    x, y
        Names of axes; None: load across and temperature upwards.
    other
        The table that a gain is over.
    rule
        The thresholds between phases; None: the usual ones.
    """

    view: View
    metric: str = "test_accuracy"
    against: str = "test_accuracy"
    x: str | None = None
    y: str | None = None
    other: Source | None = None
    rule: PhaseRule | None = None

    @property
    def name(self) -> str:
        """What to call it: the view, and the columns and the other table that it is of."""
        match self.view:
            case "metric":
                return self.metric
            case "scatter":
                return f"scatter-{self.metric}"
            case "gain":
                assert self.other is not None  # a gain has one
                return f"gain-{self.other.table.name}-{self.metric}"
        return "figure2" if self.view == "panel" else self.view


def draw(source: Source, wish: Wish, store: Store | None) -> Figure:
    """Return the figure.

    Raises
    ------
    RequestError
        The table does not have what it needs.
    """
    match wish.view:
        case "curves" | "spectra" | "histories":
            return _lines(source, wish, wish.view, store)
        case "scatter":
            return scatter_figure(source, wish.metric, wish.against, wish.rule)
        case "gain":
            assert wish.other is not None  # a gain has one
            return gain_figure(source, wish.other, wish.metric, wish.x, wish.y).figure
    plane = Plane.of(source.table, wish.x, wish.y)
    if wish.view == "metric":
        return metric_figure(source, wish.metric, plane).figure
    return (phase_figure if wish.view == "phases" else figure2)(source, plane, wish.rule).figure


def save_view(source: Source, wish: Wish, store: Store | None, path: Path) -> None:
    """Draw what is wished into ``path``; the same input gives the same bytes."""
    write(
        draw(source, wish, store),
        path,
        what=f"{wish.name} of {source.describe()}",
        source=f"llt table {source.table.name}",
        made=f"llt {__version__}",
    )


def _lines(source: Source, wish: Wish, kind: StrandKind, store: Store | None) -> Figure:
    table = source.table
    if not table.axes or not len(table):
        raise RequestError(f"the table {table.name} has no cells or no axis to draw over")
    if store is not None and table.name in names(store) and table.origin.startswith("llt"):
        bundle = strands_of_sweep(store, table, kind)
    elif kind == "curves":
        bundle = strands_of_columns(table)
    else:
        raise RequestError(
            f"{table.name} is no sweep of the store, so it has no {kind}",
            expected="the name of a sweep",
            next_step="llt status",
        )
    # Lines need no grid: several cells in one place are several lines.
    return bundle_figure(source, bundle, *Plane.sides(table, wish.x, wish.y))
