"""A plan held against a store: what is there, what is missing, what can never be."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from llt_core.spec import MeasureCell
from llt_core.store import Record, Store
from llt_core.sweep.plan import Plan, PlannedCell


@dataclass(frozen=True)
class Look:
    """What a store holds of a plan.

    Attributes
    ----------
    todo
        The cells that must be computed, by digest, models first. A model is needed if it is
        asked for alone, or if a missing measurement reads it.
    found
        The records of the other cells that have one.
    lost
        Measurements of models that diverged in training, each with the digest of one.
    """

    todo: dict[str, PlannedCell]
    found: dict[str, Record] = field(default_factory=dict)
    lost: dict[str, str] = field(default_factory=dict)


def look(plan: Plan, store: Store | None, force: bool = False) -> Look:
    """Hold ``plan`` against ``store`` and change nothing; without one nothing is there yet.

    With ``force`` everything must be computed, whatever is there.
    """
    if force or store is None:
        return Look({planned.digest: planned for planned in plan.cells})
    found = {m.digest: r for m in plan.measures if (r := store.read(m.digest)) is not None}
    missing = {m.digest: m for m in plan.measures if m.digest not in found}
    needed = {digest for m in missing.values() for digest in models_of(m)}
    needed |= {digest for p in plan.points if not p.measures for digest in p.trains}
    trains: dict[str, PlannedCell] = {}
    diverged: set[str] = set()
    for train in plan.trains:
        record = store.read(train.digest)
        if train.digest in needed and not usable(store, train.digest, record):
            trains[train.digest] = train
        elif record is not None:
            found[train.digest] = record
            if record.status == "diverged":
                diverged.add(train.digest)
    lost = {
        digest: next(d for d in models_of(m) if d in diverged)
        for digest, m in missing.items()
        if not diverged.isdisjoint(models_of(m))
    }
    return Look(trains | {d: m for d, m in missing.items() if d not in lost}, found, lost)


def models_of(*cells: PlannedCell) -> tuple[str, ...]:
    """Return the digests that measure cells read, each once (train cells read none)."""
    found = [d for c in cells if isinstance(c.cell, MeasureCell) for d in c.cell.models]
    return tuple(dict.fromkeys(found))


def usable(store: Store, digest: str, record: Record | None) -> bool:
    """Whether a model's record is there and its checkpoint is what the record says."""
    if record is None:
        return False
    if record.checkpoint is None:
        return True
    file = store.path(digest) / record.checkpoint.file
    if file.is_file():
        with file.open("rb") as content:
            if hashlib.file_digest(content, "sha256").hexdigest() == record.checkpoint.sha256:
                return True
    return False
