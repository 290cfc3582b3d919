"""The tables of ``llt sweep``: what will be done, and one row a grid point of what came out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from llt_core.cli.durations import duration
from llt_core.cli.layout import fitted
from llt_core.cli.tables import (
    cell_documents,
    cost_text,
    format_value,
    print_notes,
    wide_console,
)
from llt_core.fields import short_fields
from llt_core.spec import SweepSpec
from llt_core.spec.naming import counted
from llt_core.sweep.estimate import Estimate
from llt_core.sweep.preview import Preview, Share

if TYPE_CHECKING:
    from llt_core.execution import SweepResult
    from llt_core.sweep.summary import Mean

MOST_FAILURES = 10
"""Failed cells told one by one."""


def print_sweep(result: SweepResult, every: bool = False) -> None:
    """Print one row a grid point: the varied fields, and mean ± standard error over models."""
    console = wide_console()
    points = result.points(every=every)
    names = list(dict.fromkeys(name for _, means in points for name in means))
    short = short_fields(result.sweep.fields)
    units = {n: f" ({m.unit})" for _, means in points for n, m in means.items() if m.unit}
    headings = [*short.values(), *(n + units.get(n, "") for n in names)]
    lines = [
        [
            *(escape(_text(values[field])) for field in short),
            *(_mean(means.get(name)) for name in names),
        ]
        for values, means in points
    ]
    if names:
        console.print(fitted(console, headings, lines, right=tuple(short.values())))
        several = any(len(point.models) > 1 for point in result.sweep.points)
        footer = "mean ± standard error over models (jackknife)"
        console.print(footer if several else "one model a point", style="dim", highlight=False)
    print_notes(console, result, most=MOST_FAILURES)
    counts = Counter(
        "diverged" if cell.record is not None and cell.record.status == "diverged" else cell.origin
        for cell in result.results
    )
    told = ", ".join(f"{count} {origin}" for origin, count in counts.items())
    console.print(f"{counted(len(points), 'grid point')}, {len(result.results)} cells: {told}")
    if result.sweep.name:
        console.print(
            f"every number: llt export --sweep {result.sweep.name} -o {result.sweep.name}.csv",
            style="dim",
            highlight=False,
            soft_wrap=True,
        )


def sweep_document(result: SweepResult) -> dict[str, Any]:
    """Return everything a sweep produced as one JSON document."""
    return {
        "sweep": result.sweep.name,
        "store": str(result.store),
        "fields": list(result.sweep.fields),
        "points": [
            {"values": values, "means": {name: vars(mean) for name, mean in means.items()}}
            for values, means in result.points(every=True)
        ],
        "cells": cell_documents(result, records=False),
        "measurements": result.to_rows(),
        "observer_errors": [list(error) for error in result.observer_errors],
    }


def print_preview(spec: SweepSpec, ahead: Preview, store: Path, at_once: int | None = None) -> None:
    """Print what a sweep comes to: cells by kind and by value of each axis, time and disk.

    ``at_once`` jobs run side by side, if that is known.
    """
    console = wide_console()
    console.print(_title(spec), highlight=False, soft_wrap=True)
    plan = ahead.plan
    console.print(
        f"{counted(len(plan.points), 'grid point')}, {counted(len(plan.trains), 'model')}, "
        f"{counted(len(plan.measures), 'measurement')}"
    )
    states = ("all", "in the store", *["blocked"] * bool(ahead.blocked), "to do")
    rows = [[name, *_share(share, states)] for name, share in ahead.by_kind().items()]
    console.print()
    console.print(fitted(console, ("cells", *states, "time"), rows, right=states))
    for field, values in ahead.by_axis().items():
        kind = f" ({spec.kinds[field]})" if field in spec.kinds else ""
        console.print()
        columns = (f"{field}{kind}", *states, "time")
        rows = [[escape(_text(value)), *_share(share, states)] for value, share in values]
        console.print(fitted(console, columns, rows, right=columns))
    console.print()
    if ahead.todo:
        console.print(
            f"{len(ahead.todo)} of {len(plan.cells)} cells to do: {_cost(ahead.cost, at_once)}"
        )
    elif ahead.blocked:
        console.print("everything that can be measured is in the store: nothing to do")
    else:
        console.print("everything is in the store: nothing to do")
    if ahead.blocked:
        console.print(f"{len(ahead.blocked)} are blocked for good: a model they read diverged")
    console.print(f"store: {store}", style="dim", soft_wrap=True, highlight=False)


def preview_document(spec: SweepSpec, ahead: Preview, at_once: int | None = None) -> dict[str, Any]:
    """Return the same as one JSON document."""

    def share(found: Share) -> dict[str, Any]:
        counts = {"cells": found.cells, "todo": found.todo, "blocked": found.blocked}
        return {**counts, "cost": vars(found.cost)}

    return {
        "sweep": spec.name,
        "points": [dict(point.values) for point in ahead.plan.points],
        "cells": len(ahead.plan.cells),
        "todo": len(ahead.todo),
        "blocked": len(ahead.blocked),
        "at_once": at_once,
        "cost": vars(ahead.cost),
        "kinds": {name: share(found) for name, found in ahead.by_kind().items()},
        "axes": {
            field: [{"value": value, **share(found)} for value, found in values]
            for field, values in ahead.by_axis().items()
        },
    }


def _title(spec: SweepSpec) -> str:
    name = f"[bold]{escape(spec.name)}[/]" if spec.name else "sweep"
    return f"{name}: {escape(spec.title)}" if spec.title else name


def _share(share: Share, states: Sequence[str]) -> list[str]:
    counts = {
        "all": share.cells,
        "in the store": share.done,
        "blocked": share.blocked,
        "to do": share.todo,
    }
    return [*(str(counts[name]) for name in states), _time(share.cost, share.todo)]


def _time(cost: Estimate, todo: int) -> str:
    if not todo:
        return "–"
    if cost.unknown == todo:
        return "unknown"
    more = f" + {cost.unknown} unknown" if cost.unknown else ""
    return duration(cost.seconds) + more


def _cost(cost: Estimate, at_once: int | None) -> str:
    if at_once is not None and at_once > 1:
        return cost_text(cost, at_once, f", {at_once} at once")
    return cost_text(cost, how=" one after the other")


def _mean(mean: Mean | None) -> str:
    if mean is None:
        return "–"
    text = format_value(mean.value, mean.standard_error)
    return text if mean.n == mean.of else f"{text} [yellow]({mean.n} of {mean.of})[/]"


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
