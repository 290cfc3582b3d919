"""The catalogue of a process that does one job after the other.

Discovery reads every installed distribution and manifest: some ten milliseconds, as much as a
small job takes. A long-lived process asks here instead and gets the catalogue it has, unless
something from which it was made has changed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from llt_core.plugins.catalogue import Catalogue, search_start
from llt_core.plugins.finder import SWITCH
from llt_core.plugins.settings import find_settings

Stamp = tuple[int, int, int]


@dataclass(frozen=True)
class _Known:
    """A catalogue, where it was looked for, and what the files said that it was read from."""

    catalogue: Catalogue
    place: tuple[object, ...]
    stamps: dict[str, Stamp | None]


_known: _Known | None = None


def current_catalogue() -> Catalogue:
    """Return what :meth:`Catalogue.discover` would, without reading what has not changed.

    A package that is installed or removed changes the folder it lies in; an ``llt.toml`` or a
    manifest that is edited has another time. A catalogue with anything broken in it is read
    anew each time, because what would mend it is not known.
    """
    global _known
    known, place = _known, _place()
    if known is not None and known.place == place and _stamps(known.stamps) == known.stamps:
        return known.catalogue
    stamps = _stamps(sys.path)  # before reading: what changes meanwhile is then read again
    catalogue = Catalogue.discover()
    sources = {entry.source for entry in catalogue.entries} | {str(catalogue.settings.path)}
    sound = catalogue.settings_error is None and not catalogue.broken
    _known = _Known(catalogue, place, stamps | _stamps(sources)) if sound else None
    return catalogue


def _place() -> tuple[object, ...]:
    start = search_start()
    return (start, find_settings(start), os.environ.get(SWITCH), *sys.path)


def _stamps(paths: Iterable[str]) -> dict[str, Stamp | None]:
    found: dict[str, Stamp | None] = {}
    for path in paths:
        try:
            stat = Path(path or ".").stat()
            found[path] = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        except OSError:
            found[path] = None
    return found
