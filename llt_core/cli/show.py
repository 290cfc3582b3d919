"""``llt show``: the parameters of one plugin."""

from __future__ import annotations

import inspect
import json
import sys
from typing import Any, Literal, get_args, get_origin

import rich_click as click

from llt_core.plugins import Catalogue, Entry
from llt_core.plugins.errors import BrokenPluginError


@click.command("show")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table")
def command(name: str, as_json: bool) -> int:
    """Show what a plugin is and which parameters it takes.

    NAME is a plain name, package/name, or a member of a family such as torchvision/resnet18.

    \b
    [bold]Examples:[/]
      llt show hessian_trace
      llt show torchvision/resnet18
    """
    catalogue = Catalogue.discover()
    described, errors = [], []
    for entry in catalogue.find(name):
        try:
            described.append(_describe(entry))
        except BrokenPluginError as error:
            errors.append(error)
    if errors and not described:
        raise errors[0]
    if as_json:
        print(json.dumps(described, indent=1))
    else:
        for one in described:
            _print(one)
    for broken in errors:  # of several owners of the name, one that is broken costs only itself
        print(broken, file=sys.stderr)
    return 0


def _describe(entry: Entry) -> dict[str, Any]:
    from llt_core.plugins.loader import load

    cls: Any = load(entry)
    return {
        "name": entry.name,
        "kind": entry.kind,
        "package": f"{entry.package} {entry.package_version}".strip(),
        "version": cls.version,
        "summary": entry.summary,
        "cost": entry.cost,
        "needs": dict(entry.needs),
        "reference": entry.paper,
        "description": inspect.getdoc(cls) or "",
        "splits": getattr(cls, "split_policy", ""),
        "returns": [quantity.model_dump() for quantity in getattr(cls, "returns", ())],
        "parameters": [_parameter(name, field) for name, field in cls.model_fields.items()],
        "example": example(entry, cls),
    }


def _parameter(name: str, field: Any) -> dict[str, Any]:
    extra = field.json_schema_extra or {}
    default = "required" if field.is_required() else field.get_default(call_default_factory=True)
    return {
        "name": name,
        "type": _type_name(field.annotation),
        "default": default if isinstance(default, str | int | float | bool) else str(default),
        "unit": extra.get("unit", ""),
        "description": field.description or "",
    }


def _type_name(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return " | ".join(map(str, get_args(annotation)))
    text = annotation.__name__ if annotation in (int, float, str, bool) else str(annotation)
    return text.replace("typing.", "")


def example(entry: Entry, cls: Any) -> str:
    """Return a command that uses the plugin."""
    match entry.kind:
        case "task":
            return f"llt run --task {entry.name} --metric hessian_trace"
        case "architecture":
            name = f"{entry.name}/resnet18" if entry.member else entry.name
            return f"llt run --task digits --arch {name} --metric test_accuracy"
        case "perturbation":
            needed = [f"{n}=0.1" for n, field in cls.model_fields.items() if field.is_required()]
            change = f"{entry.name}:{','.join(needed)}" if needed else entry.name
            return f"llt run --task digits --perturb {change} --metric test_accuracy"
        case "metric":
            models = {"model": "", "pair": " --models 2", "set": " --models 3"}[cls.scope]
            return f"llt run --task digits --metric {entry.name}{models}"
        case "executor":
            return f"llt show {entry.name}"


def _print(one: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    console.print(f"[bold]{one['name']}[/] · {one['kind']} · {one['package']} · v{one['version']}")
    console.print(escape(one["summary"]))
    if one["description"] and one["description"].splitlines()[0] != one["summary"]:
        console.print("\n" + escape(one["description"]), highlight=False)
    console.print()
    table = Table("parameter", "type", "default", "unit", "description", box=None, pad_edge=False)
    for row in one["parameters"]:
        table.add_row(*(escape(str(value)) for value in row.values()))
    if one["parameters"]:
        console.print(table)
    else:
        console.print("It has no parameters.")
    for quantity in one["returns"]:
        unit = quantity["unit"] or "no unit"
        console.print(
            f"[dim]returns:[/] {quantity['name']} ({unit}): {escape(quantity['description'])}"
        )
    for label, text in (
        ("splits", one["splits"]),
        ("cost", one["cost"]),
        ("needs", _needs(one["needs"])),
        ("reference", one["reference"]),
        ("example", one["example"]),
    ):
        if text:
            console.print(f"[dim]{label}:[/] {escape(text)}", soft_wrap=True, highlight=False)


def _needs(needs: dict[str, Any]) -> str:
    """Write what a plugin needs: ``second order``, ``download 247 MB``."""
    words = {key: key.replace("_", " ") for key in needs}
    return ", ".join(words[k] if v is True else f"{words[k]} {v}" for k, v in needs.items())
