"""Sweep files become sweeps: overridden by a profile and by ``--set``, and checked."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from llt_core.errors import RequestError, wanted
from llt_core.spec.naming import SWEEP_NAME
from llt_core.spec.run import Named, RunSpec
from llt_core.spec.sweep_axis import written_out
from llt_core.spec.sweep_document import COMPOSITION, Document, located
from llt_core.spec.sweep_layers import Tree, flat, merge, overlay

if TYPE_CHECKING:
    from llt_core.spec.sweep import SweepSpec

Spec = TypeVar("Spec", bound="SweepSpec")
Checked = TypeVar("Checked")

DEFAULT_EXECUTOR = "local"
"""The executor of a sweep that names none."""
_WHOLE = ("task", "architecture")
"""Components that an axis, a key or a change can replace as a whole."""


def build(cls: type[Spec], document: Document, profile: str, changes: Mapping[str, Any]) -> Spec:
    """Apply a profile and the user's changes, and validate what comes out.

    Raises
    ------
    RequestError
        See :meth:`llt_core.spec.sweep.SweepSpec.read`.
    """
    tree = dict(document.tree)
    profiles = tree.pop("profiles", {})
    if profile:
        tree = overlay(tree, _chosen(profiles, profile, document))
    if not {"name"} & {*tree, *changes}:
        tree["name"] = _name_of_file(document, profile)
    document = replace(document, changes=tuple(path for path in changes if _in_tables(path)))
    assignments = flat(tree.pop("set", {}))
    for path, value in changes.items():
        if _in_tables(path) or path.startswith("executor."):
            tree = _changed(tree, path, value, document)
        else:
            assignments[path] = value
    base = _base({key: tree.pop(key) for key in COMPOSITION if key in tree}, document, profile)
    rest = {"axes": written_out(tree.pop("axes", {})), **tree}
    if "executor" in rest:
        rest["executor"] = located(Named.of, rest["executor"], document, "executor")
    if isinstance(rest.get("exclude"), Mapping):
        rest["exclude"] = [rest["exclude"]]
    given = {"profile": profile, "base": base, **rest}
    spec = _checked(lambda: cls.model_validate(given), document, profile)
    for path, value in assignments.items():
        keys = path.split(".")
        where = "--set" if path in changes else document.where("set", *keys, profile=profile)
        # In a file the axis goes over what [set] says of its field.
        _check_free(spec, path, value, where, varied=spec.fields if path in changes else ())
        base = _assigned(base, path, value, where)
    return spec.model_copy(update={"base": base})


def _changed(tree: Tree, path: str, value: Any, document: Document) -> Tree:
    """Apply one ``--set`` that is about the sweep's tables or its executor."""
    if path.startswith("axes."):
        return _with_axis(tree, path, value, document)
    if path.startswith("executor."):
        old = {"name": DEFAULT_EXECUTOR} | tree.get("executor", {})
        return tree | {"executor": old | {path.removeprefix("executor."): value}}
    return tree | {path: value}


def _check_free(
    spec: SweepSpec, path: str, value: Any, where: str, varied: Collection[str]
) -> None:
    """Refuse to set a field that an axis varies, or whose whole component it puts in."""
    if path in varied:
        axis = next(name for name, axis in spec.axes.items() if path in axis.paths)
        raise RequestError(
            f"{path} is set, but the axis {axis} varies it",
            where=where,
            expected="a field that does not vary",
            next_step=f"--set 'axes.{axis}.values=[{value}]'",
        )
    whole = path.partition(".")[0]
    if whole != path and whole in _WHOLE and whole in spec.fields:
        raise RequestError(
            f"{path} is set, but an axis puts a whole {whole} in its place",
            where=where,
            expected="a field the axis leaves alone",
            next_step="write it into the values of the axis",
        )


def _in_tables(path: str) -> bool:
    """Whether a change is one of the sweep's tables, not of its composition."""
    return path in ("name", "title") or path.startswith("axes.")


def _name_of_file(document: Document, profile: str) -> str:
    if not document.stem:
        return ""
    name = "-".join(filter(None, (document.stem, profile)))
    if not SWEEP_NAME.fullmatch(name):
        better = re.sub(r"[^\w.-]+", "-", name).strip("-.")
        raise RequestError(
            f"a sweep cannot be called {name!r}, after its file",
            where=document.texts[-1][0],
            expected="letters, digits, '_', '-' and '.'",
            next_step=f"--name {better or 'NAME'}",
        )
    return name


def _chosen(profiles: Mapping[str, Any], name: str, document: Document) -> Mapping[str, Any]:
    if name not in profiles:
        near = difflib.get_close_matches(name, profiles, n=1)
        raise RequestError(
            f"the sweep has no profile {name!r}",
            where=document.texts[-1][0] if document.texts else "",
            expected=f"one of {', '.join(profiles)}" if profiles else "a section [profiles.NAME]",
            next_step=f"--profile {near[0]}" if near else "leave --profile out",
        )
    found: Mapping[str, Any] = profiles[name]
    return found


def _with_axis(tree: Tree, path: str, value: Any, document: Document) -> Tree:
    """Apply ``--set axes.NAME.KEY=VALUE``."""
    name, _, key = path.removeprefix("axes.").rpartition(".")
    axes = tree.get("axes", {})
    if name not in axes:
        near = difflib.get_close_matches(name, axes, n=1)
        raise RequestError(
            f"{path}: the sweep has no axis {name!r}",
            where="--set",
            expected=f"one of {', '.join(axes) or 'none'}",
            next_step=f"--set 'axes.{near[0] if near else 'NAME'}.values=[1, 2]'",
        )
    if isinstance(axes[name], list | tuple):
        axes = {**axes, name: {"field": name, "values": axes[name]}}
    return merge({**tree, "axes": axes}, {"axes": {name: {key: value}}})


def _base(keys: Mapping[str, Any], document: Document, profile: str) -> RunSpec:
    if "task" not in keys:
        raise RequestError(
            "the sweep names no task",
            where=document.texts[-1][0] if document.texts else "",
            expected='task = "digits" (see llt list-plugins --kind task)',
        )
    found = dict(keys)
    for key in _WHOLE:
        if key in found:
            found[key] = located(Named.of, found[key], document, key)
    for key in ("perturbations", "metrics"):
        if key in found:
            if not isinstance(found[key], list | tuple):
                raise RequestError(
                    f"{key} is {found[key]!r}",
                    where=document.where(key),
                    expected=f'a list: {key} = ["NAME", {{name = "NAME", PARAMETER = 1}}]',
                )
            found[key] = tuple(located(Named.of, item, document, key) for item in found[key])
    return _checked(lambda: RunSpec.model_validate(found), document, profile)


def _assigned(base: RunSpec, path: str, value: Any, where: str) -> RunSpec:
    try:
        return base.with_field(path, value)
    except RequestError as error:
        raise _moved(error, where) from error


def _checked(validate: Callable[[], Checked], document: Document, profile: str) -> Checked:
    """Turn pydantic's complaint into one that names file, line and key."""
    try:
        return validate()
    except ValidationError as error:
        raise _wrong_key(error, document, profile) from error
    except RequestError as error:
        cause = error.__cause__
        path: tuple[str, ...] = ()
        if isinstance(cause, ValidationError):
            path = _path(cause.errors(include_url=False)[0]["loc"])[:1]
        raise _moved(error, document.where(*path, profile=profile)) from error


def _wrong_key(error: ValidationError, document: Document, profile: str) -> RequestError:
    first = error.errors(include_url=False)[0]
    path = _path(first["loc"])
    where = document.where(*path, profile=profile)
    if not path and document.changes:
        where = ", ".join(filter(None, (where, *(f"--set {c}" for c in document.changes))))
    if first["type"] == "extra_forbidden":
        known = "field, fields, values, range, geomspace, logspace, integer, kind"
        near = difflib.get_close_matches(path[-1], known.split(", "), n=1)
        return RequestError(
            f"an axis has no key {path[-1]!r}" if path[0] == "axes" else f"no key {path[-1]!r}",
            where=where,
            expected=(f"did you mean {near[0]}? " if near else "") + f"keys: {known}",
            next_step="see docs/how-to/sweep.md",
        )
    plain = not isinstance(first["input"], Mapping) and bool(path)
    what = f"the sweep cannot have {'.'.join(path)}"
    return RequestError(
        f"{what} = {first['input']!r}"
        if plain
        else (what if path else "the sweep is not possible"),
        where=where,
        expected=wanted(first),
        next_step="see docs/how-to/sweep.md",
    )


def _path(loc: Iterable[int | str]) -> tuple[str, ...]:
    """Return the keys of pydantic's location; inner names of validators are no keys."""
    return tuple(str(part) for part in loc if isinstance(part, int) or "[" not in part)


def _moved(error: RequestError, where: str) -> RequestError:
    return RequestError(error.what, where=where, expected=error.expected, next_step=error.next_step)
