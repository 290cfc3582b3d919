"""``llt report``: a sweep or a table as one interactive page."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from llt_core.cli.counting import counting
from llt_core.cli.options import (
    check_free,
    json_option,
    quiet_option,
    store_if_there,
    store_option,
)
from llt_core.cli.rules import rule_options

if TYPE_CHECKING:
    from llt_core.analysis import CellTable, PhaseRule
    from llt_core.report.page import Details
    from llt_core.store import Store
    from llt_core.store.sweeps import SweepRecord

MANY_ROWS = 2000
"""From so many rows on, building takes long enough to say so."""


@click.command("report")
@click.argument("table")
@click.option("--compare", metavar="OTHER", help="Subtract this sweep or table, cell by cell")
@rule_options
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    help="Where to write  [dim](default: NAME-report.html here)[/]",
)
@click.option("--force", is_flag=True, help="Replace the file if it is there")
@store_option
@json_option
@quiet_option
def command(
    table: str,
    compare: str | None,
    rule: PhaseRule | None,
    output: str | None,
    force: bool,
    store: str | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Write a page on which the cells of a sweep or a table can be explored.

    TABLE is the name of a sweep or of an imported table in the store, or the path of a CSV or
    Parquet file. The page is one file: it opens from disk and asks the network for nothing.
    On it are the maps of the plane, a scatter of any metric against any other, every cell with
    its curves, spectra and histories, sliders for the thresholds between phases, and a table
    with search and download.

    Of an adaptive sweep the phases of cells that were not measured are shown too, marked.
    With --compare the page also shows TABLE less OTHER on the cells that both have.

    \b
    [bold]Examples:[/]
      llt report quickstart
      llt report quickstart -o report.html --force
      llt report lr_decay.csv --compare constant_lr.csv -o gain.html
      llt report lr_decay.csv --rule cka=0.6
    """
    from llt_core.analysis import PhaseRule
    from llt_core.analysis.confidence import phase_probabilities
    from llt_core.report.naming import safe_stem
    from llt_core.report.page import InferredMap, build_page
    from llt_core.store.maps import recall_map
    from llt_core.store.output import written_whole
    from llt_core.store.tables import open_table

    opened = store_if_there(store)
    with counting("cells read", quiet=quiet) as told:
        cells = open_table(table, opened, told)
    other = None if compare is None else open_table(compare, opened)
    path = Path(output or f"{safe_stem(cells.name)}-report.html")
    check_free(path, force)
    sweep = _sweep(opened, cells)
    details = None if opened is None or sweep is None else _details(opened, sweep, cells, quiet)
    if len(cells) >= MANY_ROWS and not quiet:
        print(f"building the page of {len(cells)} cells", file=sys.stderr, flush=True)
    found = None if opened is None or sweep is None else recall_map(opened, sweep.name)
    if rule is None:
        rule = PhaseRule() if found is None else PhaseRule.model_validate(found.rule)
    page = build_page(
        cells,
        rule=rule,
        probabilities=phase_probabilities(cells, rule),
        compare=other,
        inferred=None if found is None else InferredMap.of(found, cells),
        details=details,
        title=sweep.title if sweep is not None else "",
    )
    with written_whole(path, "page") as file:
        file.write_text(page, encoding="utf-8")
    if as_json:
        _print_facts(cells, path, other, rule)
    elif not quiet:
        print(f"written to {path}", file=sys.stderr)
    return 0


def _sweep(store: Store | None, table: CellTable) -> SweepRecord | None:
    """Return the sweep whose cells the table is made of, if it is one."""
    from llt_core.store.sweeps import names, recall

    if store is None or not table.origin.startswith("llt") or table.name not in names(store):
        return None
    return recall(store, table.name)


def _details(store: Store, sweep: SweepRecord, table: CellTable, quiet: bool) -> Details:
    """Read curves, spectra and histories, and say how far that is."""
    from llt_core.report.page import details_of

    with counting("cells read", quiet=quiet) as told:
        return details_of(store, sweep, table, progress=told)


def _print_facts(table: CellTable, path: Path, other: CellTable | None, rule: PhaseRule) -> None:
    from llt_core.analysis import classify

    facts = {
        "file": str(path),
        "bytes": path.stat().st_size,
        "table": table.name,
        "origin": table.origin,
        "cells": len(table),
        "phases": classify(table, rule).counts,
        "compared_with": None if other is None else other.name,
    }
    print(json.dumps(facts, indent=1))
