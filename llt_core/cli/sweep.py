"""``llt sweep``: a file, a grid, and a table of what came out."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import rich_click as click

from llt_core.cli.options import (
    all_option,
    check_output,
    dry_run_option,
    how_options,
    json_lines_option,
    json_option,
    quiet_option,
    set_option,
    take_how,
)
from llt_core.cli.rules import rule_options
from llt_core.spec import SweepSpec
from llt_core.spec.run import parse_assignment

if TYPE_CHECKING:
    from llt_core.analysis import PhaseRule
    from llt_core.cli.json_lines import JsonLines
    from llt_core.cli.sweep_progress import SweepProgress
    from llt_core.execution import SweepResult


@click.command("sweep", context_settings={"show_default": True})
@click.argument("file", metavar="FILE.toml")
@click.option("--profile", metavar="NAME", default="", help="Section of the file that overrides it")
@set_option
@click.option(
    "--name", "sweep_name", metavar="NAME", help="Remember it by this name  [dim](default: FILE)[/]"
)
@how_options
@click.option("--fail-fast", is_flag=True, help="Start nothing more once a cell has failed")
@click.option(
    "--detach",
    is_flag=True,
    help="Submit what can start and leave; for executors whose jobs go on alone",
)
@click.option(
    "--adaptive",
    is_flag=True,
    help="Measure only points whose phase is unsure, and infer the others",
)
@click.option(
    "--budget",
    type=float,
    metavar="SHARE",
    help="With --adaptive: share of the grid points to measure  [dim](default: 0.35)[/]",
)
@click.option(
    "--stop-below",
    type=float,
    metavar="X",
    help="With --adaptive: stop once fewer than X points are expected to have a wrong phase",
)
@click.option(
    "--round",
    "batch",
    type=int,
    metavar="N",
    help="With --adaptive: points that a round measures  [dim](default: 2 % of the grid, and "
    "enough to keep the executor busy)[/]",
)
@rule_options
@all_option
@dry_run_option
@click.option(
    "--sizes", is_flag=True, help="With --dry-run: build unknown networks to tell their size"
)
@json_option
@json_lines_option
@quiet_option
def command(
    file: str,
    profile: str,
    assignments: tuple[str, ...],
    sweep_name: str | None,
    retries: int,
    fail_fast: bool,
    detach: bool,
    adaptive: bool,
    budget: float | None,
    stop_below: float | None,
    batch: int | None,
    rule: PhaseRule | None,
    every: bool,
    dry_run: bool,
    sizes: bool,
    as_json: bool,
    json_lines: bool,
    quiet: bool,
    **options: Any,
) -> int:
    """Train and measure every point of a grid that a file describes.

    What the store already holds is not computed again, whichever run or sweep it is from. A
    cell that fails is recorded and the rest goes on; Ctrl-C lets running cells finish, a second
    one stops them. The same command goes on from there.

    \b
    [bold]Examples:[/]
      llt sweep experiments/quickstart.toml --dry-run
      llt sweep experiments/quickstart.toml
      llt sweep experiments/figure02.toml --profile mini --data-root data
      llt sweep experiments/quickstart.toml --executor local:workers=4
      llt sweep experiments/quickstart.toml --adaptive --budget 0.5
      llt sweep experiments/quickstart.toml --set 'axes.load.values=[1, 2]'
      llt results --sweep quickstart
      llt export --sweep quickstart -o quickstart.csv
    """
    changes = dict(map(parse_assignment, assignments))
    if sweep_name is not None:
        changes["name"] = sweep_name
    spec = SweepSpec.read(file, profile=profile, changes=changes)
    check_output(as_json, json_lines)
    how = take_how(options)
    policy = {"retries": retries, "fail_fast": fail_fast, "detach": detach}
    asked = {
        "--budget": budget,
        "--stop-below": stop_below,
        "--round": batch,
        "a rule of phases": rule,
    }
    _check_adaptive(adaptive, asked, detach)
    how["adaptive"] = None
    if adaptive:
        from llt_core.analysis import PhaseRule
        from llt_core.sweep.adaptive import Adaptive

        share = Adaptive.budget if budget is None else budget
        how["adaptive"] = Adaptive(share, stop_below, rule or PhaseRule(), batch)
    if dry_run:
        return _dry_run(spec, how, sizes, as_json)
    if json_lines:
        from llt_core.cli.json_lines import JsonLines

        return _exit_code(_execute(spec, how, policy, JsonLines()))
    return _run(spec, how, policy, every, as_json, quiet)


def _check_adaptive(wanted: bool, asked: Mapping[str, Any], detach: bool) -> None:
    """Refuse options that only mean something together, or never do."""
    from llt_core.errors import RequestError

    if not wanted:
        for name, value in asked.items():
            if value is not None:
                raise RequestError(f"{name} is for adaptive sweeps", next_step="--adaptive")
    elif detach:
        raise RequestError(
            "an adaptive sweep chooses what to measure by what came out, so it cannot leave",
            where="--detach",
            next_step="leave --detach or --adaptive out",
        )


def _run(
    spec: SweepSpec,
    how: dict[str, Any],
    policy: dict[str, Any],
    every: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    from llt_core.cli.sweep_progress import SweepProgress
    from llt_core.cli.sweep_tables import print_sweep, sweep_document

    result = _execute(spec, how, policy, SweepProgress(quiet=quiet))
    found = how["adaptive"].found if how["adaptive"] is not None else None
    if as_json:
        document = sweep_document(result)
        if found is not None:
            document["map"] = {**found.model_dump(), "expected_wrong": found.expected_wrong}
        print(json.dumps(document, indent=1, allow_nan=False))
    else:
        print_sweep(result, every)
        if found is not None:
            from llt_core.cli.phase_map import print_map

            print_map(found)
    return _exit_code(result)


def _execute(
    spec: SweepSpec,
    how: dict[str, Any],
    policy: dict[str, Any],
    listener: SweepProgress | JsonLines,
) -> SweepResult:
    from llt_core.execution import SweepResult, execute
    from llt_core.sweep import Policy

    line = shlex.join(["llt", *sys.argv[1:]])
    with listener:
        result = execute(spec, **how, policy=Policy(**policy), command=line, listener=listener)
    assert isinstance(result, SweepResult)
    return result


def _exit_code(result: SweepResult) -> int:
    if not result.failed:
        return 0
    # Nothing at all came out, and the user can mend it: an unknown device, say.
    wrong = not result.records and any(cell.failure == "request" for cell in result.failed)
    return 2 if wrong else 1


def _dry_run(spec: SweepSpec, how: dict[str, Any], sizes: bool, as_json: bool) -> int:
    from llt_core.cli.sweep_tables import preview_document, print_preview
    from llt_core.execution import choose_executor, make_executor
    from llt_core.plugins import Catalogue
    from llt_core.sweep import make_plan
    from llt_core.sweep.estimate import model_bytes
    from llt_core.sweep.preview import preview

    store, force = how["store"], how["force"]
    catalogue = Catalogue.discover()
    plan = make_plan(spec, catalogue, how["data_root"])
    at_once = make_executor(choose_executor(spec, how["executor"], catalogue), catalogue).at_once()
    ahead = preview(plan, store, force=force, size=model_bytes if sizes else None)
    allowed = None
    if how["adaptive"] is not None:
        how["adaptive"].check(plan)
        allowed = how["adaptive"].allowed(plan)
    if as_json:
        document: dict[str, Any] = preview_document(spec, ahead, at_once)
        document["adaptive"] = None if allowed is None else {"points": allowed}
        print(json.dumps(document, indent=1, allow_nan=False))
    else:
        print_preview(spec, ahead, store, at_once)
        if allowed is not None:
            share = f"{allowed} of the {len(plan.points)} grid points"
            print(f"adaptive: at most {share} are measured, and that share of time and disk")
    return 0
