"""From an entry to a class, and from a class to a validated component."""

from __future__ import annotations

import difflib
import importlib
import inspect
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from llt_core.errors import RequestError, wanted
from llt_core.interfaces import (
    Architecture,
    Component,
    Executor,
    Metric,
    Perturbation,
    Task,
    Tracker,
)
from llt_core.interfaces.declarations import misdeclared
from llt_core.interfaces.places import quoted, said
from llt_core.kinds import Kind
from llt_core.plugins.catalogue import Resolved
from llt_core.plugins.errors import BrokenPluginError
from llt_core.plugins.finder import BUILT_IN
from llt_core.plugins.manifest import Entry
from llt_core.plugins.settings import LOCAL

BASES: Mapping[Kind, type[Component]] = {
    "task": Task,
    "architecture": Architecture,
    "perturbation": Perturbation,
    "metric": Metric,
    "executor": Executor,
    "tracker": Tracker,
}


def load(entry: Entry) -> type[Component]:
    """Import the class of one entry, and nothing else.

    Raises
    ------
    BrokenPluginError
        Names the package, its version and what went wrong.
    """
    module_name, _, class_name = entry.target.partition(":")
    if entry.package == LOCAL:
        folder = str(Path(entry.source).resolve().parent)
        if folder not in sys.path:
            sys.path.insert(0, folder)
    try:
        found = getattr(importlib.import_module(module_name), class_name)
    except (Exception, SystemExit) as error:
        line = quoted(error, module_name.partition(".")[0])
        raise _broken(entry, said(error), line, install_line(entry, error)) from error
    base = BASES[entry.kind]
    if not (inspect.isclass(found) and issubclass(found, base)):
        raise _broken(entry, f"{entry.target} is not a subclass of {base.__name__}")
    if inspect.isabstract(found):
        missing = ", ".join(sorted(found.__abstractmethods__))
        raise _broken(entry, f"{entry.target} does not define {missing}", _file(found))
    if fault := misdeclared(found):
        raise _broken(entry, fault, _file(found))
    return found


def create(resolved: Resolved, parameters: Mapping[str, Any]) -> Component:
    """Load the class and validate ``parameters`` into an instance.

    Raises
    ------
    RequestError
        Names the parameter, what it got, and what was expected.
    """
    entry = resolved.entry
    cls = load(entry)
    if resolved.member:
        parameters = {**parameters, entry.member: resolved.member}
    try:
        return cls.model_validate(dict(parameters))
    except ValidationError as error:
        raise _wrong_parameter(entry, cls, error) from error


def remedy(package: str, place: str = "") -> str:
    """Return what to do about a fault of ``package``: the user's own is for them to correct."""
    if package == LOCAL:
        return f"correct {place or 'its table in llt.toml'}"
    return f"update or remove {package}, or disable it in llt.toml"


def _broken(entry: Entry, reason: str, line: str = "", next_step: str = "") -> BrokenPluginError:
    """``line``: of the plugin's file, as ``file.py:8: what it says``."""
    owner = f"{entry.package} {entry.package_version}".strip() + f" ({entry.source})"
    error = BrokenPluginError(
        f"the {entry.kind} {entry.name!r} is broken: {reason}",
        where=line if line and entry.package == LOCAL else ", ".join(filter(None, (owner, line))),
        expected=f"{entry.target} to be a {BASES[entry.kind].__name__} that can be used",
        next_step=next_step or remedy(entry.package, line.partition(": ")[0]),
    )
    error.reason = f"{reason} ({line})" if line else reason
    return error


def _file(cls: type[Component]) -> str:
    """Return the name of the file that defines ``cls``."""
    return Path(str(getattr(sys.modules[cls.__module__], "__file__", ""))).name


def install_line(entry: Entry, error: BaseException) -> str:
    """Return the command that installs what ``entry`` lacks, if that explains ``error``."""
    extra = entry.needs.get("extra") if isinstance(error, ImportError) else None
    return f"pip install '{entry.package}[{extra}]'" if extra else ""


def _wrong_parameter(entry: Entry, cls: type[Component], error: ValidationError) -> RequestError:
    first = error.errors(include_url=False)[0]
    name = ".".join(str(part) for part in first["loc"]) or "parameters"
    subject = f"{entry.kind} {entry.name!r}"
    shown = entry.name if entry.package == BUILT_IN else entry.qualified
    if first["type"] == "extra_forbidden":
        near = difflib.get_close_matches(name, cls.model_fields, n=1)
        expected = f"one of {', '.join(cls.model_fields)}" if cls.model_fields else "no parameters"
        if near:
            expected = f"did you mean {near[0]}? ({expected})"
        what = f"the {subject} has no parameter {name!r}"
    elif first["type"] == "missing":
        what, expected = f"the {subject} needs the parameter {name!r}", "a value for it"
        if entry.member == name:
            expected = f"{entry.name}/{name.upper()}"
    else:
        what = f"the {subject} cannot take {name} = {first['input']!r}"
        expected = wanted(first)
    return RequestError(what, expected=expected, next_step=f"llt show {shown}")
