"""``llt results``: what the store holds."""

from __future__ import annotations

import json
from typing import Any

import rich_click as click

from llt_core.cli.options import all_option, json_option, store_option
from llt_core.locations import store_root
from llt_core.store import Store
from llt_core.store.export import rows
from llt_core.store.index import records

COLUMNS = ("data", "network", "differs in", "metric", "value ± s.e.", "unit", "n", "seed", "cell")


@click.command("results")
@store_option
@click.option("--task", metavar="NAME", help="Only this task")
@click.option("--metric", metavar="NAME", help="Only this metric")
@all_option
@json_option
def command(
    store: str | None, task: str | None, metric: str | None, every: bool, as_json: bool
) -> int:
    """List the measurements in the store, oldest first.

    llt export has every field of them; here stand those in which the lines differ.

    \b
    [bold]Examples:[/]
      llt results
      llt results --task digits --metric hessian_trace --json
    """
    root = store_root(store)
    table = [
        row
        for row in rows(records(Store(root, create=False)))
        if _matches(row["task"], task) and _matches(row["metric"], metric)
    ]
    table.sort(key=lambda row: (row["finished"], row["digest"]))
    if as_json:
        print(json.dumps(table, indent=1))
    else:
        _print(table, str(root), every)
    return 0


def _matches(qualified: str, wanted: str | None) -> bool:
    return wanted is None or wanted in (qualified, qualified.rpartition("/")[2])


def _print(table: list[dict[str, Any]], root: str, every: bool) -> None:
    from rich.markup import escape
    from rich.table import Table

    from llt_core.cli.tables import format_value, hint, wide_console

    console = wide_console()
    if not table:
        console.print(f"no measurements in {root}", soft_wrap=True)
        return
    varied = _varied(table)
    drawn = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for name in COLUMNS:
        drawn.add_column(name, no_wrap=name not in ("differs in", "metric"), overflow="fold")
    shown = table if every else list({row["digest"]: row for row in reversed(table)}.values())[::-1]
    for row in shown:
        settings = (f"{_last(key)}={row[key]}" for key in varied if row.get(key) is not None)
        cells = (
            _data(row),
            _last(row["architecture"], "/"),
            ", ".join(settings),
            row["name"] + ("" if row["status"] == "ok" else f" ({row['status']})"),
            format_value(row["value"], row["standard_error"]),
            row["unit"],
            str(row["n"]),
            row["seeds"],
            row["digest"][:6],
        )
        drawn.add_row(*(escape(cell) for cell in cells))
    if not varied:
        drawn.columns.pop(2)
    console.print(drawn)
    if len(shown) < len(table):
        console.print(hint(len(table) - len(shown)), style="dim", highlight=False)
    if not all(row["data_verified"] for row in table):
        console.print("[yellow]*[/] files not verified: they may not be the published ones")
    console.print(f"{len(table)} measurement(s) in {root}", style="dim", soft_wrap=True)


def _data(row: dict[str, Any]) -> str:
    """Name the task and its perturbations; a star marks files that were not verified."""
    task: str = _last(row["task"], "/")
    star = "" if row["data_verified"] else "*"
    perturbations = [_last(name, "/") for name in row["perturbations"].split("+") if name]
    return "+".join((task + star, *perturbations))


def _varied(table: list[dict[str, Any]]) -> list[str]:
    """Return the fields in which the rows differ beyond task, architecture, metric and seed.

    A parameter of a metric is compared among the rows of that metric alone.
    """
    found: dict[str, set[tuple[str, str]]] = {}
    for row in table:
        for key, value in row.items():
            group = row["metric"] if key.startswith("metric.") else ""
            if "." in key and value is not None:
                found.setdefault(key, set()).add((group, str(value)))
    return [
        key
        for key, values in found.items()
        if len(values) > len({group for group, _ in values}) or _sometimes(table, key)
    ]


def _sometimes(table: list[dict[str, Any]], key: str) -> bool:
    """Whether only some rows have a parameter of the task, the model or a perturbation."""
    return not key.startswith("metric.") and any(row.get(key) is None for row in table)


def _last(name: str, mark: str = ".") -> str:
    """Return the part of a dotted or qualified name after the last mark."""
    return name.rpartition(mark)[2]
