"""``llt results``: what the store holds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import rich_click as click

from llt_core.cli.counting import counting
from llt_core.cli.options import all_option, json_option, store_option, sweep_option
from llt_core.errors import RequestError
from llt_core.fields import short_fields
from llt_core.locations import store_root
from llt_core.store import Store
from llt_core.store.export import flat
from llt_core.store.index import measured_cells
from llt_core.store.kept import named_rows, table_names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

    from llt_core.kinds import Kind

UNSAID = dict.fromkeys(
    ("task", "architecture", "perturbations", "metric", "unit", "n", "seeds", "digest"), ""
) | {"value": None, "standard_error": None, "data_verified": True}
"""What stands for columns that an imported table lacks."""
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
    a sweep come by grid point, its varied fields as columns; those of an imported table alike,
    by its name alone.

    \b
    [bold]Examples:[/]
      llt results
      llt results --task digits --metric hessian_trace --json
      llt results --sweep quickstart --metric test_accuracy
    """
    root = store_root(store)
    opened = Store(root, create=False)
    fields: tuple[str, ...] = ()
    with counting("cells read") as told:
        if sweep is None:
            held = flat(measured_cells(opened, progress=told))
        else:
            fields, held = named_rows(opened, sweep, told)
    table = [
        row
        for row in held
        if _matches(row.get("task"), task)
        and (_matches(row.get("metric"), metric) or row["name"] == metric)
    ]
    if held and not table:
        _check_names(flat(measured_cells(opened)) + held, {"task": task, "metric": metric})
    if sweep is None:
        table = _in_order(table)
    if as_json:
        print(json.dumps(table, indent=1))
    elif not table:
        _print_nothing(opened, sweep, bool(held))
    elif sweep is not None:
        _print_sweep(table, fields, str(root), every)
    else:
        _print(table, str(root), every)
    return 0


def _matches(qualified: str | None, wanted: str | None) -> bool:
    return wanted is None or wanted in (qualified, _last(qualified or "", "/"))


def _check_names(held: list[dict[str, Any]], asked: Mapping[Kind, str | None]) -> None:
    """Refuse a task or metric that neither a measurement nor a plugin is called after."""
    from difflib import get_close_matches

    from llt_core.plugins import Catalogue
    from llt_core.plugins.errors import UnknownPluginError

    catalogue = Catalogue.discover()
    for kind, wanted in asked.items():
        known = {_last(row.get(kind) or "", "/") for row in held} - {""}
        known |= {row["name"] for row in held if kind == "metric"}
        if wanted is None or any(_matches(name, wanted) for name in known):
            continue
        try:
            catalogue.resolve(kind, wanted)  # a plugin: not measured yet
        except UnknownPluginError as error:
            near = get_close_matches(wanted, sorted(known), n=3)
            raise RequestError(
                f"no measurement is of a {kind} called {wanted!r}",
                where=f"--{kind} {wanted}",
                expected=f"did you mean {' or '.join(near)}?"
                if near
                else f"one of {', '.join(sorted(known)) or 'none: the table names no ' + kind}",
                next_step="llt results",
            ) from error


def _print_nothing(store: Store, sweep: str | None, others: bool) -> None:
    print(f"no {'such ' * others}measurements in {sweep or store.root}")
    if sweep is None and (imported := table_names(store)):
        print(f"imported: {', '.join(imported)} (--sweep NAME)")


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
    table = [UNSAID | {k: v for k, v in row.items() if v is not None} for row in table]
    firsts = {_group(row, fields): row for row in reversed(table)}
    shown = table if every else list(firsts.values())[::-1]
    short = short_fields(fields)
    columns = (*short.values(), *COLUMNS[3:-2], "seeds", "cell")  # the seed itself may vary
    lines = []
    for row in shown:
        varied = (str(row.get(field, "–")) for field in fields)
        lines.append([escape(text) for text in (*varied, *_cells(row, [])[3:])])
    kept = [place for place in range(len(columns)) if any(line[place] for line in lines)]
    columns, lines = tuple(columns[p] for p in kept), [[line[p] for p in kept] for line in lines]
    console.print(fitted(console, columns, lines, spare=("n",), right=tuple(short.values())))
    if len(shown) < len(table):
        console.print(hint(len(table) - len(shown)), style="dim", highlight=False)
    _print_end(console, table, root)


def _group(row: dict[str, Any], fields: tuple[str, ...]) -> tuple[Any, ...]:
    """Return what the quantities share that one cell measured, or one imported metric is of."""
    digest: str = row["digest"]
    if digest:
        return (digest,)
    return *(row.get(field) for field in fields), row["seeds"], row["metric"] or row["name"]


def _print_end(console: Console, table: list[dict[str, Any]], root: str) -> None:
    from rich.markup import escape

    if not all(row["data_verified"] for row in table):
        console.print("[yellow]*[/] files not verified: they may not be the published ones")
    for origin in dict.fromkeys(row["origin"] for row in table if row.get("origin")):
        console.print(f"[yellow]{escape(origin)}[/]", highlight=False, soft_wrap=True)
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
        str(row["n"] or ""),
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
