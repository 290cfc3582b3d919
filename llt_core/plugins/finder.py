"""Finding plugin packages: entry points of the group ``llt``, read but not imported.

A package that ships ``registry.toml`` beside its code is read from that file alone. Only
one without it has its entry-point module imported, guarded and alone, and is asked through
the hook ``llt_manifest``.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from llt_core.plugins.errors import ManifestError
from llt_core.plugins.manifest import Entry, check_entries, parse_entries, read_manifest

if TYPE_CHECKING:
    import pluggy

GROUP = "llt"
BUILT_IN = "llt"
MANIFEST = "registry.toml"
SWITCH = "LLT_PLUGINS"


@dataclass(frozen=True)
class Package:
    """One installed plugin package: what it offers, or why it cannot be used."""

    name: str
    version: str
    module: str
    entries: tuple[Entry, ...] = ()
    error: str = ""


def find_packages(disabled: Collection[str] = ()) -> list[Package]:
    """Find every installed plugin package; a broken one is listed with its error.

    No code of the packages named in ``disabled`` is imported, even if only that would tell
    what they offer.
    """
    strangers = os.environ.get(SWITCH, "").lower() not in ("off", "0", "none")
    found = [
        package if package.error else read_package(package, ask=package.name not in disabled)
        for package in _installed()
        if package.name == BUILT_IN or strangers
    ]
    return sorted(found, key=lambda package: (package.name != BUILT_IN, package.name))


def read_package(package: Package, *, ask: bool = True) -> Package:
    """Read what ``package`` offers; whatever goes wrong costs only this package."""
    try:
        path = _beside(package.module)
        if path is not None:
            return replace(package, entries=tuple(_read(path, package)))
        return replace(package, entries=tuple(_ask(package))) if ask else package
    except (Exception, SystemExit) as error:
        return replace(package, error=_describe(error))


def installed_version(name: str) -> str | None:
    """Return the version of a distribution, None if it is not installed."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _installed() -> Iterator[Package]:
    """Yield every distribution that has an entry point of the group, once, unread.

    Distributions are looked at one by one: ``importlib.metadata.entry_points`` raises when
    any of them, related to llt or not, has an ``entry_points.txt`` it cannot parse.
    """
    seen = set()
    for distribution in importlib.metadata.distributions():
        try:
            if f"[{GROUP}]" not in (distribution.read_text("entry_points.txt") or ""):
                continue
            facts = distribution.metadata
            if "Name" not in facts:  # what an interrupted installation leaves behind
                continue
            name, version = facts["Name"], facts["Version"]
        except Exception:
            continue
        canonical = name.lower().replace("_", "-").replace(".", "-")
        if canonical not in seen:
            seen.add(canonical)
            yield _with_entry_point(Package(name, version, ""), distribution)


def _with_entry_point(package: Package, distribution: importlib.metadata.Distribution) -> Package:
    try:
        found = [point.value for point in distribution.entry_points if point.group == GROUP]
    except Exception as error:
        return replace(package, error=f"its entry_points.txt cannot be read: {_describe(error)}")
    if len(found) != 1:
        return replace(
            package,
            module=", ".join(found),
            error=f"it has {len(found)} entry points in the group {GROUP!r}; expected one",
        )
    return replace(package, module=found[0])


def _describe(error: BaseException) -> str:
    kind = "" if isinstance(error, ManifestError) else f"{type(error).__name__}: "
    return f"{kind}{error}"


def _beside(module: str) -> Path | None:
    """Return the manifest beside the top-level package of ``module``, importing nothing."""
    spec = importlib.util.find_spec(module.partition(".")[0].partition(":")[0])
    if spec is None:
        raise ModuleNotFoundError(f"the entry point names {module}, which is not there")
    for folder in spec.submodule_search_locations or ():
        if (Path(folder) / MANIFEST).is_file():
            return Path(folder) / MANIFEST
    return None


def _ask(package: Package) -> list[Entry]:
    """Import the entry-point module of one package and call its ``llt_manifest``."""
    manager = new_manager()
    register(manager, package)
    answers: list[str | Path | Iterable[Entry]] = manager.hook.llt_manifest()
    if not answers:
        raise ManifestError(
            "the package declares nothing",
            where=package.module,
            expected=f"a {MANIFEST} beside its code, or a hook llt_manifest()",
        )
    entries: list[Entry] = []
    for answer in answers:
        if isinstance(answer, str | Path):
            entries += _read(Path(answer), package)
        else:
            entries += check_entries(
                answer, package=package.name, version=package.version, source=package.module
            )
    return entries


def _read(path: Path, package: Package) -> list[Entry]:
    return parse_entries(
        read_manifest(path), package=package.name, version=package.version, source=str(path)
    )


def new_manager() -> pluggy.PluginManager:
    """Return a plugin manager that knows llt's hooks and no plugins."""
    import pluggy

    from llt_core.plugins import hookspecs

    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    return manager


def register(manager: pluggy.PluginManager, package: Package) -> None:
    """Import the entry-point module of ``package`` into ``manager``.

    Raises
    ------
    Exception
        Whatever the import raises, or pluggy's complaint about a misspelt hook.
    """
    module = importlib.import_module(package.module.partition(":")[0])
    register_hooks(manager, module, package.name)


def register_hooks(manager: pluggy.PluginManager, hooks: object, name: str) -> None:
    """Let ``manager`` call the hooks that are attributes of ``hooks``.

    Raises
    ------
    PluginValidationError
        A hook is misspelt, or wants facts that it does not get; then none of them is called.
    """
    import pluggy

    try:
        manager.register(hooks, name=name)
        manager.check_pending()
    except pluggy.PluginValidationError:
        if manager.is_registered(hooks):  # some versions of pluggy register, then validate
            manager.unregister(hooks)
        raise
