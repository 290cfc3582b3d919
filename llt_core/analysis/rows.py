"""Long tables: one row a measurement, as ``llt export`` writes them, made into one row a cell.

A row says what was measured (``name``, ``value``, ``standard_error``, ``unit``, ``status``), on
which models (``seeds``: ``0`` for one, ``0+1`` for a pair), and of which composition. A row
without seeds is a mean of ``n`` measurements, over ``models`` models.

There may be a million rows, so whole columns are worked on, never rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from llt_core.analysis.coded import Coded, Codes, appearances, places_of, stretches, together
from llt_core.analysis.long import LongTable
from llt_core.analysis.means import jackknives
from llt_core.analysis.samples import Floats, Samples
from llt_core.analysis.table import Axis, AxisKind, CellTable, Column

Key = tuple[Any, ...]


def cells_of(
    table: LongTable,
    name: str,
    *,
    axes: Sequence[str] | None = None,
    kinds: Mapping[str, str] | None = None,
    origin: str = "llt",
    cells: Mapping[Key, str] | None = None,
) -> CellTable:
    """Gather a long table into one with one row a cell.

    Parameters
    ----------
    table
        The measurements.
    name, origin
        Of the table.
    axes
        The varied fields. By default those of the composition that tell cells apart, in the
        order of the columns: a field that follows from others before it is none.
    kinds
        Which fields are load or temperature.
    cells
        All cells there should be, by the values of ``axes``, each with what to say of a
        quantity that was not measured in it. By default those that rows name.

    A row whose axis is None counts in every cell that agrees with it otherwise: a measurement
    that several cells share. The samples of a cell are in the order of the models they read.
    """
    fields = tuple(find_axes(table) if axes is None else axes)
    keys = together([table[f] for f in fields], len(table))
    known = _named(keys.values) if cells is None else dict(cells)
    quantities = _distinguished(table)
    rows, places = _spread(keys, known)
    read = _read(table["seeds"], np.isfinite(table.number("value")), rows, places, len(known))
    of_quantity = places_of(quantities.codes[rows], len(quantities.values))
    return CellTable(
        name,
        tuple(
            Axis(f, tuple(key[i] for key in known), cast("AxisKind", (kinds or {}).get(f, "")))
            for i, f in enumerate(fields)
        ),
        {
            quantity: _column(quantity, table, rows[mine], places[mine], read.of(mine), known)
            for quantity, mine in zip(quantities.values, of_quantity, strict=True)
        },
        origin=origin,
        models=_model_counts(table["models"], keys, known, read.counts),
        facts=_constant(table, fields),
    )


def find_axes(table: LongTable) -> list[str]:
    """Return the fields of the composition that tell cells apart, each only if it adds to it."""
    return apart({field: table[field] for field in table.composition})


def apart(columns: Mapping[str, Coded]) -> list[str]:
    """Return those columns that tell rows apart: not what follows from others before it.

    >>> width, batch = [1, 1, 2, 2], [16, 32, 16, 32]
    >>> columns = {"width": width, "twice": [2 * w for w in width], "batch": batch}
    >>> apart({name: Coded.of(values) for name, values in columns.items()})
    ['width', 'batch']
    """
    found: list[str] = []
    most = 1
    for name, column in columns.items():
        if len(column.values) < 2:
            continue
        keys = together([columns[f] for f in (*found, name)], len(column.codes)).values
        whole = sum(None not in key for key in keys)
        if whole > most:
            found.append(name)
            most = whole
    return found


def _named(keys: Iterable[Key]) -> dict[Key, str]:
    """Return the cells that rows name, in order if they have several axes."""
    whole = [key for key in keys if None not in key]
    if whole and len(whole[0]) > 1:
        whole.sort(key=lambda key: tuple(map(_order, key)))
    return dict.fromkeys(whole, "not in the table")


def _spread(keys: Coded, known: Mapping[Key, str]) -> tuple[Codes, Codes]:
    """Return rows and the places of cells they count in, as often as there are such cells."""
    agreeing = _agreeing(keys.values, list(known))
    sizes = np.array([len(cells) for cells in agreeing], dtype=np.int64)
    starts = np.cumsum(sizes) - sizes
    cells = np.array([cell for cells in agreeing for cell in cells], dtype=np.int64)
    found = stretches(starts[keys.codes], sizes[keys.codes])
    return np.repeat(np.arange(len(keys.codes)), sizes[keys.codes]), cells[found]


def _agreeing(keys: Iterable[Key], known: Sequence[Key]) -> list[Sequence[int]]:
    """Return for each key the cells that agree with it: itself, or all that do where it is None."""
    places = {key: place for place, key in enumerate(known)}
    by_given: dict[tuple[bool, ...], dict[Key, list[int]]] = {}
    found: list[Sequence[int]] = []
    for key in keys:
        if key in places or None not in key:
            found.append([places[key]] if key in places else [])
            continue
        given = tuple(value is not None for value in key)
        if given not in by_given:
            by_given[given] = {}
            for place, cell in enumerate(known):
                by_given[given].setdefault(tuple(compress(cell, given)), []).append(place)
        found.append(by_given[given].get(tuple(compress(key, given)), []))
    return found


def _distinguished(table: LongTable) -> Coded:
    """Return what to call the quantity of each row: with parameters where these differ."""
    names = table["name"]
    told, differ = {"name": names}, {}
    for field, column in table.columns.items():
        if not field.startswith("metric.") or column.constant:
            continue
        seen = np.zeros((len(names.values) + 1, len(column.values) + 1), dtype=np.bool_)
        seen[names.codes, column.codes] = True
        differ[field] = seen.sum(axis=1) > 1
        if differ[field].any():
            told[field] = column
    found = together(list(told.values()), len(table))
    places = {name: place for place, name in enumerate(names.values)}
    called = []
    for name, *values in found.values:
        settings = ", ".join(
            f"{field[7:]}={value}"
            for field, value in zip(list(told)[1:], values, strict=True)
            if value is not None and differ[field][places.get(name, -1)]
        )
        called.append(f"{name}({settings})" if settings else str(name))
    again = Coded.of(called)
    return Coded(again.codes[found.codes], again.values)


@dataclass(frozen=True)
class _Read:
    """Which models measurements read, by their places among those of their cell.

    Attributes
    ----------
    reads
        Of each row, its place in ``models``; -1 where there is no value.
    models
        What rows read, each once, in order.
    counts
        How many models each cell has.
    """

    reads: Codes
    models: Sequence[tuple[int, ...]]
    counts: Codes

    def of(self, rows: Codes) -> _Read:
        return _Read(self.reads[rows], self.models, self.counts)


def _read(
    seeds: Coded, there: npt.NDArray[np.bool_], rows: Codes, places: Codes, cells: int
) -> _Read:
    """Return which models of its cell each row reads, these numbered in the order of seeds."""
    sets = [text.split("+") if text else [] for text in seeds.as_text()]
    names = sorted(dict.fromkeys(name for held in sets for name in held), key=_order)
    ranks = {name: rank for rank, name in enumerate(names)}
    members = np.array([ranks[name] for held in sets for name in held], dtype=np.int64)
    sizes = np.array([len(held) for held in sets], dtype=np.int64)
    starts = np.cumsum(sizes) - sizes

    mine = np.flatnonzero(there[rows])
    of_rows = seeds.codes[rows[mine]] % len(sets)  # none: the last, which is empty
    pairs, first = appearances(places[mine] * len(sets) + of_rows)
    cell, held = places[mine][first], of_rows[first]
    before = np.cumsum(sizes[held]) - sizes[held]
    where = (
        np.repeat(cell, sizes[held]) * len(names) + members[stretches(starts[held], sizes[held])]
    )
    found = np.unique(where)  # cell by cell, and in the order of the names
    counts = np.bincount(found // max(len(names), 1), minlength=cells)
    among = np.searchsorted(found, where) - np.repeat(
        (np.cumsum(counts) - counts)[cell], sizes[held]
    )
    columns = []
    for place in range(int(sizes[held].max(initial=0))):
        codes = np.full(len(held), -1)
        more = sizes[held] > place
        codes[more] = among[before[more] + place]
        columns.append(Coded(codes, range(int(counts.max()))))
    read = together(columns, len(held))
    models = [tuple(place for place in key if place is not None) for key in read.values]
    order = sorted(range(len(models)), key=models.__getitem__)
    reads = np.full(len(rows), -1)
    reads[mine] = np.argsort(order)[read.codes[pairs]]
    return _Read(reads, [models[place] for place in order], counts)


def _model_counts(said: Coded, keys: Coded, known: Mapping[Key, str], counts: Codes) -> Codes:
    """Return how many models each cell has; where rows are means, they say it themselves."""
    numbers = np.array([int(number or 0) for number in (*said.values, 0)])[said.codes]
    places = {key: place for place, key in enumerate(known)}
    of_keys = np.array([places.get(key, -1) for key in keys.values], dtype=np.int64)
    cells = of_keys[keys.codes]
    mine = (numbers != 0) & (cells >= 0)
    result = counts.copy()
    result[cells[mine]] = numbers[mine]
    return result


def _column(
    name: str, table: LongTable, rows: Codes, places: Codes, read: _Read, known: Mapping[Key, str]
) -> Column:
    """Gather the rows of one quantity, each with the place of its cell."""
    there = read.reads >= 0
    order = np.argsort(places[there] * len(read.models) + read.reads[there], kind="stable")
    held = rows[there][order]
    samples = Samples(
        np.bincount(places[there], minlength=len(known)),
        read.models,
        read.reads[there][order],
        table.number("value")[held],
    )
    errors, n = _errors(samples, table.number("standard_error")[held]), table.number("n")[held]
    n = np.where(samples.widths[samples.reads] > 0, 1, np.where(np.isnan(n), 1, n).astype(np.int64))
    unit = table["unit"]
    texts = unit.as_text()
    _, first = appearances(unit.codes[rows] + 1)
    missing = ~there & (samples.sizes[places] == 0)
    return Column(
        name,
        samples.means,
        next((texts[code] for code in unit.codes[rows[first]] if texts[code]), ""),
        errors,
        np.bincount(samples.rows, n, minlength=len(known)).astype(np.int64),
        _reasons(samples.sizes, table, rows[missing], places[missing], known),
        samples,
    )


def _errors(samples: Samples, own: Floats) -> Floats:
    """Return the standard error of each mean over models; of what is a mean already, its own.

    That of a single model or pair is unknown: how sure one measurement is says nothing of how
    much models differ.
    """
    result = np.full(len(samples), np.nan)
    for models, cells, values in samples.alike():
        if () not in models:
            result[cells] = jackknives(values, models)
    alone = (samples.sizes == 1) & ~samples.reading(1)
    result[alone] = own[samples.starts[alone]]
    return result


def _reasons(
    sizes: Codes, table: LongTable, rows: Codes, places: Codes, known: Mapping[Key, str]
) -> tuple[str, ...]:
    """Return why cells have no value, as ``rows`` say that were to have one."""
    reason, status = table["reason"], table["status"]
    reasons, states = reason.as_text(), status.as_text()
    told: dict[int, dict[str, None]] = {}
    codes = (places, reason.codes[rows], status.codes[rows])
    for place, why, state in zip(*(found.tolist() for found in codes), strict=True):
        text = reasons[why] or states[state] or "not_finite"
        told.setdefault(place, {})[text] = None
    found = zip(sizes.tolist(), known.values(), strict=True)
    return tuple(
        "" if size else ", ".join(told.get(place, ())) or missing
        for place, (size, missing) in enumerate(found)
    )


def _constant(table: LongTable, axes: Sequence[str]) -> dict[str, Any]:
    fields = {f: table[f] for f in table.composition if f not in axes}
    return {f: c.values[c.codes[0]] for f, c in fields.items() if c.constant}


def _order(value: Any) -> tuple[int, float, str]:
    """Order numbers, also written ones, by their size and before all else."""
    try:
        return (0, float(value), "")
    except (TypeError, ValueError):
        return (1, 0.0, str(value))
