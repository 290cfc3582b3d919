"""``llt logs``: what workers had to say about a cell, and why it failed."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import rich_click as click

from llt_core.cli.options import json_option, store_option
from llt_core.errors import RequestError
from llt_core.locations import store_root
from llt_core.report import find_digest
from llt_core.spec import TrainCell
from llt_core.spec.naming import work_name
from llt_core.store import Failure, Store
from llt_core.store.logs import last_lines, log_file, read_log
from llt_core.store.states import running
from llt_core.store.sweeps import failures, recall

LOOK_EVERY = 0.5
"""Seconds between two looks at a log that is followed."""


@click.command("logs")
@click.argument("cell", required=False)
@click.option("--follow", "-f", is_flag=True, help="Go on as the log grows, until the cell ends")
@click.option("--tail", type=click.IntRange(min=0), metavar="N", help="The last N lines only")
@click.option("--sweep", metavar="NAME", help="List the cells of a sweep that have a log instead")
@click.option("--failed", is_flag=True, help="With --sweep: those that failed, and are not done")
@store_option
@json_option
def command(
    cell: str | None,
    follow: bool,
    tail: int | None,
    sweep: str | None,
    failed: bool,
    store: str | None,
    as_json: bool,
) -> int:
    """Show what the workers said about a cell, and every attempt at it that failed.

    CELL is a digest, or its first four digits or more; llt status and llt results show them.
    The log ends with the recorded failures: kind, message and traceback.

    \b
    [bold]Examples:[/]
      llt logs c98cb7
      llt logs c98cb7 --follow
      llt logs c98cb7 --tail 20
      llt logs --sweep quickstart --failed
    """
    if (cell is None) == (sweep is None):
        raise RequestError(
            "llt logs shows one cell, or lists those of a sweep",
            expected="CELL, or --sweep NAME",
            next_step="llt logs --sweep NAME --failed",
        )
    if failed and sweep is None:
        raise RequestError("--failed goes with --sweep", next_step="llt logs --sweep NAME --failed")
    if follow and (as_json or sweep is not None):
        other = "--json" if as_json else "--sweep"
        raise RequestError(f"--follow and {other} do not go together", next_step="leave one out")
    opened = Store(store_root(store), create=False)
    if sweep is not None:
        return _list(opened, sweep, failed, as_json)
    assert cell is not None
    digest = find_digest(opened, cell)
    if as_json:
        document = {
            "digest": digest,
            "done": digest in opened,
            "log": read_log(opened, digest, tail),
            "failures": [f.model_dump(mode="json") for f in failures(opened, digest)],
        }
        print(json.dumps(document, indent=1))
        return 0
    _show(opened, digest, tail, follow)
    return 0


def _show(store: Store, digest: str, tail: int | None, follow: bool) -> None:
    whole = read_log(store, digest)
    place = len(whole.encode("utf-8"))
    text = last_lines(whole, tail)
    sys.stdout.write(text)
    if text and not text.endswith("\n"):
        sys.stdout.write("\n")
    sys.stdout.flush()
    if follow:
        try:
            _follow(store, digest, place)
        except KeyboardInterrupt:
            return
    found = failures(store, digest)
    for failure in found:
        print(_told(failure))
    if not text and not found and not follow:
        state = "done" if digest in store else "not done"
        print(f"nothing is recorded of {digest}; it is {state}", file=sys.stderr)


def _follow(store: Store, digest: str, place: int) -> None:
    """Print what is added to a log until nobody computes the cell any more."""
    path = log_file(store, digest)
    while True:
        going = digest in running(store)  # before reading: what was said last is not missed
        size = _size(path)
        if size < place:  # begun anew
            place = 0
        if size > place:
            with path.open("rb") as file:
                file.seek(place)
                added = file.read()
            place += len(added)
            sys.stdout.write(added.decode("utf-8", errors="replace"))
            sys.stdout.flush()
        if not going:
            return
        time.sleep(LOOK_EVERY)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _told(failure: Failure) -> str:
    head = f"attempt {failure.attempt} failed ({failure.kind}) at {failure.time}: {failure.message}"
    return "\n".join([head, failure.traceback.rstrip()] if failure.traceback else [head])


def _list(store: Store, name: str, failed: bool, as_json: bool) -> int:
    sweep = recall(store, name)
    logged = {path.stem for path in (store.root / "logs").glob("[!.]*.log")}
    tried = {path.name for path in (store.root / "failures").glob("[!.]*")}
    cells = [
        digest
        for digest in (*sweep.models, *sweep.measures)
        if (digest in tried and digest not in store if failed else digest in tried | logged)
    ]
    rows = [_row(store, digest) for digest in cells]
    if as_json:
        print(json.dumps(rows, indent=1))
    elif rows:
        _print_rows(rows)
    else:
        print(f"no cell of {name} {'has failed' if failed else 'has a log'}")
    return 0


def _row(store: Store, digest: str) -> dict[str, Any]:
    found = failures(store, digest)
    last = found[-1] if found else None
    return {
        "digest": digest,
        "cell": _called(last) if last else "",
        "done": digest in store,
        "attempts": len(found),
        "kind": last.kind if last else "",
        "message": last.message if last else "",
        "log_bytes": _size(log_file(store, digest)),
    }


def _called(failure: Failure) -> str:
    cell = failure.cell
    return f"train seed {cell.seed}" if isinstance(cell, TrainCell) else work_name(cell)


def _print_rows(rows: list[dict[str, Any]]) -> None:
    from rich.markup import escape

    from llt_core.cli.layout import fitted
    from llt_core.cli.tables import wide_console

    console = wide_console()
    columns = ("cell", "what", "state", "failed", "why", "log")
    table = [
        [
            row["digest"][:12],
            escape(row["cell"]),
            "done" if row["done"] else "not done",
            str(row["attempts"]),
            escape(f"{row['kind']}: {(row['message'].splitlines() or [''])[0]}")
            if row["attempts"]
            else "",
            f"{row['log_bytes']} bytes",
        ]
        for row in rows
    ]
    console.print(fitted(console, columns, table, spare=("log", "what"), right=("failed", "log")))
