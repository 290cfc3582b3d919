"""``llt results``: what the store holds."""

from __future__ import annotations

import json
from typing import Any

import rich_click as click

from llt_core.cli.options import json_option, store_option
from llt_core.locations import store_root
from llt_core.store import Store
from llt_core.store.export import rows
from llt_core.store.index import records


@click.command("results")
@store_option
@click.option("--task", metavar="NAME", help="Only this task")
@click.option("--metric", metavar="NAME", help="Only this metric")
@json_option
def command(store: str | None, task: str | None, metric: str | None, as_json: bool) -> int:
    """List the measurements in the store, oldest first.

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
        _print(table, str(root))
    return 0


def _matches(qualified: str, wanted: str | None) -> bool:
    return wanted is None or wanted in (qualified, qualified.rpartition("/")[2])


def _print(table: list[dict[str, Any]], root: str) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from llt_core.cli.tables import format_value

    console = Console()
    if not table:
        console.print(f"no measurements in {root}", soft_wrap=True)
        return
    drawn = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for name in ("data", "architecture", "metric", "value ± std. error", "unit", "n", "seed"):
        drawn.add_column(name, no_wrap=name not in ("data", "architecture"), overflow="fold")
    drawn.add_column("cell", no_wrap=True)
    for row in table:
        cells = (
            _data(row),
            _architecture(row),
            row["name"] + ("" if row["status"] == "ok" else f" ({row['status']})"),
            format_value(row["value"], row["standard_error"]),
            row["unit"],
            str(row["n"]),
            row["seeds"],
            row["digest"][:8],
        )
        drawn.add_row(*(escape(cell) for cell in cells))
    console.print(drawn)
    if not all(row["data_verified"] for row in table):
        console.print("[yellow]*[/] files not verified: they may not be the published ones")
    console.print(f"{len(table)} measurement(s) in {root}", style="dim", soft_wrap=True)


def _data(row: dict[str, Any]) -> str:
    """Name the task and its perturbations; a star marks files that were not verified."""
    task: str = row["task"].rpartition("/")[2]
    star = "" if row["data_verified"] else "*"
    perturbations = [name.rpartition("/")[2] for name in row["perturbations"].split("+") if name]
    return "+".join((task + star, *perturbations))


def _architecture(row: dict[str, Any]) -> str:
    """Write ``resnet18(8)``: the values alone where there is one parameter, to save room."""
    prefix = "architecture."
    found = {key[len(prefix) :]: value for key, value in row.items() if key.startswith(prefix)}
    named = [f"{key}={value}" for key, value in found.items()]
    inside = ", ".join(named if len(found) > 1 else map(str, found.values()))
    short: str = row["architecture"].rpartition("/")[2]
    return f"{short}({inside})" if inside else short
