"""``llt plot``: one result, or the cells of a table, as a picture."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from llt_core.cli.counting import counting
from llt_core.cli.options import check_free, quiet_option, store_if_there, store_option
from llt_core.cli.rules import rule_options
from llt_core.errors import LltError, RequestError
from llt_core.locations import store_root
from llt_core.store import Store

if TYPE_CHECKING:
    from llt_core.report.captions import Source
    from llt_core.report.choose import Wish

VIEWS = ("panel", "metric", "phases", "scatter", "gain", "curves", "spectra", "histories")
"""Options that say what to draw of a table; a gain may have a metric too."""
OF_TABLES = (*VIEWS, "x", "y", "condition", "against", "rule")

click.rich_click.OPTION_GROUPS["*plot"] = [
    {
        "name": "What to draw of a sweep or table",
        "options": ["--sweep", *(f"--{view}" for view in VIEWS)],
    },
    {"name": "How", "options": ["--x", "--y", "--against", "--where", "--rule", "--relative-cka"]},
    {"name": "Options", "options": ["--output", "--force", "--store", "--quiet", "--help"]},
]


@click.command("plot")
@click.argument("result", required=False)
@click.option("--sweep", metavar="NAME|FILE", help="Draw a sweep, an imported table or a CSV file")
@click.option(
    "--panel",
    type=click.Choice(["figure2"]),
    help="Seven quantities and the phases, as in figure 2 of the paper  [dim](default)[/]",
)
@click.option("--metric", metavar="NAME", help="One quantity over two axes")
@click.option("--phases", is_flag=True, help="The phases over two axes, with boundaries")
@click.option("--scatter", metavar="NAME", help="A quantity against the accuracy, by phase")
@click.option("--gain", metavar="OTHER", help="--metric minus that of another sweep or table")
@click.option("--curves", is_flag=True, help="Error along the paths between models")
@click.option("--spectra", is_flag=True, help="Spectral densities of the Hessian")
@click.option("--histories", is_flag=True, help="Training losses by epoch")
@click.option("--x", metavar="AXIS", help="Axis across  [dim](default: the load)[/]")
@click.option("--y", metavar="AXIS", help="Axis upwards  [dim](default: the temperature)[/]")
@click.option(
    "--against", metavar="NAME", help="What a scatter draws upwards  [dim](test_accuracy)[/]"
)
@click.option("--where", "condition", metavar="TEXT", help="Only cells for which this is true")
@rule_options
@store_option
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    help="Where to write; the ending says how: .png, .pdf or .svg  "
    "[dim](default: a name that says what it is, .png)[/]",
)
@click.option("--force", is_flag=True, help="Replace the file named by -o if it is there")
@quiet_option
def command(
    result: str | None,
    sweep: str | None,
    store: str | None,
    output: str | None,
    force: bool,
    quiet: bool,
    **views: Any,
) -> int:
    """Draw one result, or the cells of a sweep or table, into a file.

    RESULT is a digest, its first four digits or more (llt results shows six), or a label such
    as "hessian_trace seed 0" where only one cell has it. Of a train cell the training history
    is drawn. Several figures become panels of one file.

    With --sweep, maps are drawn over load and temperature: hot on top, load growing to the
    left of a width; Hessian quantities as natural logarithm of the mean over models; cells
    without a value hatched. Every picture states cells, models, seeds, units and origin.

    Where no name is given, the name says all that was asked for, so drawing the same again
    replaces its own picture. A file you name is replaced only with --force. Needs matplotlib:
    pip install 'llt\\[report]'.

    \b
    [bold]Examples:[/]
      llt plot c98cb7
      llt plot "train seed 0" -o training.pdf
      llt plot --sweep quickstart --panel figure2 -o figure2.pdf
      llt plot --sweep grid.csv --metric hessian_trace --x width --y batch_size
      llt plot --sweep quickstart --phases --where "width > 1" -o phases.svg
      llt plot --sweep quickstart --scatter cka --rule cka=0.6
      llt plot --sweep lr_decay.csv --gain constant_lr.csv --metric test_accuracy
      llt plot --sweep quickstart --curves --where "width in (2, 8)"
    """
    if sweep is None:
        return _plot_result(result, views, store, output, force)
    if result is not None:
        raise RequestError(
            f"a result ({result}) and --sweep {sweep} at once", expected="one of them"
        )
    with _at_work(sweep, quiet):
        return _plot_table(sweep, views, store, output, force)


def _at_work(name: str, quiet: bool) -> AbstractContextManager[Any]:
    """Say on a terminal that something is being drawn."""
    from rich.console import Console
    from rich.markup import escape

    return nullcontext() if quiet else Console(stderr=True).status(f"drawing {escape(name)} …")


def _plot_result(
    result: str | None, views: dict[str, Any], store: str | None, output: str | None, force: bool
) -> int:
    given = [name for name in OF_TABLES if views[name]]
    if result is None or given:
        option = "where" if given[:1] == ["condition"] else "".join(given[:1])
        raise RequestError(
            f"--{option} needs a sweep or table" if given else "nothing to draw is named",
            expected="a result, or --sweep with the name of a sweep or table",
            next_step="llt plot --sweep NAME (llt status lists sweeps, llt results the results)",
        )
    try:
        from llt_core.report.pictures import save
    except ModuleNotFoundError as error:
        raise _without_matplotlib(error) from error
    from llt_core.report import find, load
    from llt_core.report.naming import file_stem

    opened = Store(store_root(store), create=False)
    record = find(opened, result)
    path = _path(output, f"{file_stem(record)}.png", force)
    save(load(opened, record), path)
    print(f"written to {path}", file=sys.stderr)
    return 0


def _plot_table(
    sweep: str, views: dict[str, Any], store: str | None, output: str | None, force: bool
) -> int:
    try:
        from llt_core.report.choose import save_view
    except ModuleNotFoundError as error:
        raise _without_matplotlib(error) from error
    from llt_core.report.pictures import check_ending

    opened = store_if_there(store)
    condition = views["condition"]
    wish = _wish(views, lambda name: _source(name, opened, condition))
    source = _source(sweep, opened, condition)
    if views["rule"] is None and source.inferred is not None and source.inferred.rule:
        wish = replace(wish, rule=source.inferred.rule)
    path = _path(output, f"{_stem(source, wish, views)}.png", force)
    check_ending(path)
    save_view(source, wish, opened, path)
    print(f"written to {path}", file=sys.stderr)
    return 0


def _stem(source: Source, wish: Wish, views: dict[str, Any]) -> str:
    """Return a file name that says all that was asked for: another picture has another one."""
    from llt_core.report.naming import own_stem

    asked = [f"{name}-{views[name]}" for name in ("x", "y", "against") if views[name]]
    if views["rule"] is not None:
        rule = views["rule"].model_dump(exclude_unset=True, exclude_none=True)
        asked += [f"{name}-{number!r}" for name, number in rule.items()]
    asked += [f"where-{source.condition}"] * bool(source.condition)
    return own_stem("-".join([source.table.name, wish.name, *asked]))


def _wish(views: dict[str, Any], source: Any) -> Wish:
    """Return what the options ask for; exactly one thing."""
    from llt_core.analysis import PhaseRule
    from llt_core.report.choose import Wish

    given = [view for view in VIEWS if views[view]]
    if "gain" in given and "metric" in given:
        given.remove("metric")
    if len(given) > 1:
        raise RequestError(
            " and ".join(f"--{view}" for view in given) + " at once", expected="one of them"
        )
    view: Any = given[0] if given else "panel"
    metric = views["scatter"] or views["metric"] or "test_accuracy"
    if views["against"] and view != "scatter":
        raise RequestError("--against belongs to --scatter", next_step=f"--scatter {metric}")
    return Wish(
        view=view,
        metric=metric,
        against=views["against"] or "test_accuracy",
        x=views["x"],
        y=views["y"],
        other=source(views["gain"]) if view == "gain" else None,
        rule=views["rule"] or PhaseRule(),
    )


def _source(name: str, store: Store | None, condition: str | None) -> Source:
    """Return a table, or the part of it that ``condition`` chooses, with what is known of it."""
    from llt_core.analysis.where import where
    from llt_core.report.captions import Source
    from llt_core.report.inferred import InferredMap
    from llt_core.report.strands import seeds_of_sweep
    from llt_core.store.maps import recall_map
    from llt_core.store.sweeps import names
    from llt_core.store.tables import open_table

    with counting("cells read") as told:
        table = open_table(name, store, told)
    seeds: tuple[int, ...] = ()
    found = None
    if store is not None and table.name in names(store) and table.origin.startswith("llt"):
        seeds = seeds_of_sweep(store, table.name)
        found = recall_map(store, table.name)
    inferred = None if found is None else InferredMap.of(found, table)
    if condition:
        table = table.select(where(table, condition))
        if not len(table):
            raise RequestError(f"no cell of {name} has {condition}", next_step="another --where")
    return Source(table, seeds, condition or "", inferred)


def _path(output: str | None, default: str, force: bool) -> Path:
    """Return where to write; a file that the user named is replaced only by force."""
    path = Path(output or default)
    if output is not None:
        check_free(path, force)
    return path


def _without_matplotlib(error: ModuleNotFoundError) -> Exception:
    if (error.name or "").partition(".")[0] != "matplotlib":
        return error
    return LltError(
        "drawing needs matplotlib, which is not installed",
        expected="matplotlib 3.8 or newer (llt show-result draws in the terminal without it)",
        next_step="pip install 'llt[report]'",
    )
