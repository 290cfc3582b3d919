"""What to start next: measurements whose models exist first, then the next model."""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Iterable

from llt_core.sweep.look import models_of
from llt_core.sweep.plan import Plan, PlannedCell


class Agenda:
    """The cells still to do, handed out in groups that one job computes.

    A group of measurements is handed out when the last model it reads has ended, well or not.
    """

    def __init__(
        self, plan: Plan, todo: Container[str], running: Container[str] = frozenset()
    ) -> None:
        self._ready: deque[list[PlannedCell]] = deque()
        self._trains = deque(
            t for t in plan.in_order() if t.digest in todo and t.digest not in running
        )
        self._pending: list[tuple[list[PlannedCell], set[str]]] = []
        self._readers: dict[str, list[int]] = {}
        self._held: list[PlannedCell] = []
        self._reconsidered: deque[PlannedCell] = deque()
        measures = [m for m in plan.measures if m.digest in todo and m.digest not in running]
        for group in _groups(measures):
            self._after(group, {digest for digest in models_of(*group) if digest in todo})

    def next(self) -> list[PlannedCell] | None:
        """Hand out a group, None when nothing can start just now."""
        if self._ready:
            return self._ready.popleft()
        if self._reconsidered:
            return [self._reconsidered.popleft()]
        return [self._trains.popleft()] if self._trains else None

    def ended(self, digest: str) -> None:
        """Hear that a model ended, well or not."""
        for index in self._readers.pop(digest, ()):
            group, pending = self._pending[index]
            pending.discard(digest)
            if not pending:
                self._ready.append(group)

    def again(self, planned: PlannedCell) -> None:
        """Take a cell back that has to be tried again; it is the next to start, by itself."""
        self._ready.appendleft([planned])

    def anew(self, models: Iterable[PlannedCell], reader: PlannedCell) -> None:
        """Take a measurement back whose models are damaged and have to be trained first."""
        models = list(models)
        self._trains.extendleft(m for m in models if m.digest not in self._readers)
        self._after([reader], {model.digest for model in models})

    def awaited(self, digest: str) -> bool:
        """Whether something waits for this model to end."""
        return digest in self._readers

    def later(self, planned: PlannedCell) -> None:
        """Take a cell back that somebody else is computing."""
        self._held.append(planned)

    def reconsider(self) -> None:
        """Hand out once more what somebody else was computing."""
        self._reconsidered.extend(self._held)
        self._held.clear()

    def release(self, digests: Container[str]) -> list[PlannedCell]:
        """Give up cells that somebody else was computing: they are taken over, with their job."""
        released = [planned for planned in self.held if planned.digest in digests]
        self._held = [p for p in self._held if p.digest not in digests]
        self._reconsidered = deque(p for p in self._reconsidered if p.digest not in digests)
        return released

    @property
    def held(self) -> tuple[PlannedCell, ...]:
        """The cells somebody else is computing, or was when they were last asked for."""
        return (*self._held, *self._reconsidered)

    def _after(self, group: list[PlannedCell], pending: set[str]) -> None:
        if not pending:
            self._ready.append(group)
            return
        for digest in pending:
            self._readers.setdefault(digest, []).append(len(self._pending))
        self._pending.append((group, pending))


def _groups(measures: Iterable[PlannedCell]) -> list[list[PlannedCell]]:
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
