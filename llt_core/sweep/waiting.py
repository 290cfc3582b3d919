"""Which measurements can start: those whose models have all ended, gathered by what they read."""

from __future__ import annotations

from collections import deque
from collections.abc import Container

from llt_core.spec import MeasureCell
from llt_core.sweep.plan import PlannedCell


class Waiting:
    """Groups of measurements, each released when the last model it reads has ended."""

    def __init__(self, measures: list[PlannedCell], todo: Container[str]) -> None:
        self.ready: deque[list[PlannedCell]] = deque()
        self._left: list[tuple[list[PlannedCell], set[str]]] = []
        self._readers: dict[str, list[int]] = {}
        for group in _groups(measures):
            pending = {digest for digest in models_of(*group) if digest in todo}
            if not pending:
                self.ready.append(group)
                continue
            for digest in pending:
                self._readers.setdefault(digest, []).append(len(self._left))
            self._left.append((group, pending))

    def ended(self, digest: str) -> None:
        """Hear that a cell ended, well or not."""
        for index in self._readers.pop(digest, ()):
            group, pending = self._left[index]
            pending.discard(digest)
            if not pending:
                self.ready.append(group)


def models_of(*cells: PlannedCell) -> tuple[str, ...]:
    """Return the digests that measure cells read, each once (train cells read none)."""
    found = [d for c in cells if isinstance(c.cell, MeasureCell) for d in c.cell.models]
    return tuple(dict.fromkeys(found))


def _groups(measures: list[PlannedCell]) -> list[list[PlannedCell]]:
    """Gather measurements that share loads and forward passes.

    All that read one and the same model go together, and so do all pairs and sets of one
    family: K models then cost K loads and K passes, not K².
    """
    groups: dict[tuple[str, tuple[str, ...]], list[PlannedCell]] = {}
    for planned in measures:
        models = models_of(planned)
        key = (planned.family, models if len(models) == 1 else ())
        groups.setdefault(key, []).append(planned)
    return list(groups.values())
