"""The tables that commands print, and numbers written with the digits they deserve."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape

from llt_core.cli.durations import disk, duration
from llt_core.cli.layout import edgeless, fitted
from llt_core.interfaces import Measurement
from llt_core.locations import store_root
from llt_core.spec import MeasureCell
from llt_core.spec.naming import counted, settings, short_name
from llt_core.store import Record

if TYPE_CHECKING:
    from llt_core.execution import RunResult
    from llt_core.sweep.estimate import Estimate
    from llt_core.sweep.preview import Preview

COLUMNS = ("metric", "value ± std. error", "unit", "n", "seed", "cell", "sec", "from")
_UNCUT = 160
"""Characters a line of a table may take where nobody's terminal is too narrow."""


def terms_of(measurement: Measurement) -> str:
    """Return how many of what a number averages; a dash where nothing says.

    >>> terms_of(Measurement(name="x", value=1.0, n=300))
    '300 samples'
    >>> terms_of(Measurement(name="x", value=1.0))
    '–'
    """
    return f"{measurement.n} {measurement.counted}" if measurement.n else "–"


def format_value(value: float | None, error: float | None) -> str:
    """Write ``value ± error``, the error with two digits and the value to match.

    >>> format_value(1234.5678, 12.3)
    '1235 ± 12'
    >>> format_value(97.5, 0.0)
    '97.5'
    >>> format_value(None, None)
    '–'
    """
    if value is None:
        return "–"
    if not error:
        return f"{value:.5g}"
    places = max(0, 1 - math.floor(math.log10(error)))
    if places > 9 or abs(value) >= 1e7:
        return f"{value:.5g} ± {error:.2g}"
    return f"{value:.{places}f} ± {error:.{places}f}"


def describe(composition: dict[str, Any]) -> str:
    """Write a composition in one line: every parameter of its parts, changed or not."""
    parts = [composition["task"], composition["architecture"], *composition["perturbations"]]
    texts = [_call(part) for part in parts]
    return " · ".join([*texts, _training(composition["train"])])


def _training(train: dict[str, Any]) -> str:
    """Write the main settings of a recipe, and those that are rarely set where they are."""
    unit = " tokens" if train["batch_unit"] == "tokens" else ""
    scaled = f" x {train['batch_size']}/128" if train["lr_scaling"] else ""
    rare = {
        "gradient_clip": "clip {:g}",
        "sam_radius": "SAM radius {:g}",
        "max_steps": "at most {} steps",
        "stop_at_loss": "down to a loss of {:g}",
    }
    return ", ".join(
        [
            f"{train['optimizer']} lr {train['learning_rate']:g}{scaled} {train['schedule']}",
            f"batch {train['batch_size']}{unit}",
            counted(train["epochs"], "epoch"),
            f"wd {train['weight_decay']:g}",
            *(text.format(train[key]) for key, text in rare.items() if train[key]),
        ]
    )


def wide_console() -> Console:
    """Return a console that cuts nothing off where the output is a file or a pipe."""
    console = Console()
    return console if console.is_terminal else Console(width=max(console.width, _UNCUT))


def print_run(result: RunResult, every: bool = False) -> None:
    """Print the measurements of a run, what failed, and where the data came from.

    Of each metric the first quantity is shown, or ``every`` one.
    """
    console = wide_console()
    measured = [r for r in result.results if r.record is not None and r.record.measurements]
    trained = [r for r in result.results if r.planned.cell.kind == "train" and r.record is not None]
    rows = measured or trained
    if rows:
        console.print(describe(rows[0].planned.composition), markup=False, soft_wrap=True)
        hidden, cells = 0, []
        for row in rows:
            assert row.record is not None
            lines = _lines(row.record)
            hidden += 0 if every else len(lines) - 1
            for line in lines if every else lines[:1]:
                tail = (row.planned.digest[:6], _seconds(row.record.seconds), row.origin)
                cells.append((*line, *tail))
        console.print(
            fitted(
                console,
                COLUMNS,
                cells,
                spare=("sec", "n"),
                right=("sec", "n"),
                whole=COLUMNS[1:],
            )
        )
        if hidden:
            console.print(hint(hidden), style="dim", highlight=False)
    print_notes(console, result)


def hint(hidden: int) -> str:
    """Say how to see the quantities a table left out."""
    return f"{hidden} more numbers: --all, or llt show-result CELL"


def _lines(record: Record) -> list[tuple[str, ...]]:
    seeds = "+".join(map(str, record.composition["seeds"]))
    if not record.measurements:
        loss = record.history[-1].train_loss if record.history else None
        epochs = counted(len(record.history), "epoch")
        return [("last training loss", format_value(loss, None), "nats", epochs, seeds)]
    changed = settings(record.cell.metric) if isinstance(record.cell, MeasureCell) else ""
    return [
        (
            escape(m.name + changed) + ("" if m.status == "ok" else f" [yellow]({m.status})[/]"),
            format_value(m.value, m.standard_error),
            m.unit,
            terms_of(m),
            seeds,
        )
        for m in record.measurements
    ]


def print_notes(console: Console, result: RunResult, most: int | None = None) -> None:
    """Print what failed, what is doubtful, and where the data are.

    Of ``most`` failures none is told that follows from another one.
    """
    lost = [cell for cell in result.failed if most is None or cell.origin != "blocked"]
    for failed in lost[:most]:
        label = failed.planned.label
        if failed.record is not None:
            reason = f"diverged: the loss was not finite in epoch {len(failed.record.history)}"
        else:
            reason = failed.message
        console.print(f"[red]{escape(label)}[/]: {escape(reason)}", highlight=False)
        if failed.failure_file is not None:
            if "\n  next: " not in reason:
                _print_next(console, failed.planned.digest, result.store)
            console.print(f"  recorded in {failed.failure_file}", style="dim", soft_wrap=True)
    if most is not None and len(lost) > most:
        console.print(f"[red]and {len(lost) - most} more[/]: llt status", highlight=False)
    limited = [m for r in result.records for m in r.measurements if m.status == "limit"]
    if limited:
        names = ", ".join(sorted({m.name for m in limited}))
        console.print(f"[yellow]limit[/]: {names} stopped before reaching its tolerance")
    for name, reason in _undefined(result.records):
        console.print(f"[yellow]undefined[/]: {name}: {escape(reason)}", highlight=False)
    for package, hook, message in result.observer_errors:
        console.print(f"[yellow]observer {package}.{hook} failed[/]: {escape(message)}")
    for text in sorted({_data_note(record) for record in result.records}):
        console.print(text, style="dim", soft_wrap=True, highlight=False)
    console.print(f"store: {result.store}", style="dim", soft_wrap=True, highlight=False)


def _print_next(console: Console, digest: str, store: Path) -> None:
    other = "" if store == store_root() else f" --store {store}"
    console.print(f"  next: llt logs {digest[:6]}{other}", highlight=False, soft_wrap=True)


def _undefined(records: Iterable[Record]) -> list[tuple[str, str]]:
    """Return, once each, which quantities do not exist and why."""
    found = {
        (m.name, str(m.details.get("reason") or "see llt show-result"))
        for record in records
        for m in record.measurements
        if m.status == "undefined"
    }
    return sorted(found)


def _data_note(record: Record) -> str:
    data = record.provenance["data"]
    verified = "published files" if data["verified"] else "[yellow]files NOT verified[/]"
    sizes = ", ".join(f"{count} {name}" for name, count in data["sizes"].items())
    short = data["fingerprint"][:19]
    return f"data: {short_name(record.composition['task']['name'])}, {verified} ({short}…), {sizes}"


def run_document(result: RunResult) -> dict[str, Any]:
    """Return everything a run produced as one JSON document."""
    return {
        "store": str(result.store),
        "cells": cell_documents(result),
        "measurements": result.to_rows(),
        "observer_errors": [
            {"package": package, "hook": hook, "message": message}
            for package, hook, message in result.observer_errors
        ],
    }


def cell_documents(result: RunResult, records: bool = True) -> list[dict[str, Any]]:
    """Return what became of each cell, with its whole record if ``records``."""
    found = []
    for r in result.results:
        cell: dict[str, Any] = {
            "digest": r.planned.digest,
            "kind": r.planned.cell.kind,
            "origin": r.origin,
            "message": r.message,
        }
        if records:
            cell["record"] = None if r.record is None else r.record.model_dump(mode="json")
        found.append(cell)
    return found


def print_plan(ahead: Preview, store: Path) -> None:
    """Print the cells of a plan, which are cached or blocked, and what the rest will cost."""
    console, plan, todo = Console(), ahead.plan, ahead.todo
    console.print(describe(plan.cells[0].composition), markup=False, soft_wrap=True)
    table = edgeless("cell", "digest", "state")
    for planned in plan.cells:
        state = "to do" if planned.digest in todo else "cached"
        if planned.digest in ahead.blocked:
            state = "blocked: a model diverged"
        table.add_row(planned.label, planned.digest[:12], state)
    console.print(table)
    if not todo:
        console.print("everything is in the store: nothing to do")
    else:
        console.print(f"{len(todo)} of {len(plan.cells)} cells to do: {cost_text(ahead.cost)}")
    console.print(f"store: {store}", style="dim", soft_wrap=True)


def cost_text(cost: Estimate, at_once: int = 1, how: str = "") -> str:
    """Write what an estimate knows, and how much it does not.

    ``at_once`` jobs share the time, which ``how`` says.
    """
    parts = [f"about {duration(cost.seconds / at_once)}{how}"] if cost.seconds else []
    if cost.unknown:
        parts.append(f"{cost.unknown} unlike any finished one, so their time is unknown")
    if cost.checkpoint_bytes:
        parts.append(f"{disk(cost.checkpoint_bytes)} of checkpoints")
    if cost.unsized:
        parts.append(f"{cost.unsized} checkpoints of unknown size (--sizes tells)")
    return "; ".join(parts)


def _seconds(seconds: float) -> str:
    return f"{seconds:.0f}" if seconds >= 100 else f"{seconds:.1f}"


def _call(part: dict[str, Any]) -> str:
    inside = ", ".join(f"{key}={value}" for key, value in part["parameters"].items())
    return f"{short_name(part['name'])}({inside})" if inside else short_name(part["name"])
