"""How far sweeps are, as facts that can be drawn or written as JSON."""

from __future__ import annotations

from collections import Counter
from typing import Any

from llt_core.errors import LltError
from llt_core.store import Store
from llt_core.store.drivers import DriverRecord
from llt_core.store.maps import recall_map
from llt_core.store.states import CellState, Glance, Running, completed, live_drivers, running
from llt_core.store.sweeps import SweepRecord, last_failure, names, recall

Facts = dict[str, Any]
KINDS = ("models", "measurements")


class Standing:
    """Looks at the sweeps of a store, again and again, and says how far they are.

    What is finished is kept in mind, so a second look costs less than the first.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._glance = Glance(store)
        self._live: list[DriverRecord] = []
        self._running: dict[str, Running] = {}
        self._sweeps: dict[str, tuple[int, SweepRecord]] = {}

    def look(self) -> None:
        """Look at what is finished, what failed, and who is at work."""
        self._live = live_drivers(self._store)
        self._running = running(self._store, self._live)
        self._glance.again()

    def everything(self) -> Facts:
        """Return the facts of all sweeps, and of the drivers at work, as of the last look.

        A sweep whose file cannot be read does not hide the others.
        """
        return {
            "sweeps": [self._overview(name) for name in names(self._store)],
            "drivers": [self._driver(driver) for driver in self._live],
        }

    def sweep(self, name: str) -> Facts:
        """Return the facts of one sweep, with what runs and what failed.

        Raises
        ------
        LltError
            There is none by that name, or its file cannot be read.
        """
        sweep, states = self._states(name)
        return {
            **_counted(sweep, states),
            "adaptive": self._adaptive(name),
            "drivers": [self._driver(driver) for driver in self._live if driver.sweep == name],
            "running": [_running(self._running[d]) for d, s in states.items() if s == "running"],
            "failures": [self._failure(d) for d, s in states.items() if s == "failed"],
        }

    def _adaptive(self, name: str) -> Facts | None:
        """Return what an adaptive sweep measured and inferred; None if it is none."""
        try:
            found = recall_map(self._store, name)
        except LltError:  # written anew by its next round
            return None
        if found is None:
            return None
        inferred = sum(point.basis == "inferred" for point in found.points)
        measured = len(found.points) - inferred
        return {"measured": measured, "inferred": inferred, "stopped": found.stopped}

    def _overview(self, name: str) -> Facts:
        try:
            return _counted(*self._states(name))
        except LltError as error:
            return {"sweep": name, "error": error.what, "file": error.where}

    def _states(self, name: str) -> tuple[SweepRecord, dict[str, CellState]]:
        sweep = self._recall(name)
        return sweep, self._glance.states(sweep, self._running)

    def _recall(self, name: str) -> SweepRecord:
        """Read the file of a sweep, unless it is as it was."""
        try:
            stamp = (self._store.root / "sweeps" / f"{name}.json").stat().st_mtime_ns
        except OSError:
            return recall(self._store, name)
        if name not in self._sweeps or self._sweeps[name][0] != stamp:
            self._sweeps[name] = (stamp, recall(self._store, name))
        return self._sweeps[name][1]

    def _driver(self, driver: DriverRecord) -> Facts:
        kept = ("token", "host", "pid", "sweep", "executor", "command", "since")
        cells = sum(cell.driver is driver for cell in self._running.values())
        return {key: getattr(driver, key) for key in kept} | {"running": cells}

    def _failure(self, digest: str) -> Facts:
        failure = last_failure(self._store, digest)
        facts = {"kind": "", "message": "its record cannot be read", "attempts": 0, "cell": ""}
        if failure is not None:
            facts = {
                "kind": failure.kind,
                "message": failure.message,
                "attempts": failure.attempt,
                "cell": failure.cell.kind,
            }
        folder = str(self._store.root / "failures" / digest)
        return {"digest": digest, **facts, "folder": folder}


def going_on(facts: Facts) -> bool:
    """Whether something runs or waits, or somebody is at work."""
    sweeps = facts.get("sweeps", [facts])
    counts = [sweep[kind] for sweep in sweeps if "error" not in sweep for kind in KINDS]
    moving = any(count.get(state) for count in counts for state in ("running", "waiting"))
    return bool(moving or facts["drivers"])


def _counted(sweep: SweepRecord, states: dict[str, CellState]) -> Facts:
    return {
        "sweep": sweep.name,
        "title": sweep.title,
        "planned": sweep.planned,
        "fields": list(sweep.fields),
        "points": {
            "all": len(sweep.points),
            "complete": completed(sweep, states),
        },
        "models": _counts(sweep.models, states),
        "measurements": _counts(sweep.measures, states),
    }


def _counts(digests: tuple[str, ...], states: dict[str, CellState]) -> dict[str, int]:
    return {"all": len(digests), **Counter(states[digest] for digest in digests)}


def _running(cell: Running) -> Facts:
    """Return what is known of a cell that is being computed."""
    facts = {"digest": cell.digest, "label": "", "done": 0, "total": 0, "text": "", **cell.facts}
    facts |= {"executor": cell.executor, "handle": cell.handle}
    if cell.driver is not None:
        facts |= {"host": cell.driver.host, "pid": cell.driver.pid, "driver": cell.driver.token}
    return facts
