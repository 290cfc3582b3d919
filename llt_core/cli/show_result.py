"""``llt show-result``: everything one cell holds."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import rich_click as click

from llt_core.cli.options import json_option, store_option
from llt_core.errors import RequestError
from llt_core.locations import store_root
from llt_core.report import Result, describe_array, find, label, load
from llt_core.store import Store

if TYPE_CHECKING:
    from rich.console import Console

    from llt_core.report.result import Array

WIDEST = 100


@click.command("show-result")
@click.argument("cell")
@store_option
@click.option("--array", metavar="NAME", help="Print this array as CSV instead, without a header")
@click.option(
    "--width",
    type=click.IntRange(min=40),
    metavar="N",
    help=f"Characters a line  [dim](default: the terminal's, at most {WIDEST})[/]",
)
@json_option
def command(
    cell: str, store: str | None, array: str | None, width: int | None, as_json: bool
) -> int:
    """Show one result: its numbers, where they come from, and its arrays drawn as text.

    CELL is a digest, its first four digits or more (llt results shows six), or a label such
    as "hessian_trace seed 0" or "train seed 0" where only one cell has it. Of a train cell
    the training history is shown.

    \b
    [bold]Examples:[/]
      llt show-result c98cb7
      llt show-result "train seed 0"
      llt show-result hessian_trace --array samples > samples.csv
      llt show-result c98cb7 --json
    """
    if array is not None and as_json:
        raise RequestError("--array prints CSV, so --json does not go with it")
    opened = Store(store_root(store), create=False)
    result = load(opened, find(opened, cell))
    if array is not None:
        _write_csv(result.array(array))
    elif as_json:
        print(json.dumps(_document(result), indent=1, allow_nan=False))
    else:
        from llt_core.cli.result_text import print_result

        print_result(result, _console(width))
    return 0


def _console(width: int | None) -> Console:
    from rich.console import Console

    console = Console(highlight=False)
    console.width = width or min(console.width, WIDEST)
    return console


def _write_csv(array: Array) -> None:
    """Write one line for each entry, of a matrix for each row; leading axes follow each other."""
    rows = array.reshape(-1, array.shape[-1] if array.ndim > 1 else 1)
    if array.dtype.kind == "b":
        rows = rows.astype(np.uint8)
    for row in rows:
        print(",".join(map(str, row)))  # the shortest text that reads back as the same number
    if array.ndim > 2:
        print(f"shape {array.shape}, flattened to {rows.shape}", file=sys.stderr)


def _document(result: Result) -> dict[str, Any]:
    return {
        "label": label(result.record),
        "folder": str(result.folder),
        "record": result.record.model_dump(mode="json"),
        "arrays": [describe_array(name, array) for name, array in result.arrays.items()],
    }
