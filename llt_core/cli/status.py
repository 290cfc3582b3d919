"""``llt status``: how far sweeps are."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import rich_click as click

from llt_core.cli.options import json_option, store_option
from llt_core.errors import LltError
from llt_core.locations import store_root
from llt_core.store import Store
from llt_core.store.sweeps import CellState, SweepRecord, last_failure, names, recall, state

MOST_FAILURES = 20


@click.command("status")
@click.argument("sweep", required=False)
@store_option
@json_option
def command(sweep: str | None, store: str | None, as_json: bool) -> int:
    """Say how far a sweep is, or list all sweeps that the store remembers.

    Cells are done, failed (and not done since), or waiting. What is running somewhere is
    waiting until it is finished.

    \b
    [bold]Examples:[/]
      llt status
      llt status quickstart
      llt status quickstart --json
    """
    opened = Store(store_root(store), create=False)
    if sweep is None:
        found = [_overview(name, opened) for name in names(opened)]
        if as_json:
            print(json.dumps(found, indent=1))
        else:
            _print_all(found, opened)
        return 0
    record = recall(opened, sweep)
    facts = _facts(record, opened) | {"failures": _failures(record, opened)}
    if as_json:
        print(json.dumps(facts, indent=1))
    else:
        _print_one(facts)
    return 0


def _overview(name: str, store: Store) -> dict[str, Any]:
    """Return the facts of one sweep; one whose file cannot be read does not hide the others."""
    try:
        return _facts(recall(store, name), store)
    except LltError as error:
        return {"sweep": name, "error": error.what, "file": error.where}


def _facts(sweep: SweepRecord, store: Store) -> dict[str, Any]:
    states = {digest: state(store, digest) for digest in (*sweep.models, *sweep.measures)}
    complete = sum(
        all(states[digest] == "done" for digest in point.measures or point.models)
        for point in sweep.points
    )
    return {
        "sweep": sweep.name,
        "title": sweep.title,
        "planned": sweep.planned,
        "fields": list(sweep.fields),
        "points": {"all": len(sweep.points), "complete": complete},
        "models": _counts(sweep.models, states),
        "measurements": _counts(sweep.measures, states),
    }


def _counts(digests: tuple[str, ...], states: dict[str, CellState]) -> dict[str, int]:
    return {"all": len(digests), **Counter(states[digest] for digest in digests)}


def _failures(sweep: SweepRecord, store: Store) -> list[dict[str, Any]]:
    found = []
    for digest in (*sweep.models, *sweep.measures):
        if state(store, digest) == "failed":
            failure = last_failure(store, digest)
            facts = {"kind": "", "message": "its record cannot be read", "attempts": 0, "cell": ""}
            if failure is not None:
                facts = {
                    "kind": failure.kind,
                    "message": failure.message,
                    "attempts": failure.attempt,
                    "cell": failure.cell.kind,
                }
            folder = str(store.root / "failures" / digest)
            found.append({"digest": digest, **facts, "folder": folder})
    return found


def _print_all(found: list[dict[str, Any]], store: Store) -> None:
    from rich.markup import escape

    from llt_core.cli.layout import fitted
    from llt_core.cli.tables import wide_console

    console = wide_console()
    if not found:
        console.print(f"no sweeps in {store.root}", soft_wrap=True)
        return
    columns = ("sweep", "points", "models", "measurements", "failed", "planned", "title")
    rows = [
        [
            escape(facts["sweep"]),
            f"{facts['points']['complete']}/{facts['points']['all']}",
            *(
                f"{facts[kind].get('done', 0)}/{facts[kind]['all']}"
                for kind in ("models", "measurements")
            ),
            str(sum(facts[kind].get("failed", 0) for kind in ("models", "measurements"))),
            facts["planned"],
            escape(facts["title"]),
        ]
        for facts in found
        if "error" not in facts
    ]
    if rows:
        table = fitted(console, columns, rows, spare=("title", "planned"), right=columns[1:5])
        console.print(table)
    for facts in found:
        if "error" in facts:
            text = f"[red]{escape(facts['sweep'])}[/]: cannot be read: {escape(facts['file'])}"
            console.print(text, highlight=False, soft_wrap=True)


def _print_one(facts: dict[str, Any]) -> None:
    from rich.markup import escape

    from llt_core.cli.layout import fitted
    from llt_core.cli.tables import wide_console

    console = wide_console()
    title = f": {escape(facts['title'])}" if facts["title"] else ""
    console.print(f"[bold]{escape(facts['sweep'])}[/]{title}", highlight=False)
    points = facts["points"]
    console.print(f"{points['complete']} of {points['all']} grid points are complete")
    columns = ("cells", "all", "done", "failed", "waiting")
    rows = [
        [kind, *(str(facts[kind].get(column, 0)) for column in columns[1:])]
        for kind in ("models", "measurements")
    ]
    console.print(fitted(console, columns, rows, right=columns[1:]))
    for failure in facts["failures"][:MOST_FAILURES]:
        lines = failure["message"].splitlines() or [""]
        name = f"{failure['digest'][:12]} ({failure['cell']}, attempt {failure['attempts']})"
        console.print(f"[red]{name}[/]: {escape(lines[0])}", highlight=False)
        console.print(f"  {failure['folder']}", style="dim", highlight=False, soft_wrap=True)
    if (more := len(facts["failures"]) - MOST_FAILURES) > 0:
        console.print(f"and {more} more: --json")
