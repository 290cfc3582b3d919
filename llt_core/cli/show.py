"""``llt show``: the parameters of one plugin."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Collection, Iterable, Sequence
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

import rich_click as click

from llt_core.cli.options import json_option
from llt_core.plugins import Catalogue, Entry, Resolved
from llt_core.plugins.errors import BrokenPluginError

if TYPE_CHECKING:
    from rich.console import Console

WIDEST = 100
"""Characters in a line of running text."""
BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
SCOPES = {
    "model": "each model by itself",
    "pair": "pairs of models: --models 2 or more, --pairs says which",
    "set": "all models of a run together: --models 2 or more",
}
TRAINING = "train"
"""The name that stands for the settings of training, as in ``--set train.X``."""
STAGES = {
    "data": "the splits, once, before training",
    "training": "every training batch; the splits that are measured stay as they are",
    "weights": "the trained model, once",
}


@click.command("show")
@click.argument("name")
@json_option
def command(name: str, as_json: bool) -> int:
    """Show what a plugin is and which parameters it takes.

    NAME is a plain name, package/name, or a member of a family such as torchvision/resnet18;
    "train" shows the settings of training and the named recipes.

    \b
    [bold]Examples:[/]
      llt show hessian_trace
      llt show torchvision/resnet18
      llt show train
    """
    if name == TRAINING:
        _show_training(as_json)
        return 0
    catalogue = Catalogue.discover()
    described, errors = [], []
    for entry in catalogue.find(name):
        try:
            described.append(_describe(entry, name))
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


def _show_training(as_json: bool) -> None:
    from rich.console import Console

    from llt_core.spec import RECIPES, TrainingRecipe

    rows = [_parameter(name, field) for name, field in TrainingRecipe.model_fields.items()]
    if as_json:
        recipes = {name: dict(changes) for name, changes in RECIPES.items()}
        print(json.dumps({"settings": rows, "recipes": recipes}, indent=1))
        return
    console = Console(highlight=False)
    _print_rows(console, ("setting", "default", "description"), map(_set, rows))
    console.print()
    written = (
        (name, ", ".join(f"{key}={_text(value)}" for key, value in changes.items()))
        for name, changes in RECIPES.items()
    )
    _print_rows(console, ("recipe", "what differs from the defaults"), written)
    console.print()
    console.print(
        "example: llt run --task digits --set train.recipe=standard --set train.epochs=5",
        style="dim",
        soft_wrap=True,
    )


def _describe(entry: Entry, name: str) -> dict[str, Any]:
    from llt_core.plugins.loader import create, load

    cls: Any = load(entry)
    if member := name.removeprefix(f"{entry.package}/").partition("/")[2]:
        create(Resolved(entry, member), {})
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
        "measures": SCOPES.get(getattr(cls, "scope", ""), ""),
        "changes": STAGES.get(getattr(cls, "stage", ""), ""),
        "strength": getattr(cls, "axis", "") and f"works like {cls.axis}: {strength(cls)}",
        "splits": getattr(cls, "split_policy", ""),
        "returns": [quantity.model_dump() for quantity in getattr(cls, "returns", ())],
        "parameters": [_parameter(name, field) for name, field in cls.model_fields.items()],
        "example": example(entry, cls),
    }


def _parameter(name: str, field: Any) -> dict[str, Any]:
    extra = field.json_schema_extra or {}
    default = "required" if field.is_required() else field.get_default(call_default_factory=True)
    known = default is None or isinstance(default, str | int | float | bool | tuple | list)
    bounds = [
        f"{sign} {getattr(limit, bound):g}"
        for limit in field.metadata
        for bound, sign in BOUNDS.items()
        if hasattr(limit, bound)
    ]
    return {
        "name": name,
        "type": _type_name(field.annotation),
        "range": ", ".join(bounds),
        "default": default if known else str(default),
        "unit": extra.get("unit", ""),
        "description": field.description or "",
    }


def _type_name(annotation: Any) -> str:
    """Name a type as a user would: ``int or null``, ``none | weights``, ``list of 3 int``."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if annotation is None or annotation is type(None):
        return "null"
    if origin is Literal:
        return " | ".join(map(str, inner))
    if origin is Annotated:
        return _type_name(inner[0])
    if origin in (Union, UnionType):
        return " or ".join(map(_type_name, inner))
    if origin in (tuple, list) and inner:
        same = len({each for each in inner if each is not Ellipsis}) == 1
        count = "" if Ellipsis in inner or origin is list else f"{len(inner)} "
        return f"list of {count}{_type_name(inner[0])}" if same else "list"
    return getattr(annotation, "__name__", str(annotation))


def strength(cls: Any) -> str:
    """Return what a perturbation calls its strength, from the docstring of the property."""
    text = " ".join((inspect.getdoc(cls.strength) or "").split()).removeprefix("Return ")
    return text.rstrip(".")


def example(entry: Entry, cls: Any) -> str:
    """Return a command that uses the plugin."""
    match entry.kind:
        case "task":
            return f"llt run --task {entry.name} --metric hessian_trace"
        case "architecture":
            name = f"{entry.name}/resnet18" if entry.member else entry.name
            task = _readable(cls.accepts)
            return f"llt run --task {task} --arch {name} --metric test_accuracy"
        case "perturbation":
            small = cls.minimal()
            required = [n for n, field in cls.model_fields.items() if field.is_required()]
            needed = [f"{n}={getattr(small, n)}" for n in required]
            change = f"{entry.name}:{','.join(needed)}" if needed else entry.name
            task = _readable(cls.accepts)
            return f"llt run --task {task} --perturb {change} --metric test_accuracy"
        case "metric":
            models = {"model": "", "pair": " --models 2", "set": " --models 3"}[cls.scope]
            return f"llt run --task {_readable(cls.needs.modalities)} --metric {entry.name}{models}"
        case "executor":
            return (
                f"llt run --task digits --models 4 --metric test_accuracy --executor {entry.name}"
            )
        case "tracker":
            return f"llt run --task digits --metric test_accuracy --track {entry.name}"


def _readable(modalities: Collection[str] | None) -> str:
    """Return a task of one of the ``modalities`` (None: any), images where they will do."""
    return "digits" if modalities is None or "image" in modalities else "iwslt"


def _print(one: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.text import Text

    from llt_core.cli.layout import reflow

    console = Console(highlight=False)
    console.print(f"[bold]{one['name']}[/] · {one['kind']} · {one['package']} · v{one['version']}")
    console.print(escape(one["summary"]))
    if one["description"] and one["description"].splitlines()[0] != one["summary"]:
        console.print()
        console.print(reflow(one["description"], min(console.width, WIDEST)))
    console.print()
    if one["parameters"]:
        _print_rows(console, ("parameter", "default", "description"), map(_set, one["parameters"]))
    else:
        console.print("It has no parameters.")
    if one["returns"]:
        console.print()
        returned = ((q["name"], q["unit"] or "–", q["description"]) for q in one["returns"])
        _print_rows(console, ("returns", "unit", "description"), returned)
    console.print()
    for label, text in (
        ("measures", one["measures"]),
        ("changes", one["changes"]),
        ("strength", one["strength"]),
        ("splits", one["splits"]),
        ("cost", one["cost"]),
        ("needs", _needs(one["needs"])),
        ("reference", one["reference"]),
        ("example", one["example"]),
    ):
        if text:
            console.print(Text.assemble((f"{label}: ", "dim"), text), soft_wrap=label == "example")


def _print_rows(console: Console, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    from rich.text import Text

    from llt_core.cli.layout import edgeless

    table = edgeless(*header)
    table.columns[0].no_wrap = True
    for row in rows:
        table.add_row(*map(Text, row))
    console.print(table)


def _set(row: dict[str, Any]) -> tuple[str, str, str]:
    """Return name, default with its unit, and description with what may be set."""
    default = _text(row["default"])
    known = row["unit"] and default not in ("required", "null")
    allowed = ", ".join(filter(None, (row["type"], row["range"])))
    return (
        row["name"],
        f"{default} {row['unit']}" if known else default,
        f"{row['description']}  ({allowed})",
    )


def _text(value: Any) -> str:
    """Write a value as ``--set`` takes it."""
    return value if isinstance(value, str) else json.dumps(value)


def _needs(needs: dict[str, Any]) -> str:
    """Write what a plugin needs: ``second order``, ``download 247 MB``."""
    words = {key: key.replace("_", " ") for key in needs}
    return ", ".join(words[k] if v is True else f"{words[k]} {v}" for k, v in needs.items())
