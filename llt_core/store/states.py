"""What became of the cells of a sweep, for people who watch: looked up in few reads.

A sweep has thousands of cells, so folders are listed and not asked for one by one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Container, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from llt_core.store.cells import RECORD_FILE, Store
from llt_core.store.claims import read_claims
from llt_core.store.drivers import DriverRecord, drivers, seems_alive
from llt_core.store.records import Checkpoint
from llt_core.store.sweeps import SweepRecord

CellState = Literal["done", "diverged", "failed", "blocked", "running", "waiting"]
"""``diverged``: trained, but there is nothing to measure. ``blocked``: a model that is to be
measured diverged, or has failed and was not trained since."""
_CHECKPOINT = str(Checkpoint.model_fields["file"].default)


@dataclass(frozen=True)
class Running:
    """A cell that somebody has computed just now.

    ``driver`` is None where the driver of a job is gone and the job may go on without it, under
    the name ``handle``.
    """

    digest: str
    driver: DriverRecord | None
    executor: str = ""
    handle: str = ""

    @property
    def who(self) -> str:
        """The process, or else the job, that computes it."""
        if self.driver is None:
            return f"job {self.handle} of {self.executor}"
        return f"process {self.driver.pid} on {self.driver.host}"

    @property
    def facts(self) -> Mapping[str, Any]:
        """What its driver says of it: label, done, total, text."""
        return {} if self.driver is None else self.driver.running.get(self.digest, {})


def live_drivers(store: Store) -> list[DriverRecord]:
    """Return the drivers that seem to be at work on the store."""
    return [driver for driver in drivers(store) if seems_alive(store, driver)]


def running(store: Store, live: list[DriverRecord] | None = None) -> dict[str, Running]:
    """Return the cells that are being computed, by digest.

    ``live`` are the :func:`live_drivers`, if they are known.
    """
    by_token = {driver.token: driver for driver in (live_drivers(store) if live is None else live)}
    found: dict[str, Running] = {}
    for digest, claim in read_claims(store.root):
        driver = by_token.get(claim.driver)
        if driver is not None or claim.handle:
            found[digest] = Running(digest, driver, claim.executor, claim.handle)
    return found


class Glance:
    """Looks at a store, again and again: which cells are finished, and which have failed."""

    def __init__(self, store: Store) -> None:
        self._root = store.root
        self._finished: set[str] = set()
        self._failed: set[str] = set()
        self._measurable: set[str] = set()

    def again(self) -> None:
        """Look."""
        shards = _listed(self._root / "cells")
        self._finished = {
            name for shard in shards for name in _listed(self._root / "cells" / shard)
        }
        self._measurable &= self._finished
        self._failed = set(_listed(self._root / "failures"))

    def states(self, sweep: SweepRecord, at_work: Container[str] = ()) -> dict[str, CellState]:
        """Return the state of every cell of a sweep, as of the last look.

        ``at_work`` are the cells that are being computed.
        """
        found = {digest: self._model(digest, at_work) for digest in sweep.models}
        reads = sweep.reads
        lost = {digest for digest, state in found.items() if state in ("diverged", "failed")}
        for digest in sweep.measures:
            if digest in self._finished:
                found[digest] = "done"
            elif digest in at_work:
                found[digest] = "running"
            elif not lost.isdisjoint(reads.get(digest, ())):
                found[digest] = "blocked"
            else:
                found[digest] = "failed" if digest in self._failed else "waiting"
        return found

    def _model(self, digest: str, at_work: Container[str]) -> CellState:
        if digest in self._finished:
            return self._outcome(digest)
        if digest in at_work:
            return "running"
        return "failed" if digest in self._failed else "waiting"

    def _outcome(self, digest: str) -> CellState:
        """Say how a training ended: one that diverged has no checkpoint."""
        folder = self._root / "cells" / digest[:2] / digest
        if digest not in self._measurable:
            if not (folder / _CHECKPOINT).exists():
                try:
                    record = json.loads((folder / RECORD_FILE).read_bytes())
                    return "diverged" if record["status"] == "diverged" else "done"
                except (OSError, ValueError, KeyError, TypeError):
                    return "waiting"  # nobody can read it: it will be computed again
            self._measurable.add(digest)
        return "done"


def completed(sweep: SweepRecord, states: Mapping[str, CellState]) -> int:
    """Return at how many grid points nothing is left to do: all is measured that ever can be."""
    reads = sweep.reads

    def final(digest: str) -> bool:
        return states[digest] == "done" or (
            states[digest] == "blocked"
            and any(states[model] == "diverged" for model in reads.get(digest, ()))
        )

    return sum(
        all(map(final, point.measures))
        if point.measures
        else all(states[digest] in ("done", "diverged") for digest in point.models)
        for point in sweep.points
    )


def _listed(folder: Path) -> list[str]:
    with suppress(FileNotFoundError, NotADirectoryError):
        return [name for name in os.listdir(folder) if not name.startswith(".")]
    return []
