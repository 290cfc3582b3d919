"""Finding plugin packages: entry points of the group ``llt``, read but not imported.

A package that ships ``registry.toml`` beside its code is read from that file alone. Only
one without it has its entry-point module imported, guarded and alone, and is asked through
the hook ``llt_manifest``.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from llt_core.plugins.errors import ManifestError
from llt_core.plugins.manifest import Entry, parse_entries, read_manifest

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
    requirement: str = field(default="")


def find_packages() -> list[Package]:
    """Find every installed plugin package; a broken one is listed with its error."""
    strangers = os.environ.get(SWITCH, "").lower() not in ("off", "0", "none")
    found = []
    for point in importlib.metadata.entry_points(group=GROUP):
        if point.dist is None:
            continue
        package = Package(point.dist.name, point.dist.version, point.value)
        if package.name == BUILT_IN or strangers:
            found.append(read_package(package))
    return sorted(found, key=lambda package: (package.name != BUILT_IN, package.name))


def read_package(package: Package) -> Package:
    """Read what ``package`` offers; whatever goes wrong costs only this package."""
    try:
        path = _beside(package.module)
        if path is None:
            return replace(package, entries=tuple(_ask(package)))
        return replace(package, entries=tuple(_read(path, package)))
    except (Exception, SystemExit) as error:
        kind = "" if isinstance(error, ManifestError) else f"{type(error).__name__}: "
        return replace(package, error=f"{kind}{error}")


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
            entries += [
                replace(
                    entry,
                    package=package.name,
                    package_version=package.version,
                    source=package.module,
                )
                for entry in answer
            ]
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
    manager.register(module, name=package.name)
    try:
        manager.check_pending()
    except Exception:
        manager.unregister(module)
        raise
