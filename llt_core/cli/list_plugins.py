"""``llt list-plugins``: everything on offer, without importing any of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import rich_click as click

from llt_core.plugins import Catalogue, Entry
from llt_core.plugins.manifest import KINDS

if TYPE_CHECKING:
    from rich.table import Table


@click.command("list-plugins")
@click.option("--kind", type=click.Choice(KINDS), help="Only this kind")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "requirements"]),
    default="table",
    help="requirements: the pip lines that rebuild this plugin set elsewhere",
)
@click.option("-v", "--verbose", is_flag=True, help="Targets, versions, and whether each loads")
def command(kind: str | None, form: str, verbose: bool) -> int:
    """List every task, architecture, perturbation, metric, executor and tracker.

    Nothing is imported, so this is quick and no broken plugin can break it.

    \b
    [bold]Examples:[/]
      llt list-plugins --kind metric
      llt list-plugins -v
      llt list-plugins --format requirements > plugins.txt
    """
    catalogue = Catalogue.discover()
    if form == "requirements":
        for package in catalogue.packages:
            print(f"{package.name}=={package.version}")
        return 0
    loads = _loads() if verbose else {}
    entries = sorted(catalogue.entries, key=lambda entry: KINDS.index(entry.kind))
    rows = [
        _row(catalogue, entry, loads, verbose) for entry in entries if kind in (None, entry.kind)
    ]
    if form == "json":
        broken = [
            {"package": p.name, "version": p.version, "error": p.error} for p in catalogue.broken
        ]
        document: dict[str, Any] = {"plugins": rows, "broken": broken}
        if catalogue.settings_error is not None:
            document["settings_error"] = str(catalogue.settings_error)
        print(json.dumps(document, indent=1))
    else:
        _print_table(rows, catalogue, verbose, one_kind=kind is not None)
    return 0


def _loads() -> dict[str, str]:
    from llt_core.plugins.probe import probe

    loads: dict[str, str] = probe()["loads"]
    return loads


def _row(
    catalogue: Catalogue, entry: Entry, loads: dict[str, str], verbose: bool
) -> dict[str, Any]:
    row: dict[str, Any] = {
        "name": f"{entry.name}/NAME" if entry.member else entry.name,
        "kind": entry.kind,
        "package": entry.package,
        "state": catalogue.state(entry),
        "summary": entry.summary,
        "cost": entry.cost,
        "needs": dict(entry.needs),
        "paper": entry.paper,
        "since": entry.since,
        "version": entry.package_version,
        "target": entry.target,
    }
    if verbose:
        error = loads.get(entry.qualified)
        row["loads"] = "not tried" if error is None else error or "yes"
    return row


def _print_table(
    rows: list[dict[str, Any]], catalogue: Catalogue, verbose: bool, one_kind: bool
) -> None:
    from rich.console import Console
    from rich.markup import escape

    console = Console()
    console.print(_table(rows, verbose, one_kind))
    for text in _untold(rows) if verbose else ():
        console.print(f"[red]broken[/] {escape(text)}", soft_wrap=True)
    for package in catalogue.broken:
        text = f"{package.name} {package.version}: {package.error.splitlines()[0]}"
        console.print(f"[red]broken[/] {escape(text)}", soft_wrap=True)
    if catalogue.settings_error is not None:
        console.print(f"[red]llt.toml[/] {escape(str(catalogue.settings_error))}", soft_wrap=True)
    if any(row["state"] == "clash" for row in rows):
        console.print(
            r"[yellow]clash[/]: write package/name, or settle it in llt.toml: "
            r'\[prefer] name = "package"',
            soft_wrap=True,
        )


def _table(rows: list[dict[str, Any]], verbose: bool, one_kind: bool) -> Table:
    from rich.markup import escape

    from llt_core.cli.layout import edgeless

    columns = ["name", "kind", "package", "summary"]
    if verbose:
        columns = ["name", "kind", "package", "version", "target", "loads"]
    elif one_kind:
        columns.remove("kind")
    table = edgeless(*columns)
    for column in table.columns[: columns.index("package")]:
        column.no_wrap = True
    table.columns[-1 if not verbose else -2].overflow = "fold"
    for row in rows:
        style = "" if row["state"] == "ok" else "yellow"
        loads = {"loads": row["loads"] if _tells_all(row) else "no"} if verbose else {}
        cells = [escape(str((row | loads).get(column, ""))) for column in columns]
        if row["state"] != "ok":
            cells[0] += escape(f" [{row['state']}]")
        table.add_row(*cells, style=style)
    return table


def _untold(rows: list[dict[str, Any]]) -> list[str]:
    from llt_core.plugins.probe import together

    return together(
        {f"{row['package']}/{row['name']}": row["loads"] for row in rows if not _tells_all(row)}
    )


def _tells_all(row: dict[str, Any]) -> bool:
    """Whether the load state fits into the table; an error goes below it."""
    return row["loads"] in ("yes", "not tried")
