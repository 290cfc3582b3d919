"""``llt results``: what the store holds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import rich_click as click

from llt_core.cli.counting import counting
from llt_core.cli.options import all_option, json_option, store_option, sweep_option
from llt_core.fields import short_fields
from llt_core.locations import store_root
from llt_core.store import Store
from llt_core.store.export import flat
from llt_core.store.index import measured_cells
from llt_core.store.sweeps import recall, sweep_cells

if TYPE_CHECKING:
    from rich.console import Console

COLUMNS = ("data", "network", "differs in", "metric", "value ± s.e.", "n", "seed", "cell")


@click.command("results")
@sweep_option
@store_option
@click.option("--task", metavar="NAME", help="Only this task")
@click.option("--metric", metavar="NAME", help="Only this metric, or this quantity")
@all_option
@json_option
def command(
    sweep: str | None,
    store: str | None,
    task: str | None,
    metric: str | None,
    every: bool,
    as_json: bool,
) -> int:
    """List the measurements in the store, those of one composition together, oldest first.

    llt export has every field of them; here stand those in which the lines differ. Those of
    a sweep come by grid point, its varied fields as columns.

    \b
    [bold]Examples:[/]
      llt results
      llt results --task digits --metric hessian_trace --json
      llt results --sweep quickstart --metric test_accuracy
    """
    root = store_root(store)
    opened = Store(root, create=False)
    asked = None if sweep is None else recall(opened, sweep)
    with counting("cells read") as told:
        cells = measured_cells(opened, None if asked is None else set(asked.measures), told)
    found = [cell for cell in cells if _matches(cell.fields["task"], task)]
    table = [
        row
        for row in flat(found if asked is None else sweep_cells(asked, found))
        if _matches(row["metric"], metric) or row["name"] == metric
    ]
    if asked is None:
        table = _in_order(table)
    if as_json:
        print(json.dumps(table, indent=1))
    elif asked is not None:
        _print_sweep(table, asked.fields, str(root), every)
    else:
        _print(table, str(root), every)
    return 0


def _matches(qualified: str, wanted: str | None) -> bool:
    return wanted is None or wanted in (qualified, qualified.rpartition("/")[2])


def _in_order(table: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Sort by composition, metric and seeds; compositions and metrics by their first result."""
    first: dict[tuple[str, ...], tuple[str, str]] = {}
    for row in table:
        for group in _groups(row):
            here = (row["finished"], row["metric"])
            first[group] = min(first.get(group, here), here)

    def place(row: dict[str, Any]) -> list[Any]:
        return [*([first[group], group] for group in _groups(row)), row["seeds"], row["digest"]]

    return sorted(table, key=place)


def _groups(row: dict[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what the rows of one composition share, and those of one metric of it."""
    shared = {key: value for key, value in row.items() if "." in key}
    shared |= {key: row[key] for key in ("task", "architecture", "perturbations")}
    composition = [f"{k}={v}" for k, v in sorted(shared.items()) if not k.startswith("metric.")]
    metric = [f"{k}={v}" for k, v in sorted(shared.items()) if k.startswith("metric.")]
    return tuple(composition), (*composition, row["metric"], *metric)


def _print(table: list[dict[str, Any]], root: str, every: bool) -> None:
    from rich.markup import escape

    from llt_core.cli.layout import fitted
    from llt_core.cli.tables import hint, wide_console

    console = wide_console()
    if not table:
        console.print(f"no measurements in {root}", soft_wrap=True)
        return
    varied = _varied(table)
    shown = table if every else list({row["digest"]: row for row in reversed(table)}.values())[::-1]
    lines = [[escape(cell) for cell in _cells(row, varied)] for row in shown]
    hidden = set() if varied else {"differs in"}
    for name in ("data", "network"):  # what is the same in all lines is said once
        place = COLUMNS.index(name)
        if len({line[place] for line in lines}) == 1:
            console.print(f"{name}: {lines[0][place]}", style="dim", highlight=False)
            hidden.add(name)
    kept = [place for place, name in enumerate(COLUMNS) if name not in hidden]
    columns = [COLUMNS[place] for place in kept]
    lines = [[line[place] for place in kept] for line in lines]
    if console.is_terminal:
        lines = _without_repeats(lines, columns.index("metric"))
    whole = [name for name in columns if name not in ("differs in", "metric")]
    console.print(fitted(console, columns, lines, spare=("n",), whole=whole))
    if len(shown) < len(table):
        console.print(hint(len(table) - len(shown)), style="dim", highlight=False)
    _print_end(console, table, root)


def _print_sweep(
    table: list[dict[str, Any]], fields: tuple[str, ...], root: str, every: bool
) -> None:
    from rich.markup import escape

    from llt_core.cli.layout import fitted
    from llt_core.cli.tables import hint, wide_console

    console = wide_console()
    shown = table if every else list({row["digest"]: row for row in reversed(table)}.values())[::-1]
    short = short_fields(fields)
    columns = (*short.values(), *COLUMNS[3:-2], "seeds", "cell")  # the seed itself may vary
    lines = []
    for row in shown:
        varied = ("–" if row[field] is None else f"{row[field]}" for field in fields)
        lines.append([escape(text) for text in (*varied, *_cells(row, [])[3:])])
    console.print(fitted(console, columns, lines, spare=("n",), right=tuple(short.values())))
    if len(shown) < len(table):
        console.print(hint(len(table) - len(shown)), style="dim", highlight=False)
    _print_end(console, table, root)


def _print_end(console: Console, table: list[dict[str, Any]], root: str) -> None:
    if not all(row["data_verified"] for row in table):
        console.print("[yellow]*[/] files not verified: they may not be the published ones")
    console.print(f"{len(table)} measurement(s) in {root}", style="dim", soft_wrap=True)


def _cells(row: dict[str, Any], varied: list[str]) -> tuple[str, ...]:
    """Return what stands in one line, a text for each of :data:`COLUMNS`."""
    from llt_core.cli.tables import format_value

    settings = (f"{_last(key)}={row[key]}" for key in varied if row.get(key) is not None)
    return (
        _data(row),
        _last(row["architecture"], "/"),
        ", ".join(settings),
        row["name"] + ("" if row["status"] == "ok" else f" ({row['status']})"),
        f"{format_value(row['value'], row['standard_error'])} {row['unit']}".rstrip(),
        str(row["n"]),
        row["seeds"],
        row["digest"][:6],
    )


def _without_repeats(lines: list[list[str]], count: int) -> list[list[str]]:
    """Leave the first ``count`` cells of a line empty where they say what the line above says."""
    before = [None, *lines[:-1]]
    return [
        [*[""] * count, *line[count:]] if above and above[:count] == line[:count] else line
        for above, line in zip(before, lines, strict=True)
    ]


def _data(row: dict[str, Any]) -> str:
    """Name the task and its perturbations; a star marks files that were not verified."""
    task: str = _last(row["task"], "/")
    star = "" if row["data_verified"] else "*"
    perturbations = [_last(name, "/") for name in row["perturbations"].split("+") if name]
    return "+".join((task + star, *perturbations))


def _varied(table: list[dict[str, Any]]) -> list[str]:
    """Return the fields in which the rows differ beyond task, architecture, metric and seed.

    A parameter of a metric is compared among the rows of that metric alone.
    """
    found: dict[str, set[tuple[str, str]]] = {}
    for row in table:
        for key, value in row.items():
            group = row["metric"] if key.startswith("metric.") else ""
            if "." in key and value is not None:
                found.setdefault(key, set()).add((group, str(value)))
    return [
        key
        for key, values in found.items()
        if len(values) > len({group for group, _ in values}) or _sometimes(table, key)
    ]


def _sometimes(table: list[dict[str, Any]], key: str) -> bool:
    """Whether only some rows have a parameter of the task, the model or a perturbation."""
    return not key.startswith("metric.") and any(row.get(key) is None for row in table)


def _last(name: str, mark: str = ".") -> str:
    """Return the part of a dotted or qualified name after the last mark."""
    return name.rpartition(mark)[2]
