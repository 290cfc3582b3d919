"""``llt run``: one composition, from names to a table."""

from __future__ import annotations

import json
import shlex
import sys
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
from llt_core.spec import Named, Pairs, RunSpec
from llt_core.spec.run import parse_assignment

if TYPE_CHECKING:
    from llt_core.cli.json_lines import JsonLines
    from llt_core.cli.progress import ProgressListener
    from llt_core.execution import RunResult

NAMED = "NAME[:KEY=VALUE,…]"


@click.command("run", context_settings={"show_default": True})
@click.option("--task", metavar=NAMED, required=True, help="What to learn")
@click.option("--arch", metavar=NAMED, help="Network  [dim](default: the task's own)[/]")
@click.option(
    "--metric",
    "metrics",
    metavar=NAMED,
    multiple=True,
    help="What to measure; repeat for several",
)
@click.option(
    "--perturb",
    "perturbations",
    metavar=NAMED,
    multiple=True,
    help="Change the data first; repeat to compose, in order",
)
@set_option
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Seed of the first model",
)
@click.option(
    "--models",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Models, seeds counted up",
)
@click.option(
    "--pairs",
    type=click.Choice(["all", "ring", "first"]),
    default="all",
    show_default=True,
    help="Which models the metrics of pairs compare",
)
@how_options
@all_option
@dry_run_option
@json_option
@json_lines_option
@quiet_option
def command(
    retries: int,
    every: bool,
    dry_run: bool,
    as_json: bool,
    json_lines: bool,
    quiet: bool,
    **request: Any,
) -> int:
    """Train one composition and measure it.

    What the store already holds is not computed again: the same command answers at once.

    \b
    [bold]Examples:[/]
      llt run --task digits --metric hessian_trace
      llt run --task svhn --metric hessian_trace --metric test_accuracy --models 3
      llt run --task cifar10 --arch vgg11 --set train.recipe=lr_decay
      llt run --task digits --metric cka --models 5 --pairs ring
      llt run --task digits --perturb mixup --metric test_accuracy
      llt run --task digits --metric hessian_trace:samples=500 --dry-run
    """
    check_output(as_json, json_lines)
    how = take_how(request)
    spec = _spec(**request)
    if dry_run:
        return _dry_run(spec, how, as_json)
    if json_lines:
        from llt_core.cli.json_lines import JsonLines

        return _exit_code(_execute(spec, how, retries, JsonLines()))
    return _run(spec, how, retries, every, as_json, quiet)


def _spec(
    task: str,
    arch: str | None,
    metrics: tuple[str, ...],
    perturbations: tuple[str, ...],
    assignments: tuple[str, ...],
    seed: int,
    models: int,
    pairs: Pairs,
) -> RunSpec:
    named_task, named_arch = Named.parse(task), None if arch is None else Named.parse(arch)
    fields = [parse_assignment(text) for text in assignments]
    if named_arch is None and any(path.startswith("architecture.") for path, _ in fields):
        # --set architecture.width=16 speaks of the task's default architecture.
        from llt_core.plugins import Catalogue
        from llt_core.sweep.compose import default_architecture

        named_arch = default_architecture(named_task, Catalogue.discover())
    spec = RunSpec(
        task=named_task,
        architecture=named_arch,
        metrics=tuple(Named.parse(text) for text in metrics),
        perturbations=tuple(Named.parse(text) for text in perturbations),
        seed=seed,
        models=models,
        pairs=pairs,
    )
    for path, value in fields:
        spec = spec.with_field(path, value)
    return spec


def _run(
    spec: RunSpec, how: dict[str, Any], retries: int, every: bool, as_json: bool, quiet: bool
) -> int:
    from llt_core.cli.progress import ProgressListener
    from llt_core.cli.tables import print_run, run_document

    result = _execute(spec, how, retries, ProgressListener(quiet=quiet))
    if as_json:
        print(json.dumps(run_document(result), indent=1, allow_nan=False))
    else:
        print_run(result, every)
    return _exit_code(result)


def _execute(
    spec: RunSpec, how: dict[str, Any], retries: int, listener: ProgressListener | JsonLines
) -> RunResult:
    from llt_core.execution import execute
    from llt_core.sweep import Policy

    line = shlex.join(["llt", *sys.argv[1:]])
    with listener:
        return execute(spec, **how, policy=Policy(retries=retries), command=line, listener=listener)


def _exit_code(result: RunResult) -> int:
    if any(failed.failure == "request" for failed in result.failed):
        return 2
    return 1 if result.failed else 0


def _dry_run(spec: RunSpec, how: dict[str, Any], as_json: bool) -> int:
    from llt_core.cli.tables import print_plan
    from llt_core.plugins import Catalogue
    from llt_core.sweep import make_plan
    from llt_core.sweep.estimate import model_bytes
    from llt_core.sweep.preview import preview

    store = how["store"]
    plan = make_plan(spec, Catalogue.discover(), how["data_root"])
    ahead = preview(plan, store, force=how["force"], size=model_bytes)
    if as_json:
        cells = [
            {
                "digest": c.digest,
                "kind": c.cell.kind,
                "label": c.label,
                "cached": c.digest not in ahead.todo and c.digest not in ahead.blocked,
            }
            for c in plan.cells
        ]
        sums = {key: vars(ahead.cost)[key] for key in ("seconds", "unknown", "checkpoint_bytes")}
        print(json.dumps({"cells": cells, "estimate": sums}, indent=1))
    else:
        print_plan(ahead, store)
    return 0
