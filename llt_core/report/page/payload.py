"""What the page knows: one JSON document, column by column, every number as it is in the table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from llt_core.analysis import PHASES, Axis, CellTable, Column, PhaseRule, classify
from llt_core.analysis.claims import check_claims
from llt_core.analysis.phases import CONNECTIVITY, facts_of
from llt_core.analysis.table import Floats
from llt_core.fields import short_fields
from llt_core.report.captions import imported, origin
from llt_core.report.inferred import OTHER_RULE, InferredMap, joined, summary
from llt_core.report.page.details import Details, split_curves
from llt_core.report.page.findings import TARGETS, findings
from llt_core.report.page.matching import match_rows
from llt_core.report.page.words import axis_title, column_facts, main_columns, phase_facts
from llt_core.version import __version__

PAYLOAD_FORMAT = 1


def payload(
    table: CellTable,
    *,
    rule: PhaseRule | None = None,
    compare: CellTable | None = None,
    inferred: InferredMap | None = None,
    details: Details | None = None,
    probabilities: Floats | None = None,
    title: str = "",
) -> dict[str, Any]:
    """Return the document that a page is made of; see :func:`build_page` for the parameters.

    Numbers that are missing are None, infinite ones the words ``Infinity`` and ``-Infinity``:
    JSON has neither.
    """
    rule = rule or PhaseRule()
    claims = check_claims(table, classify(table, rule))  # of the table as it is, as llt phases does
    table, details = split_curves(_with_axis(table), details or Details())
    measured, marked = table, dict[int, int]()
    left_out = inferred is not None and not inferred.holds_for(rule)
    if left_out:
        inferred = None
    if inferred is not None:
        table, marked = joined(table, inferred)
        measured = table.select(~np.isin(np.arange(len(table)), list(marked)))
    said = findings(measured, classify(measured, rule))
    if left_out:
        said.append({"heading": "Inferred", "text": OTHER_RULE})
    if inferred is not None and marked:
        said.append({"heading": "Inferred", "text": summary(inferred, marked)})
    short = short_fields(axis.name for axis in table.axes)
    main = main_columns(list(table.columns))
    figures, names = _without_names(details.figures)
    target = next((name for name in TARGETS if name in table), None)
    return {
        "format": PAYLOAD_FORMAT,
        "llt": __version__,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "name": table.name,
        "title": title or table.name,
        "origin": table.origin,
        "measured": origin(table),
        "imported": imported(table),
        "rows": len(table),
        "axes": [_axis(axis, short[axis.name]) for axis in table.axes],
        "columns": [_column(c) | {"main": c.name in main} for c in table.columns.values()],
        "models": _same_or_all(table.models.tolist()),
        "target": target,
        "phases": list(PHASES),
        "phase_facts": phase_facts(),
        "probabilities": _probabilities(probabilities, len(table)),
        "connectivity": list(CONNECTIVITY),
        "findings": said,
        "claims": [
            {"verdict": c.verdict, "statement": c.statement, "evidence": c.evidence} for c in claims
        ],
        **_rule(table, rule),
        "inferred": _inferred(len(table), inferred, marked),
        "compare": None if compare is None else _compare(table, _with_axis(compare)),
        "about": [list(fact) for fact in details.about],
        "notes": list(details.notes),
        "figures": figures,
        "names": names,
        "provenance": _interned(details.provenance),
    }


def _with_axis(table: CellTable) -> CellTable:
    """Return the table; one without axes is given the number of the row as one."""
    if table.axes:
        return table
    return replace(table, axes=(Axis("row", tuple(range(1, len(table) + 1))),))


def _axis(axis: Axis, short: str) -> dict[str, Any]:
    levels = axis.levels
    places = {level: number for number, level in enumerate(levels)}
    numeric = bool(levels) and all(isinstance(_plain(level), int | float) for level in levels)
    return {
        "name": axis.name,
        "short": short,
        "title": axis_title(axis),
        "kind": axis.kind,
        "numeric": numeric,
        "log": axis.logarithmic,
        "levels": [_plain(level) for level in levels],
        "at": [-1 if value is None else places[value] for value in axis.values],
    }


def _column(column: Column) -> dict[str, Any]:
    errors = numbers(column.standard_errors)
    return {
        "name": column.name,
        **column_facts(column.name),
        "unit": column.unit,
        "values": numbers(column.values),
        "errors": errors if any(error is not None for error in errors) else None,
        "n": _same_or_all(column.n.tolist()),
        "reasons": _words(column.reasons),
    }


def _rule(table: CellTable, rule: PhaseRule) -> dict[str, Any]:
    """Return the thresholds, and what they are compared with.

    The logarithm travels too: another library's may differ in the last digit, and with it the
    phase of a cell that lies on a threshold.
    """
    facts, uses = facts_of(table)
    thresholds = [
        {
            "name": name,
            "description": field.description,
            "value": getattr(rule, name),
        }
        for name, field in PhaseRule.model_fields.items()
    ]
    log_trace = numbers(facts["log_trace"]) if "log_trace" in uses else None
    return {"thresholds": thresholds, "uses": uses, "log_trace": log_trace}


def _compare(table: CellTable, other: CellTable) -> dict[str, Any]:
    """Return what is needed of another table, in the order of this one's rows."""
    rows = match_rows(table, other)
    there = np.array([row >= 0 for row in rows], dtype=bool)
    order = np.array([max(row, 0) for row in rows], dtype=np.intp)
    columns = []
    for column in other.columns.values():
        picked = column.select(order)
        values = np.where(there, picked.values, np.nan)
        errors = np.where(there, picked.standard_errors, np.nan)
        reasons = tuple(
            reason if held else "not in this table"
            for reason, held in zip(picked.reasons, there, strict=True)
        )
        chosen = replace(picked, values=values, standard_errors=errors, reasons=reasons)
        columns.append(_column(chosen))
    facts, uses = facts_of(other)
    log_trace = np.where(there, facts["log_trace"][order], np.nan)
    return {
        "name": other.name,
        "origin": other.origin,
        "measured": origin(other),
        "imported": imported(other),
        "rows": len(other),
        "shared": int(there.sum()),
        "there": [int(held) for held in there],
        "models": _same_or_all(other.models.tolist()),
        "columns": columns,
        "uses": uses,
        "log_trace": numbers(log_trace) if "log_trace" in uses else None,
    }


def _inferred(
    rows: int, inferred: InferredMap | None, marked: dict[int, int]
) -> dict[str, Any] | None:
    if inferred is None:
        return None
    at = [marked.get(row, -1) for row in range(rows)]
    phases = [None if place < 0 else inferred.phases[place] for place in at]
    sure = [math.nan if place < 0 else float(inferred.confidence[place]) for place in at]
    return {
        "at": [int(place >= 0) for place in at],
        "codes": [-1 if phase is None else PHASES.index(phase) for phase in phases],
        "confidence": numbers(sure),
    }


def _probabilities(found: Floats | None, rows: int) -> list[list[float] | None] | None:
    """Return the probabilities of the rows, None for those of which nobody knows."""
    if found is None:
        return None
    known = [
        [round(value, 4) for value in row] if all(map(math.isfinite, row)) else None
        for row in found.tolist()
    ]
    return known + [None] * (rows - len(known))


def _interned(facts: Sequence[dict[str, str]]) -> dict[str, Any] | None:
    """Return facts of the rows with each text once: most are the same everywhere."""
    if not facts:
        return None
    labels = list(dict.fromkeys(label for row in facts for label in row))
    texts: dict[str, int] = {}
    rows = [
        [texts.setdefault(row[label], len(texts)) if label in row else -1 for label in labels]
        for row in facts
    ]
    return {"labels": labels, "texts": list(texts), "rows": rows}


def _without_names(
    figures: Sequence[Sequence[dict[str, Any]]],
) -> tuple[list[list[dict[str, Any]]], list[list[str]]]:
    """Return the figures with a number for the names of their bars, and the lists of names.

    The layers of a network are called the same in every cell.
    """
    known: dict[tuple[str, ...], int] = {}
    numbered = [
        [{**one, "names": known.setdefault(tuple(one["names"]), len(known))} for one in row]
        for row in figures
    ]
    return numbered, [list(names) for names in known]


def _words(texts: Sequence[str]) -> dict[str, Any] | None:
    """Return the texts with each once, and which is whose; None where all are empty."""
    if not any(texts):
        return None
    known: dict[str, int] = {}
    at = [known.setdefault(text, len(known)) for text in texts]
    return {"texts": list(known), "at": at}


def _same_or_all(values: list[int]) -> int | list[int]:
    return values[0] if values and len(set(values)) == 1 else values


def numbers(values: Iterable[float]) -> list[float | int | str | None]:
    """Return numbers as JSON can hold them; whole ones without a decimal point.

    >>> numbers([0.1, 2.0, float("nan"), float("-inf")])
    [0.1, 2, None, '-Infinity']
    """
    return [_number(float(value)) for value in values]


def _number(value: float) -> float | int | str | None:
    if math.isnan(value):
        return None
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    if value == 0:
        return value if math.copysign(1, value) < 0 else 0
    # 2**53: whole numbers beyond are not exact in a browser either way.
    return int(value) if value.is_integer() and abs(value) < 2**53 else value


def _plain(value: Any) -> Any:
    """Return a level as JSON has it: numbers stay numbers, anything else is its text."""
    if isinstance(value, bool | str):
        return str(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        number = float(value)
        return number if math.isfinite(number) else str(number)
    return str(value)
