"""``llt gc``: delete what nobody needs any more, and first say what that is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import rich_click as click

from llt_core.cli.options import json_option, store_option
from llt_core.locations import store_root
from llt_core.store import Store
from llt_core.store.garbage import DAY, MEANING, Collector, Item, delete

if TYPE_CHECKING:
    from pathlib import Path


@click.command("gc", context_settings={"show_default": True})
@click.option("--yes", is_flag=True, help="Delete it; without, only say what would go")
@click.option("--unnamed", is_flag=True, help="Finished cells that no sweep names go, too")
@click.option(
    "--forget",
    metavar="SWEEP",
    multiple=True,
    help="Forget the name of a sweep; --unnamed then frees its cells",
)
@click.option(
    "--older-than",
    type=click.FloatRange(min=0),
    default=1.0,
    metavar="DAYS",
    help="Only what nothing has touched for so long",
)
@store_option
@json_option
def command(
    yes: bool,
    unnamed: bool,
    forget: tuple[str, ...],
    older_than: float,
    store: str | None,
    as_json: bool,
) -> int:
    """Say what the store holds that nobody needs any more; with --yes, delete it.

    That is what dead processes left, the logs and failures of cells that are done since,
    checkpoints of trainings that are finished, and cells that could not be read. A finished
    cell goes only with --unnamed, and only if no sweep names it: the cells of llt run are such.
    What a sweep names, or somebody computes, stays.

    \b
    [bold]Examples:[/]
      llt gc
      llt gc --yes
      llt gc --unnamed --older-than 30
      llt gc --forget first --unnamed --yes
    """
    opened = Store(store_root(store), create=False)
    collector = Collector(
        opened, older_than * DAY, unnamed=unnamed, forget=tuple(dict.fromkeys(forget))
    )
    items = collector.find()
    left = delete(opened, items) if yes else []
    if as_json:
        print(json.dumps(_document(items, left, yes), indent=1))
    else:
        _print(items, left, yes, opened.root)
    return 1 if left else 0


def _document(items: list[Item], left: list[Item], yes: bool) -> dict[str, Any]:
    gone = [item for item in items if item not in left] if yes else []
    return {
        "deleted": yes,
        "bytes": sum(item.bytes for item in (gone if yes else items)),
        "items": [
            {"kind": item.kind, "path": str(item.path), "bytes": item.bytes} for item in items
        ],
        "left": [str(item.path) for item in left],
    }


def _print(items: list[Item], left: list[Item], yes: bool, root: Path) -> None:
    from llt_core.cli.durations import disk
    from llt_core.cli.layout import fitted
    from llt_core.cli.tables import wide_console

    console = wide_console()
    if not items:
        console.print(f"nothing to delete in {root}", soft_wrap=True, highlight=False)
        return
    rows = []
    for kind, meaning in MEANING.items():
        mine = [item for item in items if item.kind == kind]
        if mine:
            rows.append([kind, str(len(mine)), disk(sum(i.bytes for i in mine)), meaning])
    columns = ("what", "items", "size", "why")
    console.print(fitted(console, columns, rows, spare=("why",), right=columns[1:3]))
    total = disk(sum(item.bytes for item in items if item not in left))
    done = len(items) - len(left)
    if yes:
        console.print(f"{done} of {len(items)} deleted, {total}", highlight=False)
    else:
        console.print(f"{total} in {len(items)} items; --yes deletes them, --json lists them")
    for item in left[:10]:
        text = f"[red]cannot be deleted[/]: {item.path}"
        console.print(text, highlight=False, soft_wrap=True)
