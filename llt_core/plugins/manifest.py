"""Manifests: what a package offers, declared in TOML and read without importing it.

Plain dataclasses, not pydantic: listing plugins must stay below a third of a second.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from llt_core.kinds import Kind
from llt_core.plugins.errors import ManifestError

KINDS: tuple[str, ...] = get_args(Kind)
_TEXTS = ("kind", "target", "summary", "cost", "paper", "since", "architecture", "recipe", "member")
_NAME = re.compile(r"[\w-]+")
_TARGET = re.compile(r"[\w.]+:\w+")


@dataclass(frozen=True)
class Entry:
    """One name that one package offers.

    Attributes
    ----------
    target
        ``module:Class``; imported only when a composition needs it.
    needs
        Extra to install, download size, second order, GPU: whatever a user should know.
    architecture, recipe
        For a task: what is used when the user names none.
    member
        For a family such as ``torchvision/resnet18``: the parameter that receives the
        text after the slash.
    """

    name: str
    kind: Kind
    target: str
    summary: str
    package: str = ""
    package_version: str = ""
    cost: str = ""
    needs: Mapping[str, Any] = field(default_factory=dict)
    paper: str = ""
    since: str = ""
    architecture: str = ""
    recipe: str = ""
    member: str = ""
    source: str = ""

    @property
    def qualified(self) -> str:
        """``package/name``: unambiguous wherever the plain name is not."""
        return f"{self.package}/{self.name}"


def read_manifest(path: Path) -> dict[str, Any]:
    """Parse a TOML file.

    Raises
    ------
    ManifestError
        With the file and the line TOML complains about.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ManifestError(
            f"cannot read the manifest: {error}", where=str(path), expected="a TOML file"
        ) from error


def parse_entries(
    tables: Mapping[str, Any], *, package: str, version: str, source: str
) -> list[Entry]:
    """Turn the tables of a manifest into entries.

    Raises
    ------
    ManifestError
        Names the table and the key that is wrong.
    """
    return [_parse_entry(name, table, package, version, source) for name, table in tables.items()]


def check_entries(
    entries: Iterable[Entry], *, package: str, version: str, source: str
) -> list[Entry]:
    """Hold registrations made in Python to the same rules as a manifest.

    Raises
    ------
    ManifestError
        Names the registration and what is wrong with it.
    """
    tables: dict[str, dict[str, Any]] = {}
    for entry in entries:
        if not isinstance(entry, Entry):
            raise ManifestError(
                f"{entry!r} is not a registration",
                where=source,
                expected="llt_manifest() to return a path or llt_core.plugins.Entry objects",
            )
        if entry.name in tables:
            raise ManifestError(f"{entry.name!r} is registered twice", where=source)
        given = {key: getattr(entry, key) for key in (*_TEXTS, "needs")}
        tables[entry.name] = {key: value for key, value in given.items() if value}
    return parse_entries(tables, package=package, version=version, source=source)


def _parse_entry(name: str, table: Any, package: str, version: str, source: str) -> Entry:
    where = f"{source}, table [{name}]"
    _check_keys(name, table, where)
    _check_values(table, where)
    return Entry(name=name, package=package, package_version=version, source=source, **table)


def _check_keys(name: str, table: Any, where: str) -> None:
    """Refuse a name nobody can type, and a table with unknown or missing keys."""
    if not isinstance(table, dict):
        raise ManifestError(
            f"{name!r} is not a table", where=where, expected="[name] with kind, target, summary"
        )
    if not _NAME.fullmatch(name):
        raise ManifestError(
            f"the name {name!r} cannot be typed in a command",
            where=where,
            expected="letters, digits, '_' and '-' only",
        )
    unknown = set(table) - {*_TEXTS, "needs"}
    if unknown:
        raise ManifestError(
            f"unknown key(s): {', '.join(sorted(unknown))}",
            where=where,
            expected=f"only {', '.join((*_TEXTS, 'needs'))}",
        )
    for key in ("kind", "target", "summary"):
        if not table.get(key):
            raise ManifestError(f"the key {key!r} is missing", where=where, expected=f"{key} = …")


def _check_values(table: Mapping[str, Any], where: str) -> None:
    """Refuse values of other types than they should have, and kinds and targets that are none."""
    for key in _TEXTS:
        if not isinstance(table.get(key, ""), str):
            raise ManifestError(f"{key!r} is not a text", where=where, expected=f'{key} = "…"')
    if table["kind"] not in KINDS:
        raise ManifestError(
            f"unknown kind {table['kind']!r}", where=where, expected=f"one of {', '.join(KINDS)}"
        )
    if not _TARGET.fullmatch(table["target"]):
        raise ManifestError(
            f"target {table['target']!r} names no class", where=where, expected='"module:Class"'
        )
    needs = table.get("needs", {})
    if not isinstance(needs, Mapping) or not all(
        isinstance(value, str | bool | int | float) for value in needs.values()
    ):
        raise ManifestError(
            "'needs' is not a table of plain values",
            where=where,
            expected='needs = { extra = "…", second_order = true }',
        )
