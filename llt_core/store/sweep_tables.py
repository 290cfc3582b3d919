"""A sweep as a table: one row a grid point, whether it is finished or not."""

from __future__ import annotations

from collections.abc import Sequence

from llt_core.analysis.coded import Coded
from llt_core.analysis.long import LongTable, by_columns
from llt_core.analysis.rows import Key, apart, cells_of
from llt_core.analysis.table import CellTable
from llt_core.store.cells import Store
from llt_core.store.export import Measured, columns_of
from llt_core.store.index import Progress, measured_cells
from llt_core.store.states import CellState, Glance, running
from llt_core.store.sweeps import SweepPoint, point_values, recall, sweep_cells
from llt_core.uncollected import uncollected

_WHY: dict[CellState, str] = {
    "waiting": "not measured yet",
    "running": "being measured",
    "failed": "failed",
    "blocked": "a model diverged or failed",
}


@uncollected()
def sweep_table(store: Store, name: str, progress: Progress | None = None) -> CellTable:
    """Return the grid points of a sweep with what was measured on them so far.

    Raises
    ------
    LltError
        There is no such sweep, or its file cannot be read.
    """
    sweep = recall(store, name)
    glance = Glance(store)
    glance.again()
    states = glance.states(sweep, running(store))
    values = [point_values(point) for point in sweep.points]
    # Of fields that vary together (data and epochs, say) the first one is the axis.
    varied = {field: Coded.of([found.get(field) for found in values]) for field in sweep.fields}
    axes = apart(varied) or list(sweep.fields[:1])
    cells: dict[Key, str] = {}
    for point, found in zip(sweep.points, values, strict=True):
        cells[tuple(found[field] for field in axes)] = _missing(point, states)
    measured = sweep_cells(sweep, measured_cells(store, set(sweep.measures), progress))
    table = _long(measured)
    return cells_of(
        table, name, axes=axes, kinds=sweep.kinds, origin=_origin(measured), cells=cells
    )


def _long(cells: Sequence[Measured]) -> LongTable:
    """Return the measurements of cells as a long table."""
    shared = LongTable.of(by_columns([cell.fields for cell in cells]))
    own = LongTable.of(columns_of(cells))
    repeated = shared.repeated([len(cell.rows) for cell in cells])
    return LongTable(own.numbers, {**repeated.columns, **own.columns})


def _missing(point: SweepPoint, states: dict[str, CellState]) -> str:
    """Say why something is not there at a grid point: in one word or a few, to be counted."""
    found = {states[digest] for digest in point.measures} - {"done"}
    told = [_WHY.get(state, state) for state in sorted(found)]
    return ", ".join(told) or "not asked for"


def _origin(cells: Sequence[Measured]) -> str:
    """Say that llt measured it, and where the data is not what it is called."""
    unverified = any(cell.fields["data_verified"] is False for cell in cells)
    return "llt" + (" (data files that are not the published ones)" if unverified else "")
