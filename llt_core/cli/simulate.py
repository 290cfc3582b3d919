"""``llt simulate``: how few cells of a complete table tell the phases of all."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

import rich_click as click

from llt_core.cli.counting import counting
from llt_core.cli.options import json_option, quiet_option, store_if_there, store_option
from llt_core.cli.rules import rule_options

if TYPE_CHECKING:
    from llt_core.analysis import PhaseRule
    from llt_core.analysis.design import Design
    from llt_core.analysis.simulate import Simulation


@click.command("simulate", context_settings={"show_default": True})
@click.argument("table", metavar="TABLE")
@click.option(
    "--budget",
    "budgets",
    type=float,
    multiple=True,
    metavar="SHARE",
    default=(0.2, 0.3, 0.4),
    help="Share of the cells that may be measured; may repeat",
)
@click.option("--starts", type=int, default=20, metavar="N", help="Random starts of each design")
@click.option(
    "--designs",
    metavar="A,B",
    default="adaptive,random,space_filling",
    help="Which to replay",
)
@click.option("--seed", type=int, default=0, metavar="N", help="Of the first start")
@click.option(
    "--round",
    "batch",
    type=int,
    metavar="N",
    help="Cells that adaptive chooses at a time  [dim](default: 2 % of them)[/]",
)
@rule_options
@click.option("--jobs", type=int, default=1, metavar="N", help="Processes to work with")
@store_option
@json_option
@quiet_option
def command(
    table: str,
    budgets: tuple[float, ...],
    starts: int,
    designs: str,
    seed: int,
    batch: int | None,
    rule: PhaseRule | None,
    jobs: int,
    store: str | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Replay llt sweep --adaptive on a table whose cells are all measured.

    Of all cells, how many carry the right phase when only a share of them is measured? Measured
    cells count as right; the phase of the others is the likeliest one under the same Gaussian
    processes, whether the measured cells were chosen where the phase is least sure (adaptive),
    at random, or evenly (space_filling). TABLE is a sweep or an imported table in the store, or
    a .csv or .parquet file.

    \b
    [bold]Examples:[/]
      llt simulate quickstart
      llt simulate cells.csv --budget 0.3 --starts 5 --designs adaptive,random
      llt simulate cells.csv --rule cka=0.6 --jobs 2 --json
    """
    from llt_core.analysis.simulate import simulate
    from llt_core.store.tables import open_table

    with counting("cells read", quiet=quiet) as told:
        opened = open_table(table, store_if_there(store), told)
    with counting("cells replayed", quiet=quiet) as told:
        found = simulate(
            opened,
            budgets=budgets,
            # Names that are no design are refused there.
            designs=cast("list[Design]", [name.strip() for name in designs.split(",")]),
            starts=starts,
            seed=seed,
            batch=batch,
            rule=rule,
            jobs=jobs,
            progress=told,
        )
    if as_json:
        print(json.dumps(_document(found), indent=1, allow_nan=False))
    else:
        _print(found)
    return 0


def _document(found: Simulation) -> dict[str, Any]:
    return {
        "table": found.table,
        "origin": found.origin,
        "cells": found.cells,
        "left_out": found.left_out,
        "rule": found.rule.model_dump(),
        "starts": found.starts,
        "seed": found.seed,
        "budgets": list(found.budgets),
        "measured": list(found.measured),
        "designs": {
            outcome.design: {
                "mean": outcome.means.tolist(),
                "standard_error": [
                    None if error != error else error for error in outcome.standard_errors.tolist()
                ],
                "expected": outcome.expected.mean(axis=0).tolist(),
                "shares": outcome.shares.tolist(),
            }
            for outcome in found.outcomes
        },
    }


def _print(found: Simulation) -> None:
    from rich.table import Table

    from llt_core.cli.tables import wide_console

    console = wide_console()
    console.print(
        f"{found.table} ({found.origin}): {found.cells} cells with a phase, "
        f"{found.starts} random starts from seed {found.seed}",
        highlight=False,
        soft_wrap=True,
    )
    if found.left_out:
        console.print(
            f"{found.left_out} cells are undetermined and left out: llt phases says why",
            highlight=False,
            soft_wrap=True,
        )
    grid = Table(box=None, pad_edge=False, header_style="bold")
    grid.add_column("measured cells")
    for outcome in found.outcomes:
        grid.add_column(outcome.design, justify="right")
    for place, (budget, cells) in enumerate(zip(found.budgets, found.measured, strict=True)):
        means = [
            f"{_percent(outcome.means[place], outcome.standard_errors[place])} "
            f"[dim]({100 * outcome.expected[:, place].mean():.1f})[/]"
            for outcome in found.outcomes
        ]
        grid.add_row(f"{cells} ({100 * budget:g} %)", *means)
    console.print(grid)
    console.print(
        "% of all cells with the right phase, measured ones counted: mean ± standard error "
        "(what was expected)",
        style="dim",
        highlight=False,
        soft_wrap=True,
    )


def _percent(mean: float, error: float) -> str:
    return f"{100 * mean:.2f}" + ("" if error != error else f" ± {100 * error:.2f}")
