"""A user's own ``llt.toml``: extra registrations, and who may use which name.

It has the shape of a manifest plus reserved keys::

    disable = ["flaky-package", "hello/noisy_metric"]
    require = ["llt-hello>=0.2"]
    executor = "slurm"

    [executors.slurm]
    partition = "gpu"

    [prefer]
    hessian_trace = "llt"

    [track.mlflow]
    to = "sqlite:///mlflow.db"

    [my_metric]
    kind = "metric"
    target = "my_metrics:MyMetric"
    summary = "…"
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llt_core.plugins.errors import ManifestError
from llt_core.plugins.manifest import Entry, parse_entries, read_manifest

FILE_NAME = "llt.toml"
LOCAL = "local"
"""The package name under which a user's own registrations are listed."""


@dataclass(frozen=True)
class Settings:
    """What ``llt.toml`` says; empty when there is none."""

    path: Path | None = None
    disable: frozenset[str] = frozenset()
    require: tuple[str, ...] = ()
    prefer: Mapping[str, str] = field(default_factory=dict)
    entries: tuple[Entry, ...] = ()
    executor: str = ""
    executors: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    track: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def disabled(self, entry: Entry) -> bool:
        """Whether the user switched off the entry's package or the entry itself."""
        return bool({entry.package, entry.qualified, entry.name} & self.disable)


def find_settings(start: Path) -> Path | None:
    """Return the nearest ``llt.toml`` in ``start`` or a folder above it."""
    for folder in (start, *start.parents):
        if (folder / FILE_NAME).is_file():
            return folder / FILE_NAME
    return None


def read_settings(path: Path | None) -> Settings:
    """Read ``llt.toml``.

    Raises
    ------
    ManifestError
        Names the file and the key that is wrong.
    """
    if path is None:
        return Settings()
    tables = read_manifest(path)
    disable = _texts(tables.pop("disable", []), "disable", path)
    require = _texts(tables.pop("require", []), "require", path)
    prefer = tables.pop("prefer", {})
    if not isinstance(prefer, dict) or not all(isinstance(v, str) for v in prefer.values()):
        raise ManifestError(
            "'prefer' is wrong", where=str(path), expected='[prefer] with name = "package"'
        )
    executor = tables.pop("executor", "")
    if not isinstance(executor, str):
        raise ManifestError("'executor' is wrong", where=str(path), expected='executor = "NAME"')
    executors = _tables(tables.pop("executors", {}), "executors", path)
    track = _tables(tables.pop("track", {}), "track", path)
    entries = parse_entries(tables, package=LOCAL, version="", source=str(path))
    return Settings(
        path,
        frozenset(disable),
        tuple(require),
        prefer,
        tuple(entries),
        executor=executor,
        executors=executors,
        track=track,
    )


def _texts(value: Any, key: str, path: Path) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ManifestError(f"{key!r} is wrong", where=str(path), expected=f'{key} = ["…", "…"]')
    return value


def _tables(value: Any, key: str, path: Path) -> dict[str, dict[str, Any]]:
    if not isinstance(value, dict) or not all(isinstance(item, dict) for item in value.values()):
        raise ManifestError(
            f"{key!r} is wrong", where=str(path), expected=f"tables of parameters: [{key}.NAME]"
        )
    return value
