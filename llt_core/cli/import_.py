"""``llt import``: published results, as a table in the store."""

from __future__ import annotations

import json
import shlex
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from llt_core.cli.import_table import command as table
from llt_core.cli.options import json_option, quiet_option, replace_option, store_option
from llt_core.errors import RequestError
from llt_core.fields import short_fields
from llt_core.locations import store_root

if TYPE_CHECKING:
    from llt_core.analysis.reference import Imported

MOST_PROBLEMS = 20


@click.group("import")
def command() -> None:
    """Bring published results into the store, as a table that is analysed like a sweep.

    An imported table keeps its origin: whatever is said or drawn of it names where the numbers
    come from. A table of other content keeps its name, unless --force replaces it.

    \b
    [bold]Examples:[/]
      llt import reference results.tar.gz
      llt import table results.csv --map k=architecture.width:load
      llt import list
    """


@command.command("reference")
@click.argument("path", metavar="PATH")
@click.option(
    "--name",
    "table_name",
    metavar="NAME",
    help="Keep it by this name  [dim](default: after PATH)[/]",
)
@click.option("-o", "--output", metavar="FILE", help="Write the rows as well: .csv or .parquet")
@replace_option
@store_option
@json_option
@quiet_option
def reference(
    path: str,
    table_name: str | None,
    output: str | None,
    force: bool,
    store: str | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Import results in the layout of Yang et al. (2021): a .tar.gz or .tar file, or a folder.

    Folder names give the axes and the way of training, files the metrics, for each model and
    pair by itself. Missing files and numbers that are none become rows with a status and are
    listed at the end. Nothing is unpacked and no code of an archive runs: pickles are read as
    plain numbers, and whatever asks for more is refused by its name.

    \b
    [bold]Examples:[/]
      llt import reference results.tar.gz
      llt import reference results.tar.gz --name published -o published.parquet
      llt import reference checkpoint/ --name ours --json
    """
    from llt_core.analysis.reference import read_reference
    from llt_core.cli.counting import counting
    from llt_core.store import Store
    from llt_core.store.export import form_of, to_pandas, write_table
    from llt_core.store.kept import keep_table, table_file_name, table_names

    source = Path(path).expanduser()
    called = table_file_name(table_name, source)
    form = form_of(Path(output)) if output else None
    with counting("files read", quiet=quiet) as progress:
        imported = read_reference(source, progress=progress)
    opened = Store(store_root(store))
    replaced = called in table_names(opened)
    file = keep_table(
        opened, called, imported.rows, kinds=imported.kinds, origin=imported.origin, force=force
    )
    if output and form:
        write_table(to_pandas(imported.rows), Path(output), form)
    if as_json:
        document = {"name": called, "file": str(file), "output": output, **_facts(imported)}
        print(json.dumps(document, indent=1))
        return 0
    _print(imported)
    where = f" --store {shlex.quote(store)}" if store else ""
    lines = [f"kept as {called}{', in place of what was kept by that name' * replaced}"]
    lines += [f"{len(imported.rows)} rows written to {output}"] if output else []
    print("\n".join([*lines, f"next: llt phases {called}{where}"]))
    return 0


@command.command("list")
@store_option
@json_option
def list_tables(store: str | None, as_json: bool) -> int:
    """List the tables that were imported into the store.

    \b
    [bold]Examples:[/]
      llt import list
      llt import list --json
    """
    from llt_core.store import Store
    from llt_core.store.kept import table_names
    from llt_core.store.tables import open_table

    opened = Store(store_root(store), create=False)
    tables, damaged = [], {}
    for name in table_names(opened):
        try:
            tables.append(open_table(name, opened))
        except RequestError as error:
            damaged[name] = str(error)
    if as_json:
        facts: list[dict[str, Any]] = [
            {"name": t.name, "cells": len(t), "axes": [a.name for a in t.axes], "origin": t.origin}
            for t in tables
        ]
        facts += [{"name": name, "error": told} for name, told in damaged.items()]
        print(json.dumps(facts, indent=1))
        return 0
    for told in damaged.values():
        print(told, file=sys.stderr)
    if not tables:
        print(f"no{' other' * bool(damaged)} table was imported into {opened.root}")
        return 0
    from rich.markup import escape

    from llt_core.cli.layout import fitted
    from llt_core.cli.tables import wide_console

    console = wide_console()
    rows = [
        [escape(t.name), str(len(t)), ", ".join(t.short.values()), escape(t.origin)] for t in tables
    ]
    columns = ("name", "cells", "axes", "origin")
    console.print(fitted(console, columns, rows, spare=("axes",), right=("cells",)))
    return 0


def _facts(imported: Imported) -> dict[str, Any]:
    found: dict[str, Counter[str]] = {}
    for row in imported.rows:
        found.setdefault(row["name"], Counter())[row["status"]] += 1
    return {
        "origin": imported.origin,
        "cells": len(imported.cells),
        "rows": len(imported.rows),
        "axes": _levels(imported),
        "quantities": {name: dict(counts) for name, counts in found.items()},
        "problems": [problem._asdict() for problem in imported.problems],
    }


def _levels(imported: Imported) -> dict[str, list[Any]]:
    return {name: sorted({row[name] for row in imported.rows}) for name in imported.kinds}


def _print(imported: Imported) -> None:
    """Say what there is, one line a metric, and then what is not."""
    from rich.markup import escape

    from llt_core.cli.layout import fitted
    from llt_core.cli.tables import wide_console

    console = wide_console()
    short = short_fields(imported.kinds)
    axes = [
        f"{short[name]} {values[0]} to {values[-1]} ({len(values)} values)"
        for name, values in _levels(imported).items()
    ]
    head = f"{len(imported.cells)} cells, {imported.origin}: {', '.join(axes)}"
    console.print(escape(head), highlight=False, soft_wrap=True)
    statuses = ("ok", "missing", "not_finite")
    counts: dict[str, Counter[str]] = {}
    names: dict[str, set[str]] = {}
    for row in imported.rows:
        counts.setdefault(row["metric"], Counter())[row["status"]] += 1
        names.setdefault(row["metric"], set()).add(row["name"])
    columns = ("metric", "quantities", "numbers", "missing", "not finite")
    rows = [
        [metric, str(len(names[metric])), *(str(count[status] or "–") for status in statuses)]
        for metric, count in counts.items()
    ]
    console.print(fitted(console, columns, rows, right=columns[1:]))
    for problem in imported.problems[:MOST_PROBLEMS]:
        parts = ": ".join(part for part in problem if part)
        console.print(f"[yellow]not there[/]: {escape(parts)}", highlight=False, soft_wrap=True)
    if len(imported.problems) > MOST_PROBLEMS:
        console.print(f"… and {len(imported.problems) - MOST_PROBLEMS} more; --json lists all")


command.add_command(table)
