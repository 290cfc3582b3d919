"""``llt status``: how far sweeps are."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import rich_click as click

from llt_core.cli.options import json_option, store_option
from llt_core.locations import store_root
from llt_core.store import Store


@click.command("status", context_settings={"show_default": True})
@click.argument("sweep", required=False)
@click.option("--watch", is_flag=True, help="Look again and again until all is done, or Ctrl-C")
@click.option(
    "--every",
    type=click.FloatRange(min=0.1),
    default=2.0,
    metavar="SECONDS",
    help="With --watch: time between two looks",
)
@store_option
@json_option
def command(sweep: str | None, watch: bool, every: float, store: str | None, as_json: bool) -> int:
    """Say how far a sweep is, or list all sweeps of the store and who is at work on it.

    Cells are done, failed (and not done since), running, or waiting. A model may have diverged:
    that is its result. Measurements of such a model are blocked for good; those of a model that
    failed are blocked until it is trained. A grid point is complete when nothing is left to do.

    Where the output is no terminal, --watch prints one line a change.

    \b
    [bold]Examples:[/]
      llt status
      llt status quickstart
      llt status quickstart --watch
      llt status quickstart --json
    """
    from llt_core.sweep.standing import Standing

    opened = Store(store_root(store), create=False)
    standing = Standing(opened)

    def look() -> dict[str, Any]:
        standing.look()
        return standing.everything() if sweep is None else standing.sweep(sweep)

    if watch:
        return _watch(look, every, as_json)
    facts = look()
    if as_json:
        print(json.dumps(facts, indent=1))
    else:
        from llt_core.cli.status_text import drawn
        from llt_core.cli.tables import wide_console

        console = wide_console()
        console.print(drawn(facts, console, str(opened.root)), soft_wrap=False)
    return 0


def _watch(look: Callable[[], dict[str, Any]], every: float, as_json: bool) -> int:
    """Look until nothing runs and nothing waits; the terminal is left as it was last drawn."""
    try:
        if sys.stdout.isatty() and not as_json:
            _redraw(look, every)
        else:
            _tell_changes(look, every, as_json)
    except KeyboardInterrupt:
        pass
    return 0


def _redraw(look: Callable[[], dict[str, Any]], every: float) -> None:
    from rich.console import Console
    from rich.live import Live

    from llt_core.cli.status_text import drawn
    from llt_core.sweep.standing import going_on

    console = Console()
    facts = look()
    with Live(console=console, auto_refresh=False) as live:
        while True:
            live.update(drawn(facts, console, lines=console.height - 1), refresh=True)
            if not going_on(facts):
                return
            time.sleep(every)
            facts = look()


def _tell_changes(look: Callable[[], dict[str, Any]], every: float, as_json: bool) -> None:
    from llt_core.cli.status_text import told
    from llt_core.sweep.standing import going_on

    before = ""
    while True:
        facts = look()
        text = told(facts)
        if text != before:
            before = text
            print(
                json.dumps(facts) if as_json else f"{time.strftime('%H:%M:%S')} {text}", flush=True
            )
        if not going_on(facts):
            return
        time.sleep(every)
