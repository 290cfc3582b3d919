"""What a store holds that nobody needs any more, and how it is deleted.

Nothing a sweep names is garbage, nor what somebody computes or has touched of late.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from llt_core.errors import LltError, RequestError
from llt_core.spec import MeasureCell
from llt_core.store.cells import Store, is_abandoned
from llt_core.store.claims import claim_files
from llt_core.store.states import live_drivers, running
from llt_core.store.sweeps import SweepRecord, names, recall

DAY = 86400.0
ELSEWHERE = 7 * DAY
"""Age from which files are abandoned whose process may have been on another machine."""

Kind = Literal["tmp", "drivers", "claims", "partial", "logs", "failures", "broken", "executors",
               "cells", "maps", "sweeps"]  # fmt: skip
MEANING: dict[Kind, str] = {
    "tmp": "left by processes that died",
    "drivers": "drivers that died",
    "claims": "held by drivers that died",
    "partial": "checkpoints of trainings that are finished, or that nobody wants",
    "logs": "of cells that are done since, or that nobody wants",
    "failures": "of cells that are done since, or that nobody wants",
    "broken": "cells that could not be read",
    "executors": "files of executors without a job",
    "cells": "finished cells that no sweep names",
    "maps": "of sweeps whose names are forgotten",
    "sweeps": "names to be forgotten",
}


@dataclass(frozen=True)
class Item:
    """One file or folder that can go."""

    kind: Kind
    path: Path
    bytes: int


@dataclass(frozen=True)
class Wanted:
    """What must stay: cells that sweeps name, and whether all of them could be read."""

    cells: frozenset[str]
    unreadable: tuple[str, ...] = ()


@dataclass
class Collector:
    """Finds garbage in one store.

    Attributes
    ----------
    older_than
        Seconds for which nothing may have touched what goes.
    unnamed
        Finished cells that no sweep names are garbage, too.
    forget
        Sweeps whose names go; what only they name is then named by no one.
    """

    store: Store
    older_than: float = DAY
    unnamed: bool = False
    forget: tuple[str, ...] = ()

    def find(self) -> list[Item]:
        """Return everything that can go, each with its size.

        Raises
        ------
        LltError
            A sweep to be forgotten is unknown, or somebody is at work on it. With ``unnamed``:
            the file of a sweep cannot be read, or somebody is at work on what no sweep names.
        """
        self._now = time.time()
        self._busy = running(self.store)
        self._live = live_drivers(self.store)
        self._finished = set(self.store.digests())
        for name in self.forget:
            self._check_forgettable(name)
        self._wanted = _wanted(self.store, self.forget)
        if self.unnamed:
            self._check_complete()
        steps: tuple[Callable[[], Iterator[Item]], ...] = (
            self._sweeps, self._tmp, self._drivers, self._claims, self._partial, self._logs,
            self._failures, self._broken, self._executors, self._cells, self._maps,
        )  # fmt: skip
        return [item for step in steps for item in step()]

    def _check_forgettable(self, name: str) -> None:
        recall(self.store, name)
        if any(driver.sweep == name for driver in self._live):
            raise RequestError(
                f"somebody is at work on the sweep {name!r}",
                where=str(self.store.root),
                expected="a sweep that nobody is computing",
                next_step=f"llt cancel {name}",
            )

    def _check_complete(self) -> None:
        """Refuse to call cells unnamed while names are unknown."""
        if self._wanted.unreadable:
            raise LltError(
                f"nobody can tell what {', '.join(map(repr, self._wanted.unreadable))} names: "
                "the file cannot be read",
                where=str(self.store.root / "sweeps"),
                expected="sweeps that can be read, for --unnamed",
                next_step="llt sweep FILE.toml writes it anew, or delete the file",
            )
        known = set(names(self.store)) - set(self.forget)
        for driver in self._live:
            if driver.sweep not in known:
                raise RequestError(
                    "somebody is at work on cells that no sweep names",
                    where=f"{driver.host}, process {driver.pid}: {driver.command}",
                    expected="for --unnamed, nobody at work but on sweeps that have a name",
                    next_step="wait until it has ended",
                )
        strays = sorted(self._busy.keys() - self._wanted.cells)
        if strays:
            raise RequestError(
                "jobs compute cells that no sweep names",
                where=", ".join(strays[:3]),
                expected="for --unnamed, nobody at work but on sweeps that have a name",
                next_step="wait until they have ended",
            )

    def _sweeps(self) -> Iterator[Item]:
        for name in self.forget:
            path = self.store.root / "sweeps" / f"{name}.json"
            yield Item("sweeps", path, _measure(path)[0])

    def _tmp(self) -> Iterator[Item]:
        for path in _children(self.store.root / "tmp"):
            age = self.older_than if is_abandoned(path.name) else ELSEWHERE
            yield from self._item("tmp", path, age)

    def _drivers(self) -> Iterator[Item]:
        tokens = {driver.token for driver in self._live}
        for path in _children(self.store.root / "drivers", hidden=True):
            if path.name.lstrip(".").partition(".")[0] not in tokens:
                yield from self._item("drivers", path)

    def _claims(self) -> Iterator[Item]:
        tokens = {driver.token for driver in self._live}
        for path, claim in claim_files(self.store.root):
            held = claim is not None and (
                claim.driver in tokens or (claim.handle and path.parent.name not in self._finished)
            )
            if not held:
                yield from self._item("claims", path)

    def _partial(self) -> Iterator[Item]:
        for path in _children(self.store.root / "partial"):
            if path.name in self._finished or (self.unnamed and self._unwanted(path.name)):
                yield from self._item("partial", path, cell=path.name)

    def _logs(self) -> Iterator[Item]:
        for path in _children(self.store.root / "logs"):
            if self._over(path.stem):
                yield from self._item("logs", path, cell=path.stem)

    def _failures(self) -> Iterator[Item]:
        for path in _children(self.store.root / "failures"):
            if self._over(path.name):
                yield from self._item("failures", path, cell=path.name)

    def _broken(self) -> Iterator[Item]:
        for path in _children(self.store.root / "broken"):
            yield from self._item("broken", path)

    def _executors(self) -> Iterator[Item]:
        used = {driver.executor or "unnamed" for driver in self._live}
        used |= {cell.executor for cell in self._busy.values()}
        for path in _children(self.store.root / "executors"):
            if path.name not in used:
                yield from self._item("executors", path)

    def _cells(self) -> Iterator[Item]:
        """Yield cells no sweep names, measurements before the models they read."""
        if not self.unnamed:
            return
        kept = {d for d in self._finished if not self._unwanted(d) or d in self._busy}
        young = {d for d in self._finished - kept if not self._old(self.store.path(d))}
        kept |= young
        # The models of what a sweep names are named by it, too.
        read = {m for digest in kept - self._wanted.cells for m in self._models(digest)}
        for models in (False, True):
            for digest in sorted(self._finished - kept - read):
                path = self.store.path(digest)
                if (path / "model.safetensors").exists() == models:
                    yield from self._item("cells", path, cell=digest)

    def _maps(self) -> Iterator[Item]:
        known = set(names(self.store))
        for path in _children(self.store.root / "maps"):
            if path.stem in self.forget:
                yield Item("maps", path, _measure(path)[0])
            elif path.stem not in known:
                yield from self._item("maps", path)

    def _models(self, digest: str) -> tuple[str, ...]:
        """Return the models that a finished measurement reads."""
        record = self.store.read(digest)
        if record is None or not isinstance(record.cell, MeasureCell):
            return ()
        return record.cell.models

    def _over(self, digest: str) -> bool:
        """Whether what is noted of a cell's attempts is of no use any more."""
        return digest in self._finished or self._unwanted(digest)

    def _unwanted(self, digest: str) -> bool:
        """Whether no sweep names a cell; nobody knows while some cannot be read."""
        return digest not in self._wanted.cells and not self._wanted.unreadable

    def _item(
        self, kind: Kind, path: Path, age: float | None = None, cell: str = ""
    ) -> Iterator[Item]:
        if cell in self._busy:
            return
        size, touched = _measure(path)
        if self._now - touched >= max(self.older_than, age or 0.0):
            yield Item(kind, path, size)

    def _old(self, path: Path) -> bool:
        return self._now - _measure(path)[1] >= self.older_than


def delete(store: Store, items: Iterable[Item]) -> list[Item]:
    """Delete what was found, and return what could not be deleted.

    Each thing first moves out of its place by one rename, so that a reader, or a crash, finds
    it whole or not at all.
    """
    left = []
    with store.staging("garbage") as folder:
        for number, item in enumerate(items):
            try:
                item.path.rename(folder / str(number))
            except FileNotFoundError:
                continue  # somebody else was first
            except OSError:
                left.append(item)
                continue
            if item.kind == "claims":  # not those of cells: one may just be put there
                with suppress(OSError):
                    item.path.parent.rmdir()  # if it is empty
            shutil.rmtree(folder / str(number), ignore_errors=True)
    return left


def _wanted(store: Store, forgotten: Iterable[str]) -> Wanted:
    cells: set[str] = set()
    unreadable = []
    for name in set(names(store)) - set(forgotten):
        try:
            sweep: SweepRecord = recall(store, name)
        except LltError:
            unreadable.append(name)
            continue
        cells.update(sweep.models, sweep.measures)
    return Wanted(frozenset(cells), tuple(sorted(unreadable)))


def _children(folder: Path, *, hidden: bool = False) -> list[Path]:
    try:
        found = sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [path for path in found if hidden or not path.name.startswith(".")]


def _measure(path: Path) -> tuple[int, float]:
    """Return the bytes of a file or folder, and when anything in it was touched last."""
    size, touched = 0, 0.0
    for one in (path, *(Path(root) / name for root, dirs, files in os.walk(path)
                        for name in (*dirs, *files))):  # fmt: skip
        with suppress(OSError):
            stat = one.lstat()
            touched = max(touched, stat.st_mtime)
            size += stat.st_size if not one.is_dir() else 0
    return size, touched
