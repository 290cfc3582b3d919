"""The tables of a sweep file: TOML read, included, merged, and where each key stands."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llt_core.errors import RequestError
from llt_core.spec.run import Named, RunSpec
from llt_core.spec.sweep_layers import PLUGINS, Tree, overlay

COMPOSITION = tuple(RunSpec.model_fields)
KEYS = (
    *("name", "title", "include", *COMPOSITION, "set", "axes", "zip", "exclude"),
    *("executor", "profiles"),
)
_NOT_IN_PROFILES = ("include", "profiles")
_TABLES = ("train", "set", "axes", "profiles")
_KEY = r"(?:[\w-]+|\"[^\"]*\"|'[^']*')"
_LINE = re.compile(rf"\s*({_KEY}(?:\s*\.\s*{_KEY})*)\s*=")
_HEADER = re.compile(rf"\s*\[\[?\s*({_KEY}(?:\s*\.\s*{_KEY})*)\s*\]\]?")


@dataclass(frozen=True)
class Document:
    """The tables of a sweep, merged from ``texts`` (file name → content, the last one wins).

    ``changes`` are the keys of these tables that ``--set`` puts over them, as dotted paths.
    """

    tree: Tree
    texts: tuple[tuple[str, str], ...] = ()
    stem: str = ""
    changes: tuple[str, ...] = ()

    def where(self, *path: str, profile: str = "") -> str:
        """Say where a key stands, in ``profile`` or outside: file, line and the key itself.

        A key that was changed from outside, in full or in part, stands there.
        """
        key = ".".join(path)
        changed = [c for c in self.changes if key and f"{c}.".startswith(f"{key}.")]
        changed += [c for c in self.changes if f"{key}.".startswith(f"{c}.")]
        if changed:
            return "--name" if changed[0] == "name" else f"--set {changed[0]}"
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
    return Document(overlay(merged, _normal(tree, document)), tuple(texts))


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
        text = path.read_text(encoding="utf-8-sig")  # some editors put a mark first
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
    return overlay(merged, _normal(tree, document)), [*texts, (str(path), text)]


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
        merged = overlay(merged, tree)
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
        for key in _TABLES:
            if key in profile and not isinstance(profile[key], Mapping):
                whole = f"profiles.{name}.{key}"
                raise _no_table(whole, profile[key], document, "profiles", name, key)
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
    """Return the tables with plugins as tables, so that they merge."""
    found = dict(tree)
    for key in PLUGINS:
        if isinstance(found.get(key), str | Named):
            named = located(Named.of, found[key], document, key)
            found[key] = {"name": named.name, **named.parameters}
    if "profiles" in found:
        found["profiles"] = {
            name: _normal(profile, document) for name, profile in found["profiles"].items()
        }
    return found


def located(read: Callable[[Any], Named], value: Any, document: Document, key: str) -> Named:
    """Return ``read(value)``, or say where in the file the value stands."""
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
