"""Flat tables: one row a cell, one column a quantity, as spreadsheets and papers have them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt

from llt_core.analysis.headings import Meaning, Transform, meanings
from llt_core.analysis.possible import MISSING, impossible
from llt_core.analysis.table import Axis, AxisKind, CellTable, Column, Floats
from llt_core.errors import RequestError

OF_SEVERAL = (
    "cka", "l2_distance", "mode_connectivity", "linear_connectivity", "curve", "agreement",
    "js_divergence", "logit_cosine", "prediction_churn", "ensemble",
)  # fmt: skip
"""How quantities of pairs and sets of models begin."""
_REASONS = ("", "infinite in the file", "no number in the file")
_INVERSES: dict[Transform, Callable[[Floats], Floats]] = {
    "log": np.exp,
    "log10": lambda values: np.power(10.0, values),
    "fraction": lambda values: values * 100,
    "percent": lambda values: values / 100,
    "tenths": lambda values: values / 10,
}


@dataclass(frozen=True)
class Flat:
    """The text of a flat table.

    Attributes
    ----------
    columns
        The cells of each column, by its heading.
    lines
        The line of the file on which each row stands.
    """

    columns: Mapping[str, Sequence[str]]
    lines: Sequence[int]
    where: str


def read_flat(
    flat: Flat, name: str, said: Mapping[str, Meaning] | None = None, origin: str = ""
) -> CellTable:
    """Make a table of a flat one.

    Parameters
    ----------
    said
        What the user says of columns; the others are known by their headings.

    Raises
    ------
    RequestError
        A column is not what it should be, or two rows are the same cell.
    """
    found = meanings(list(flat.columns), said or {}, flat.where)
    axes = [_axis(flat, h, one) for h, one in found.items() if one.role == "axis"]
    varied = [axis for axis in axes if len(set(axis.values)) > 1] or axes[:1]
    facts = {axis.name: axis.values[0] for axis in axes if axis not in varied and axis.values}
    _check_distinct(flat, varied)
    models = np.zeros(len(flat.lines), dtype=np.int64)
    for heading, one in found.items():
        if one.role == "models":
            models = np.nan_to_num(_numbers(flat, heading)).astype(np.int64)
    columns = {
        one.name: _column(flat, heading, found, models)
        for heading, one in found.items()
        if one.role == "value" and _is_numeric(flat, heading, heading in (said or {}), one)
    }
    return CellTable(name, tuple(varied), columns, origin or flat.where, models, facts)


def _axis(flat: Flat, heading: str, one: Meaning) -> Axis:
    """Return a varied field; whole numbers stay whole, and text stays text."""
    texts = [text.strip() for text in flat.columns[heading]]
    wrong = {text: why for text in set(texts) if (why := _why_wrong(text, one))}
    for text, line in zip(texts, flat.lines, strict=True):
        if text in wrong:
            raise RequestError(
                f"{text!r} is no {heading}" if text else f"the cell has no {heading}",
                where=f"{flat.where}, line {line}, column {heading}",
                expected=wrong[text],
                next_step=""
                if text.lower() in MISSING
                else f"llt import table FILE --map {heading}=own.{heading}:axis, if it is no "
                f"{one.name}",
            )
    numeric = [_is_number(text) for text in texts]
    if not any(numeric):
        return Axis(one.name, tuple(texts), cast("AxisKind", one.kind))
    if not all(numeric):
        row = numeric.index(False)
        raise RequestError(
            f"{texts[row]!r} is no finite number, and other values of {heading} are",
            where=f"{flat.where}, line {flat.lines[row]}, column {heading}",
            expected="numbers in every row, or words in every row",
        )
    values = np.array([float(text) for text in texts])
    values = _inverse(one.transform, values)
    numbers = tuple(int(v) if float(v).is_integer() else float(v) for v in values)
    return Axis(one.name, numbers, cast("AxisKind", one.kind))


def _why_wrong(text: str, one: Meaning) -> str:
    """Return what should stand in place of a value of a varied field; nothing if it can be."""
    if text.lower() in MISSING:
        return impossible(one.name, text) or f"a value of {one.name} in every row"
    try:
        number = float(text)
    except ValueError:
        return ""
    expected = impossible(one.name, float(_inverse(one.transform, np.array(number))))
    return f"{expected}, here in {one.transform}" if expected and one.transform else expected


def _column(
    flat: Flat, heading: str, found: Mapping[str, Meaning], models: npt.NDArray[np.int64]
) -> Column:
    one = found[heading]
    raw = _numbers(flat, heading)
    values = _inverse(one.transform, raw)
    if one.unit == "percent" and not one.transform:
        _check_percent(flat, heading, one, values)
    errors = np.full(len(values), np.nan)
    for other, meant in found.items():
        if meant.name != one.name or meant.role not in ("std", "standard_error"):
            continue
        errors = _inverse("fraction" if one.transform == "fraction" else "", _numbers(flat, other))
        if meant.role == "std":
            with np.errstate(divide="ignore", invalid="ignore"):
                errors = np.where(models > 0, errors / np.sqrt(models), np.nan)
    there = np.isfinite(values)
    # Of how many pairs or sets a mean is, no number of models says.
    each = 0 if one.name.startswith(OF_SEVERAL) else 1
    return Column(
        one.name,
        np.where(there, values, np.nan),
        one.unit,
        errors,
        np.where(there, each * np.maximum(models, 1), 0),
        tuple(_REASONS[kind] for kind in np.where(there, 0, np.where(np.isinf(values), 1, 2))),
    )


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _numbers(flat: Flat, heading: str) -> Floats:
    """Return a column as numbers; NaN where it is empty or says so."""
    texts = flat.columns[heading]
    try:
        return np.array([float(text or "nan") for text in texts])
    except ValueError:
        return np.array([_number(flat, heading, row) for row in range(len(texts))])


def _number(flat: Flat, heading: str, row: int) -> float:
    text = flat.columns[heading][row].strip()
    if text.lower() in MISSING:
        return math.nan
    try:
        return float(text)
    except ValueError as error:
        raise RequestError(
            f"{text!r} is no number",
            where=f"{flat.where}, line {flat.lines[row]}, column {heading}",
            expected="a number, or nothing where there is none",
            next_step=f"llt import table FILE --map {heading}=- leaves the column out",
        ) from error


def _is_numeric(flat: Flat, heading: str, said: bool, one: Meaning) -> bool:
    """Whether to read a column: one nobody knows may hold words, which say nothing here."""
    if said or one.name != heading or one.unit:
        return True
    try:
        _numbers(flat, heading)
    except RequestError:
        return False
    return True


def _inverse(transform: Transform, values: Floats) -> Floats:
    with np.errstate(over="ignore", invalid="ignore"):
        return _INVERSES[transform](values) if transform else values


def _check_percent(flat: Flat, heading: str, one: Meaning, values: Floats) -> None:
    """Refuse accuracies that look like parts of one: nobody shall guess."""
    held = values[np.isfinite(values)]
    if one.name.endswith("accuracy") and held.size and held.min() >= 0 and held.max() <= 1:
        raise RequestError(
            f"the column {heading} reaches {held.max():g}, and {one.name} is in percent",
            where=flat.where,
            expected="percent, or word that it is not",
            next_step=f"llt import table FILE --map {heading}={one.name}:fraction",
        )


def _check_distinct(flat: Flat, axes: Sequence[Axis]) -> None:
    seen: dict[tuple[object, ...], int] = {}
    for line, key in zip(
        flat.lines, zip(*(axis.values for axis in axes), strict=True), strict=True
    ):
        first = seen.setdefault(key, line)
        if first != line:
            cell = ", ".join(f"{a.name}={v}" for a, v in zip(axes, key, strict=True))
            raise RequestError(
                f"two rows are the same cell: {cell}",
                where=f"{flat.where}, lines {first} and {line}",
                expected="one row a cell, with a column for each varied field",
                next_step="llt import table FILE --map COLUMN=FIELD:axis names another one",
            )
