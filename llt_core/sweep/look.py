"""A plan held against a store: what is there, what is missing, what can never be."""

from __future__ import annotations

from dataclasses import dataclass, field

from llt_core.spec import MeasureCell
from llt_core.store import Record, Store
from llt_core.store.checkpoints import complete
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
    found = {p.digest: r for p in plan.cells if (r := store.read(p.digest)) is not None}
    diverged = {t.digest for t in plan.trains if t.digest in found and _diverged(found[t.digest])}
    missing = {m.digest: m for m in plan.measures if m.digest not in found}
    lost = {
        digest: next(d for d in models_of(m) if d in diverged)
        for digest, m in missing.items()
        if not diverged.isdisjoint(models_of(m))
    }
    measures = {digest: m for digest, m in missing.items() if digest not in lost}
    needed = {digest for m in measures.values() for digest in models_of(m)}
    needed |= {digest for p in plan.points if not p.measures for digest in p.trains}
    trains = {
        t.digest: t
        for t in plan.trains
        if t.digest in needed and not usable(store, found.get(t.digest))
    }
    for digest in trains:
        found.pop(digest, None)
    return Look(trains | measures, found, lost)


def _diverged(record: Record) -> bool:
    return record.status == "diverged"


def models_of(*cells: PlannedCell) -> tuple[str, ...]:
    """Return the digests that measure cells read, each once (train cells read none)."""
    found = [d for c in cells if isinstance(c.cell, MeasureCell) for d in c.cell.models]
    return tuple(dict.fromkeys(found))


def usable(store: Store, record: Record | None) -> bool:
    """Whether a model's record is there, and the whole of its checkpoint."""
    return record is not None and complete(store, record)
