"""Sweep files: TOML read, included, overridden by a profile and by ``--set``, and checked."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from llt_core.errors import RequestError
from llt_core.spec.run import Named, RunSpec
from llt_core.spec.sweep_axis import SOURCES, written_out

if TYPE_CHECKING:
    from llt_core.spec.sweep import SweepSpec

Spec = TypeVar("Spec", bound="SweepSpec")
Tree = dict[str, Any]

COMPOSITION = tuple(RunSpec.model_fields)
KEYS = ("name", "title", "include", *COMPOSITION, "set", "axes", "zip", "exclude", "profiles")
_NOT_IN_PROFILES = ("include", "profiles")
_DEPTH = {"metric": 3, "perturbation": 3, "task": 2, "architecture": 2, "train": 2}
_TABLES = ("train", "set", "axes", "profiles")
_KEY = r"(?:[\w-]+|\"[^\"]*\"|'[^']*')"
_LINE = re.compile(rf"\s*({_KEY}(?:\s*\.\s*{_KEY})*)\s*=")
_HEADER = re.compile(rf"\s*\[\[?\s*({_KEY}(?:\s*\.\s*{_KEY})*)\s*\]\]?")


@dataclass(frozen=True)
class Document:
    """The tables of a sweep, merged from ``texts`` (file name → content, the last one wins)."""

    tree: Tree
    texts: tuple[tuple[str, str], ...] = ()
    stem: str = ""

    def where(self, *path: str, profile: str = "") -> str:
        """Say where a key stands, in ``profile`` or outside: file, line and the key itself."""
        key = ".".join(path)
        places = [(path, 0)] + ([(("profiles", profile, *path), 2)] if profile else [])
        best = (0, "", 0)  # the longest match; of equal ones the file that is read last
        for name, text in self.texts:
            for place, above in places:
                depth, line = _line(text, place)
                if depth > above and depth - above >= best[0]:
                    best = (depth - above, name, line)
        if best[0]:
            return f"{best[1]}, line {best[2]} ({key})"
        return (f"{self.texts[-1][0]}" + (f" ({key})" if key else "")) if self.texts else key


def of_file(path: Path) -> Document:
    """Read a file and everything it includes.

    Raises
    ------
    RequestError
        A file is missing or no TOML, or includes itself.
    """
    tree, texts = _read(path, ())
    return Document(tree, tuple(texts), path.stem)


def of_mapping(keys: Mapping[str, Any]) -> Document:
    """Take the keys of a sweep file from Python."""
    tree = dict(keys)
    include = tree.pop("include", ())
    document = Document(tree)
    _check_keys(tree, document)
    merged, texts = _included(include, Path(), (), document)
    return Document(_merged(merged, _normal(tree, document)), tuple(texts))


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
        tree = _merged(tree, _chosen(profiles, profile, document))
    tree.setdefault(
        "name", "-".join(filter(None, (document.stem, profile))) if document.stem else ""
    )
    assignments = _flat(tree.pop("set", {}))
    for path, value in changes.items():
        if path.startswith("axes."):
            tree = _with_axis(tree, path, value, document)
        elif path in ("name", "title"):
            tree[path] = value
        else:
            assignments[path] = value
    base = _base({key: tree.pop(key) for key in COMPOSITION if key in tree}, document, profile)
    rest = {"axes": written_out(tree.pop("axes", {})), **tree}
    if isinstance(rest.get("exclude"), Mapping):
        rest["exclude"] = [rest["exclude"]]
    given = {"profile": profile, "base": base, **rest}
    spec = _checked(lambda: cls.model_validate(given), document, profile)
    for path, value in assignments.items():
        if path in spec.fields and path in changes:  # in a file the axis goes over the base
            axis = next(name for name, axis in spec.axes.items() if path in axis.paths)
            raise RequestError(
                f"{path} is set, but the axis {axis} varies it",
                where="--set",
                expected="a field that does not vary",
                next_step=f"--set 'axes.{axis}.values=[{value}]'",
            )
        where = (
            "--set" if path in changes else document.where("set", *path.split("."), profile=profile)
        )
        base = _assigned(base, path, value, where)
    return spec.model_copy(update={"base": base})


def _read(path: Path, above: tuple[Path, ...]) -> tuple[Tree, list[tuple[str, str]]]:
    here = path.absolute()
    if here.resolve() in above:
        chain = " → ".join(p.name for p in (*above, here))
        raise RequestError(
            f"{path.name} includes itself: {chain}",
            where=str(above[-1]),
            expected="files that include others, never in a circle",
            next_step=f"remove the include of {path.name} in {above[-1].name}",
        )
    try:
        text = path.read_text(encoding="utf-8")
        tree = tomllib.loads(text)
    except FileNotFoundError as error:
        raise RequestError(
            f"there is no sweep file {path.name}",
            where=str(here.parent),
            expected="a TOML file",
            next_step="llt sweep FILE.toml" if not above else f"edit include in {above[-1].name}",
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise RequestError(
            f"cannot read {path.name}: {reason}", where=str(here), expected="a TOML file"
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise RequestError(
            f"{path.name} is not TOML: {error}",
            where=str(here),
            expected="key = value, texts in quotes, tables in [brackets]",
            next_step="correct that line",
        ) from error
    document = Document(tree, ((str(path), text),))
    include = tree.pop("include", ())
    _check_keys(tree, document)
    merged, texts = _included(include, here.parent, (*above, here.resolve()), document)
    return _merged(merged, _normal(tree, document)), [*texts, (str(path), text)]


def _included(
    include: Any, folder: Path, above: tuple[Path, ...], document: Document
) -> tuple[Tree, list[tuple[str, str]]]:
    names = [include] if isinstance(include, str) else include
    if not isinstance(names, list | tuple) or not all(isinstance(n, str) for n in names):
        raise RequestError(
            f"cannot include {include!r}",
            where=document.where("include"),
            expected='the name of a file, or a list of names: include = "base.toml"',
        )
    merged: Tree = {}
    texts: list[tuple[str, str]] = []
    for name in names:
        tree, more = _read(folder / name, above)
        merged = _merged(merged, tree)
        texts += more
    return merged, texts


def _check_keys(tree: Mapping[str, Any], document: Document) -> None:
    """Refuse unknown keys, in all profiles too, whether chosen or not."""
    profiles = tree.get("profiles", {})
    for name in _TABLES:
        if not isinstance(tree.get(name, {}), Mapping):
            raise _no_table(name, tree[name], document, name)
    for name, profile in profiles.items():
        if not isinstance(profile, Mapping):
            raise _no_table(f"profiles.{name}", profile, document, "profiles", name)
    allowed = tuple(key for key in KEYS if key not in _NOT_IN_PROFILES)
    for path, table, known in (
        ((), tree, KEYS),
        *((("profiles", name), profile, allowed) for name, profile in profiles.items()),
    ):
        for key in table:
            if key not in known:
                near = difflib.get_close_matches(key, known, n=1)
                raise RequestError(
                    f"a sweep{' profile' if path else ''} has no key {key!r}",
                    where=document.where(*path, key),
                    expected=(f"did you mean {near[0]}? " if near else "")
                    + f"keys: {', '.join(known)}",
                    next_step="see docs/how-to/sweep.md",
                )


def _no_table(name: str, value: Any, document: Document, *path: str) -> RequestError:
    return RequestError(
        f"{name} is {value!r}",
        where=document.where(*path),
        expected=f"a table: [{name}]",
    )


def _normal(tree: Mapping[str, Any], document: Document) -> Tree:
    """Return the tables with the task and the architecture as tables, so that they merge."""
    found = dict(tree)
    for key in ("task", "architecture"):
        if isinstance(found.get(key), str | Named):
            named = _located(Named.of, found[key], document, key)
            found[key] = {"name": named.name, **named.parameters}
    if "profiles" in found:
        found["profiles"] = {
            name: _normal(profile, document) for name, profile in found["profiles"].items()
        }
    return found


def _merged(below: Mapping[str, Any], above: Mapping[str, Any], path: tuple[str, ...] = ()) -> Tree:
    """Return both trees as one: tables merge, anything else is replaced by what is above."""
    found = dict(below)
    for key, value in above.items():
        old = found.get(key)
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            found[key] = _merged(_without_rivals(old, value, (*path, key)), value, (*path, key))
        else:
            found[key] = value
    return found


def _without_rivals(
    old: Mapping[str, Any], new: Mapping[str, Any], path: tuple[str, ...]
) -> Mapping[str, Any]:
    """Drop what cannot stand beside the new keys.

    Values of an axis go when it gets others, parameters when another component takes the place.
    """
    inside = path[2:] if path[0] == "profiles" else path
    if len(inside) == 2 and inside[0] == "axes":
        rivals = [set(SOURCES) | {"integer"}] if set(SOURCES) & set(new) else []
        rivals += [{"field", "fields"}] if {"field", "fields"} & set(new) else []
        return {key: value for key, value in old.items() if not any(key in r for r in rivals)}
    if inside in (("task",), ("architecture",)) and new.get("name", old["name"]) != old["name"]:
        return {}
    return old


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


def _flat(tree: Mapping[str, Any], above: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return ``{"train": {"epochs": 2}}`` as ``{"train.epochs": 2}``."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        path = (*above, *key.split("."))
        if isinstance(value, Mapping) and len(path) < _DEPTH.get(path[0], 1):
            found |= _flat(value, path)
        else:
            found[".".join(path)] = value
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
    return _merged({**tree, "axes": axes}, {"axes": {name: {key: value}}})


def _base(keys: Mapping[str, Any], document: Document, profile: str) -> RunSpec:
    if "task" not in keys:
        raise RequestError(
            "the sweep names no task",
            where=document.texts[-1][0] if document.texts else "",
            expected='task = "digits" (see llt list-plugins --kind task)',
        )
    found = dict(keys)
    for key in ("task", "architecture"):
        if key in found:
            found[key] = _located(Named.of, found[key], document, key)
    for key in ("perturbations", "metrics"):
        if key in found:
            if not isinstance(found[key], list | tuple):
                raise RequestError(
                    f"{key} is {found[key]!r}",
                    where=document.where(key),
                    expected=f'a list: {key} = ["NAME", {{name = "NAME", PARAMETER = 1}}]',
                )
            found[key] = tuple(_located(Named.of, item, document, key) for item in found[key])
    return _checked(lambda: RunSpec.model_validate(found), document, profile)


def _assigned(base: RunSpec, path: str, value: Any, where: str) -> RunSpec:
    try:
        return base.with_field(path, value)
    except RequestError as error:
        raise _moved(error, where) from error


def _located(read: Callable[[Any], Named], value: Any, document: Document, key: str) -> Named:
    try:
        return read(value)
    except (RequestError, TypeError, ValueError) as error:
        known = error if isinstance(error, RequestError) else None
        raise RequestError(
            known.what if known else f"cannot read {value!r}",
            where=document.where(key),
            expected=known.expected if known else "a name, or a table with a name",
            next_step=f'{key} = "NAME" or {{name = "NAME", PARAMETER = VALUE}}',
        ) from error


Checked = TypeVar("Checked")


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
    message = first["msg"].removeprefix("Value error, ")
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
        expected=message,
        next_step="see docs/how-to/sweep.md",
    )


def _path(loc: Iterable[int | str]) -> tuple[str, ...]:
    """Return the keys of pydantic's location; inner names of validators are no keys."""
    return tuple(str(part) for part in loc if isinstance(part, int) or "[" not in part)


def _moved(error: RequestError, where: str) -> RequestError:
    return RequestError(error.what, where=where, expected=error.expected, next_step=error.next_step)


def _line(text: str, path: tuple[str, ...]) -> tuple[int, int]:
    """Return how much of the key ``path`` is written somewhere, and on which line."""
    table: tuple[str, ...] = ()
    best = (0, 0)
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            table = here = _keys(header[1])
        elif key := _LINE.match(line):
            here = (*table, *_keys(key[1]))
        else:
            continue
        if path[: len(here)] == here and len(here) > best[0]:
            best = (len(here), number)
    return best


def _keys(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip("\"'") for part in re.findall(_KEY, dotted))
