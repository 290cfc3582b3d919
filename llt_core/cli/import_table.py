"""``llt import table``: any flat table, kept in the store under a name."""

from __future__ import annotations

import hashlib
import json
import shlex
from pathlib import Path

import rich_click as click

from llt_core.cli.options import json_option, replace_option, store_option
from llt_core.locations import store_root
from llt_core.store import Store


@click.command("table")
@click.argument("file", metavar="FILE")
@click.option(
    "--map",
    "assignments",
    multiple=True,
    metavar="COLUMN=NAME[:WORD]",
    help="What a column is: FIELD:load, FIELD:temperature, QUANTITY:log, …; - leaves it out",
)
@click.option(
    "--name", "table_name", metavar="NAME", help="Keep it by this name  [dim](default: FILE)[/]"
)
@replace_option
@store_option
@json_option
def command(
    file: str,
    assignments: tuple[str, ...],
    table_name: str | None,
    force: bool,
    store: str | None,
    as_json: bool,
) -> int:
    """Keep a table in the store: one row a cell, or one a measurement as llt export writes it.

    Headings such as width, batch_size, test_acc, train_loss_mean, log_trace or mc_train_err are
    known; --map says what others are. A varied field is FIELD:load, FIELD:temperature or
    FIELD:axis, by its name in sweep files. A quantity is called as llt list-plugins does; log,
    log10, fraction, percent or tenths undo what was done to its numbers, std and standard_error
    are errors of it. Other columns of numbers keep their names. Commas, semicolons or tabs stand
    between the columns of a text file.

    \b
    [bold]Examples:[/]
      llt import table results.csv
      llt import table results.csv --map k=architecture.width:load
      llt import table results.csv --map acc=test_accuracy:fraction
    """
    from llt_core.analysis import classify
    from llt_core.analysis.headings import parse_mapping
    from llt_core.store.kept import keep_table, table_file_name, table_names
    from llt_core.store.tables import as_rows, read_table

    path = Path(file)
    table = read_table(path, parse_mapping(assignments))
    opened = Store(store_root(store))
    called = table_file_name(table_name, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    kinds = {axis.name: axis.kind for axis in table.axes}
    origin = f"imported from {path.name} (SHA-256 {digest[:16]})"
    replaced = called in table_names(opened)
    kept = keep_table(opened, called, as_rows(table), kinds=kinds, origin=origin, force=force)
    left = classify(table).counts["undetermined"]
    if as_json:
        facts = {
            "name": called,
            "file": str(kept),
            "origin": origin,
            "cells": len(table),
            "axes": {axis.name: list(axis.levels) for axis in table.axes},
            "quantities": list(table.columns),
            "undetermined": left,
            "replaced": replaced,
        }
        print(json.dumps(facts, indent=1))
        return 0
    axes = ", ".join(f"{axis.name} ({len(axis.levels)})" for axis in table.axes)
    print(f"{called}: {len(table)} cells over {axes}")
    print(f"quantities: {', '.join(table.columns)}")
    if left:
        print(f"{left} cells lack what tells their phase")
    if replaced:
        print(f"in place of what was kept as {called}")
    print(f"next: llt phases {called}{f' --store {shlex.quote(store)}' if store else ''}")
    return 0
