"""All names that are on offer, and who owns each."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from llt_core.kinds import Kind
from llt_core.plugins.errors import (
    BrokenPluginError,
    ManifestError,
    PluginClashError,
    UnknownPluginError,
)
from llt_core.plugins.finder import Package, find_packages, installed_version
from llt_core.plugins.manifest import Entry
from llt_core.plugins.settings import LOCAL, Settings, find_settings, read_settings

START_VARIABLE = "LLT_SETTINGS"
"""Environment variable: the folder in which the search for ``llt.toml`` begins, instead of the
current one. Jobs that run a copy of the code find the copied ``llt.toml`` by it."""

State = Literal["ok", "clash", "shadowed", "disabled"]
"""``shadowed``: ``[prefer]`` gives the plain name to another package; ``package/name`` works."""


@dataclass(frozen=True)
class Resolved:
    """The entry a name stands for; ``member`` is the part after a family's slash."""

    entry: Entry
    member: str = ""


class Catalogue:
    """Every registration of every package, and the rules by which a name is resolved.

    Building one imports no plugin code (see :mod:`llt_core.plugins.finder`).
    """

    def __init__(self, packages: Iterable[Package], settings: Settings | None = None) -> None:
        self.packages = tuple(packages)
        self.settings = settings or Settings()
        self.settings_error: ManifestError | None = None

    @classmethod
    def discover(cls, start: Path | None = None) -> Catalogue:
        """Read all installed packages and the nearest ``llt.toml``.

        A broken ``llt.toml`` does not raise here, so that ``llt list-plugins`` and
        ``llt doctor`` always work; resolving a name raises it.
        """
        try:
            settings = read_settings(find_settings(start or search_start()))
        except ManifestError as error:
            catalogue = cls(find_packages())
            catalogue.settings_error = error
            return catalogue
        return cls(find_packages(settings.disable), settings)

    @cached_property
    def entries(self) -> tuple[Entry, ...]:
        """All entries of all packages, disabled and clashing ones included."""
        installed = [entry for package in self.packages for entry in package.entries]
        return (*installed, *self.settings.entries)

    @property
    def broken(self) -> tuple[Package, ...]:
        """Packages that could not be read, save those the user switched off."""
        return tuple(p for p in self.packages if p.error and p.name not in self.settings.disable)

    def state(self, entry: Entry) -> State:
        """Say whether the plain name of ``entry`` can be used."""
        if self.settings.disabled(entry):
            return "disabled"
        owners = {owner.package for owner in self._owners(entry.kind, entry.name)}
        preferred = self.settings.prefer.get(entry.name)
        if len(owners) == 1 or entry.package == preferred:
            return "ok"
        return "shadowed" if preferred in owners else "clash"

    def resolve(self, kind: Kind, name: str) -> Resolved:
        """Find the entry that ``name`` stands for.

        ``name`` is a plain name, ``package/name``, or a member of a family
        (``torchvision/resnet18``, ``package/torchvision/resnet18``).

        Raises
        ------
        UnknownPluginError
            With near matches.
        PluginClashError
            Names both owners and the line that settles it.
        BrokenPluginError
            ``name`` is addressed to a package that cannot be read.
        """
        self._check()
        head, _, rest = name.partition("/")
        if rest and head in self._package_names:
            self._check_usable(head)
            entries = [e for e in self._owners(kind, rest.partition("/")[0]) if e.package == head]
            head, _, rest = rest.partition("/")
        else:
            entries = self._owners(kind, head)
            if len(entries) > 1:
                entries = [self._settle(kind, head, entries)]
        if rest:
            entries = [entry for entry in entries if entry.member]
        if not entries:
            raise self._unknown(kind, name)
        return Resolved(entries[0], rest)

    def find(self, name: str) -> list[Entry]:
        """Return every enabled entry that ``name`` could mean, of any kind.

        Raises
        ------
        UnknownPluginError
            With near matches.
        BrokenPluginError
            ``name`` is addressed to a package that cannot be read.
        """
        self._check_usable(name.partition("/")[0])
        found = [
            entry
            for entry in self.entries
            if not self.settings.disabled(entry)
            and (
                name in (entry.name, entry.qualified)
                or (entry.member and name.startswith((f"{entry.name}/", f"{entry.qualified}/")))
            )
        ]
        if not found:
            raise self._unknown(None, name)
        return found

    def _owners(self, kind: Kind, name: str) -> list[Entry]:
        return [
            entry
            for entry in self.entries
            if entry.kind == kind and entry.name == name and not self.settings.disabled(entry)
        ]

    @cached_property
    def _package_names(self) -> frozenset[str]:
        return frozenset({package.name for package in self.packages} | {LOCAL})

    def _check_usable(self, name: str) -> None:
        """Raise if ``name`` is a package that is installed but cannot be read."""
        for package in self.broken:
            if package.name == name:
                raise BrokenPluginError(
                    f"the package {name} {package.version} is broken: {package.error}",
                    where=package.module,
                    expected="a package whose plugins can be listed",
                    next_step=f"update or remove {name}, or disable it in llt.toml",
                )

    def _settle(self, kind: Kind, name: str, entries: list[Entry]) -> Entry:
        """Apply ``prefer``; of several owners none is taken by accident."""
        preferred = self.settings.prefer.get(name)
        for entry in entries:
            if entry.package == preferred:
                return entry
        owners = [entry.package for entry in entries]
        raise PluginClashError(
            f"the {kind} {name!r} is offered by {' and by '.join(owners)}",
            where=", ".join(entry.source for entry in entries),
            expected="one owner for each name",
            next_step=f"write {owners[0]}/{name} or {owners[-1]}/{name}, or settle it in llt.toml: "
            f'[prefer] {name} = "{owners[0]}"',
        )

    def _unknown(self, kind: Kind | None, name: str) -> UnknownPluginError:
        entries = [
            e
            for e in self.entries
            if (kind is None or e.kind == kind) and not self.settings.disabled(e)
        ]
        known = sorted({e.name for e in entries} | {e.qualified for e in entries if "/" in name})
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
        what = f"no {kind or 'plugin'} is called {name!r}"
        named = [e for e in self.entries if name in (e.name, e.qualified)]
        others = sorted({e.kind for e in named if e.kind != kind})
        off = [e for e in named if self.settings.disabled(e)]
        if off:
            what += f" ({off[0].qualified} is disabled in {self.settings.path})"
        elif others:
            what += f" (there is a plugin of kind {others[0]} by that name)"
        flag = f" --kind {kind}" if kind else ""
        hidden = "; ".join(f"{p.name} {p.version}: {p.error.splitlines()[0]}" for p in self.broken)
        return UnknownPluginError(
            what,
            where=f"it may be in a package that is broken ({hidden})" if hidden else "",
            expected=f"did you mean {' or '.join(near)}?" if near else "a registered name",
            next_step=f"llt list-plugins{flag}",
        )

    def _check(self) -> None:
        """Raise what ``llt.toml`` demands before anything is resolved."""
        if self.settings_error is not None:
            raise self.settings_error
        for text in self.settings.require:
            problem = _unmet(text)
            if problem:
                raise BrokenPluginError(
                    f"the required package {text!r} {problem}",
                    where=str(self.settings.path),
                    expected="every package under 'require' installed",
                    next_step=f"pip install '{text}'",
                )


def search_start() -> Path:
    """Return the folder in which the search for ``llt.toml`` begins."""
    return Path(os.environ.get(START_VARIABLE) or Path.cwd())


def _unmet(text: str) -> str:
    """Say how an installed package misses the requirement ``text``; empty if it does not."""
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        requirement = Requirement(text)
    except InvalidRequirement:
        return "is not a requirement that pip understands"
    version = installed_version(requirement.name)
    if version is None:
        return "is not installed"
    if not requirement.specifier.contains(version, prereleases=True):
        return f"is installed as {version}"
    return ""
