"""The published results of Yang et al. (2021), as rows like those of our own sweeps.

Their archive has a folder for each cell, whose name states the axes, and in it a file for each
metric: pickles of mappings from model numbers to numbers, and one .npz file for the curve.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from llt_core.analysis.reference_files import (
    CURVE_FILES,
    FILES,
    Models,
    Quantity,
    Reading,
    read_file,
)
from llt_core.analysis.reference_layout import KINDS, Place, UnknownNameError, axes, place
from llt_core.analysis.untrusted import DamagedError, Limits, members, shown
from llt_core.errors import RequestError

MAX_ROWS = 1_500_000
MOST_TOLD = 5
"""Some 17,000 cells of five models, and two gigabytes of memory."""
_SILENT = (".log", ".err", ".txt")
"""Endings of what the published scripts leave beside results: nothing is lost with them."""


class Problem(NamedTuple):
    """Something an archive should have, or has, that is not in the table."""

    cell: str
    quantity: str
    reason: str


@dataclass(frozen=True)
class Imported:
    """What was read.

    Attributes
    ----------
    origin
        Where it is from, as each row says too.
    rows
        One a measurement: the axes of its cell, the models it is of (``seeds``, their numbers
        joined by ``+``), name, value, unit, status, and the file it is from. The mean of both
        orders stands for a pair, so no pair counts twice.
    problems
        What is missing, not finite, damaged or not understood.
    cells
        The folders of which anything could be read.
    """

    origin: str
    rows: list[dict[str, Any]]
    problems: list[Problem]
    cells: tuple[str, ...]

    @property
    def kinds(self) -> dict[str, str]:
        """The fields that differ between cells, each as load, temperature or nothing.

        Of a single cell width and batch size.
        """
        kinds = {**KINDS, "architecture": "", "train.recipe": ""}
        varied = {n: k for n, k in kinds.items() if len({row[n] for row in self.rows}) > 1}
        return varied or {n: KINDS[n] for n in ("architecture.width", "train.batch_size")}


@dataclass
class _Cell:
    """What has been read of a cell so far."""

    axes: dict[str, Any]
    readings: dict[str, list[Reading]] = field(default_factory=dict)
    damaged: dict[str, str] = field(default_factory=dict)
    """File → what is wrong with it."""
    sources: dict[str, str] = field(default_factory=dict)
    """File → its whole name."""

    @property
    def models(self) -> list[int]:
        """The numbers of all models that any file knows."""
        return sorted(
            {model for found in self.readings.values() for r in found for model in r.models}
        )


def read_reference(
    path: Path,
    *,
    limits: Limits | None = None,
    progress: Callable[[int], None] | None = None,
) -> Imported:
    """Read an archive of published results, or the folder it unpacks to.

    Parameters
    ----------
    path
        A ``.tar.gz`` or ``.tar`` file, or a folder.
    limits
        How much is read at most; the usual bounds if None.
    progress
        Called with the number of files read so far.

    Raises
    ------
    RequestError
        There is nothing to read in it, or something in it is refused.
    """
    reader = _Reader(f"published: {shown(path.resolve().name)}")
    for count, (name, data) in enumerate(members(path, _wanted, limits), 1):
        reader.take(name, data)
        if progress is not None:
            progress(count)
    return reader.result(path)


def _wanted(name: str) -> bool:
    where = place(name)
    if where is None:
        return False
    return where.file in (CURVE_FILES if where.pair else FILES)


class _Reader:
    """Sorts files into cells."""

    def __init__(self, origin: str) -> None:
        self._origin = origin
        self._cells: dict[str, _Cell | None] = {}
        self._unread: Counter[str] = Counter()
        self._strangers: list[str] = []
        self._problems: list[Problem] = []
        self._count = 0

    def take(self, name: str, data: bytes | None) -> None:
        """Read one file; None says that nobody wants its content."""
        where = place(name)
        if where is None:
            self._strangers.append(shown(name))
            return
        cell = self._cell(where.cell)
        if data is None:
            if not where.pair and not where.file.endswith(_SILENT):
                self._unread[shown(where.file)] += 1
        elif cell is not None:
            self._read(cell, where, name, data)

    def _cell(self, name: str) -> _Cell | None:
        """Return a cell by its folder; None if the name of that is not understood."""
        if name not in self._cells:
            try:
                self._cells[name] = _Cell(axes(name))
            except UnknownNameError as error:
                self._cells[name] = None
                reason = f"{error} is not understood: the cell is left out"
                self._problems.append(Problem(shown(name), "", reason))
        return self._cells[name]

    def _read(self, cell: _Cell, where: Place, name: str, data: bytes) -> None:
        file = f"connecting_{where.pair[0]}_{where.pair[1]}" if where.pair else where.file
        try:
            readings = read_file(data, where.file, name, where.pair)
        except DamagedError as error:
            cell.damaged[file] = f"{where.file} {error}"
            return
        cell.readings[file] = readings
        cell.sources[file] = name
        self._count += len(readings)
        if self._count > MAX_ROWS:
            raise RequestError(f"refused: more than {MAX_ROWS:,} numbers", where=shown(name))

    def result(self, path: Path) -> Imported:
        """Return the rows of all cells, and what there is to say about them."""
        cells = {name: cell for name, cell in self._cells.items() if cell is not None}
        if not any(cell.models for cell in cells.values()):
            damaged = [
                f"{shown(name)}: {reason}"
                for name, cell in cells.items()
                for reason in cell.damaged.values()
            ]
            raise RequestError(
                "no published results found" + (" that can be read" if damaged else ""),
                where="\n    ".join([str(path), *damaged[:MOST_TOLD]]),
                expected="folders like different_knobs_subset_10/bs_32/lr_decay/"
                "ResNet18_w4/metrics",
            )
        self._no_twins(cells)
        rows: list[dict[str, Any]] = []
        for name, cell in sorted(cells.items(), key=lambda item: _order(item[1])):
            found = list(_complete(cell)) if cell.models else []
            rows += [self._row(name, cell, file, reading) for file, reading in found]
            self._problems += _problems(name, cell, [reading for _, reading in found])
        self._problems += self._left_over()
        known = tuple(name for name, cell in cells.items() if cell.models)
        return Imported(self._origin, rows, self._problems, known)

    def _no_twins(self, cells: dict[str, _Cell]) -> None:
        """Refuse two folders that mean the same cell, as of two experiments in one archive."""
        seen: dict[tuple[Any, ...], str] = {}
        for name, cell in cells.items():
            first = seen.setdefault(tuple(sorted(cell.axes.items())), name)
            if first != name:
                raise RequestError(
                    "two folders mean the same cell",
                    where=f"{shown(first)} and {shown(name)}",
                    expected="one experiment in an archive",
                    next_step="llt import reference DIR, with the folder of one of them",
                )

    def _row(self, name: str, cell: _Cell, file: str, reading: Reading) -> dict[str, Any]:
        return {
            **cell.axes,
            "seeds": "+".join(map(str, reading.models)),
            "metric": reading.metric,
            "name": reading.name,
            "value": reading.value,
            "standard_error": None,
            "unit": reading.unit,
            "n": reading.n,
            "counted": "published numbers",
            "status": reading.status,
            "reason": reading.reason,
            "origin": self._origin,
            "source": shown(cell.sources.get(file, f"{name}/metrics/{file}")),
        }

    def _left_over(self) -> Iterator[Problem]:
        for file, count in sorted(self._unread.items()):
            yield Problem("", "", f"{file} is not imported ({count} of them)")
        if self._strangers:
            more = f" and {len(self._strangers) - 1} more" if len(self._strangers) > 1 else ""
            yield Problem("", "", f"{self._strangers[0]}{more}: in no cell's folder, not imported")


def _order(cell: _Cell) -> tuple[tuple[str, Any], ...]:
    """Return what to sort cells by: the values of their axes."""
    return tuple((name, value) for name, value in sorted(cell.axes.items()) if name in KINDS)


def _complete(cell: _Cell) -> Iterator[tuple[str, Reading]]:
    """Yield all readings of a cell, those of files that are missing too, with their file."""
    models = cell.models
    curves = sorted(file for file in cell.readings if file not in FILES)
    for file, quantities in FILES.items():
        if file in cell.readings:
            yield from ((file, reading) for reading in cell.readings[file])
        elif file != "curve_test.npz" or not curves:
            reason = cell.damaged.get(file, f"{file} is missing")
            for quantity, of in _expected(file, quantities, models):
                yield file, quantity.missing(of, reason)
    for file in curves:
        if not _doubled(file, cell):
            yield from ((file, reading) for reading in cell.readings[file])


def _doubled(file: str, cell: _Cell) -> bool:
    """Return whether the same curve is there twice: it was copied, or evaluated anew."""
    return file == "connecting_0_1" and "curve_test.npz" in cell.readings


def _expected(
    file: str, quantities: Iterable[Quantity], models: list[int]
) -> Iterator[tuple[Quantity, Models]]:
    """Yield what a file of a cell with these models should give."""
    for quantity in quantities:
        if file == "curve_test.npz":
            yield quantity, tuple(models[:2])
        else:
            for of in itertools.combinations(models, quantity.models):
                yield quantity, of


def _problems(name: str, cell: _Cell, readings: list[Reading]) -> Iterator[Problem]:
    """Yield what a cell lacks, each quantity and reason once."""
    if not cell.models:
        told = "; ".join(cell.damaged.values()) or "there is none that is imported"
        yield Problem(shown(name), "", f"no file of it can be read ({told}): it is left out")
        return
    lacking: dict[tuple[str, str], list[Reading]] = {}
    for reading in readings:
        if reading.status != "ok":
            lacking.setdefault((reading.name, reading.reason), []).append(reading)
    for (quantity, reason), found in lacking.items():
        which = ", ".join("+".join(map(str, reading.models)) for reading in found)
        kind = "pair" if len(found[0].models) == 2 else "model"
        plural = "s" if len(found) > 1 else ""
        yield Problem(shown(name), quantity, f"{reason} ({kind}{plural} {which})")
    for file, reason in cell.damaged.items():
        if file not in FILES:
            yield Problem(shown(name), "mode_connectivity", reason)
