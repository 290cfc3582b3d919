"""What a plan comes to before anything is run: cells by kind and by axis, time and disk."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llt_core.spec.naming import work_name
from llt_core.store import Store
from llt_core.store.index import records
from llt_core.sweep.estimate import Estimate, Guess, guess
from llt_core.sweep.look import look
from llt_core.sweep.plan import Plan, PlannedCell


@dataclass(frozen=True)
class Share:
    """Some of the cells: how many, how many of them are to do, and what these cost.

    ``blocked`` ones will never be: they measure a model that diverged.
    """

    cells: int
    todo: int
    cost: Estimate
    blocked: int = 0

    @property
    def done(self) -> int:
        """How many are in the store."""
        return self.cells - self.todo - self.blocked


@dataclass(frozen=True)
class Preview:
    """A plan beside what the store holds.

    Attributes
    ----------
    todo
        The cells to compute, by digest, models first.
    guesses
        What each of them should take.
    blocked
        Digests of measurements that will never be, because a model they read diverged.
    """

    plan: Plan
    todo: dict[str, PlannedCell]
    guesses: dict[str, Guess]
    blocked: frozenset[str] = frozenset()

    @property
    def cost(self) -> Estimate:
        """What everything together should take."""
        return Estimate.total(self.guesses.values())

    def by_kind(self) -> dict[str, Share]:
        """Return the cells that train, and those of each metric."""
        names: dict[str, list[str]] = {}
        for planned in self.plan.cells:
            names.setdefault(work_name(planned.cell), []).append(planned.digest)
        return {name: self._share(digests) for name, digests in names.items()}

    def by_axis(self) -> dict[str, list[tuple[Any, Share]]]:
        """Return, for each varied field, its values with the cells that are needed there.

        A cell that several values share counts for each of them.
        """
        fields = self.plan.points[0].values
        found: dict[str, list[tuple[Any, Share]]] = {}
        for field in fields:
            cells: dict[str, tuple[Any, dict[str, None]]] = {}
            for point in self.plan.points:
                value = point.values[field]
                digests = cells.setdefault(repr(value), (value, {}))[1]
                digests.update(dict.fromkeys((*point.trains, *point.measures)))
            found[field] = [(value, self._share(digests)) for value, digests in cells.values()]
        return found

    def _share(self, digests: Iterable[str]) -> Share:
        digests = tuple(digests)
        todo = [self.guesses[digest] for digest in digests if digest in self.todo]
        blocked = len(self.blocked.intersection(digests))
        return Share(len(digests), len(todo), Estimate.total(todo), blocked)


def preview(
    plan: Plan,
    store: Path,
    *,
    force: bool = False,
    size: Callable[[PlannedCell], int] | None = None,
) -> Preview:
    """Hold ``plan`` against the store at ``store``, which may not exist; change nothing.

    For ``size`` see :func:`llt_core.sweep.estimate.guess`.

    Raises
    ------
    StoreError
        There is something else at ``store``, where no store could be made.
    """
    opened = Store.existing(store)
    seen = look(plan, opened, force)
    todo, blocked = seen.todo, frozenset(seen.lost)
    past = records(opened) if opened and todo else ()
    return Preview(plan, todo, guess(todo.values(), past, opened, size=size), blocked)
