"""What an adaptive sweep says of each grid point: its phase, how sure, measured or inferred.

One small file a sweep, ``STORE/maps/NAME.json``, written beside and renamed after every round.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from llt_core.errors import LltError
from llt_core.store.cells import Store, cannot_write
from llt_core.store.files import write_whole

MAP_FORMAT = 1

Basis = Literal["measured", "inferred", "open"]
"""``open``: tried, and what was measured tells no phase; its models diverged, say."""


class MapPoint(BaseModel):
    """One grid point.

    Attributes
    ----------
    phase
        That of the measurement, or the likeliest one; empty if it is ``open``, or likeliest to be.
    probabilities
        Of each phase, in the order of ``phases``; 0 and 1 where it is measured, 0 if ``open``.
        What is missing to 1 is the probability that a measurement would tell no phase.
    basis
        Whether the phase was measured or inferred from other points.
    """

    model_config = ConfigDict(frozen=True)

    values: dict[str, Any]
    phase: str
    probabilities: tuple[float, ...]
    basis: Basis

    @property
    def confidence(self) -> float:
        """How likely it is to have this phase, or none if none is named."""
        return max(self.probabilities) if self.phase else 1 - sum(self.probabilities)

    @property
    def error(self) -> float:
        """How likely it is to have a phase other than the likeliest."""
        return sum(sorted(self.probabilities)[:-1])


class PhaseMap(BaseModel):
    """The inferred map of a sweep.

    Attributes
    ----------
    rule
        The thresholds between phases, by name.
    allowed
        Grid points that the budget lets be measured.
    points
        In the order of the sweep's.
    ahead
        Places of the points that are to be measured next, or are being measured.
    stopped
        Why no more is measured.
    """

    model_config = ConfigDict(frozen=True)

    format: int = MAP_FORMAT
    name: str
    rule: dict[str, float | None]
    phases: tuple[str, ...]
    allowed: int
    points: tuple[MapPoint, ...]
    ahead: tuple[int, ...] = ()
    stopped: str = ""

    @property
    def measured(self) -> int:
        """How many points are measured."""
        return sum(point.basis == "measured" for point in self.points)

    @property
    def expected_wrong(self) -> float:
        """How many points are expected to carry a wrong phase."""
        return sum(point.error for point in self.points if point.basis == "inferred")

    @property
    def expected_open(self) -> int:
        """How many points were not tried and are likely to have no phase."""
        return sum(point.basis == "inferred" and not point.phase for point in self.points)

    @property
    def open(self) -> int:
        """How many points were tried and have no phase."""
        return sum(point.basis == "open" for point in self.points)


def remember_map(store: Store, found: PhaseMap) -> None:
    """Write the file of a map.

    Raises
    ------
    StoreError
        The store cannot be written.
    """
    path = _file(store, found.name)
    try:
        path.parent.mkdir(exist_ok=True)
        write_whole(path, found.model_dump_json())
    except OSError as error:
        raise cannot_write(path, error) from error


def recall_map(store: Store, name: str) -> PhaseMap | None:
    """Return the map of the sweep called ``name``; None if there is none.

    Raises
    ------
    LltError
        Its file cannot be read.
    """
    path = _file(store, name)
    try:
        return PhaseMap.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (ValidationError, OSError) as error:
        raise LltError(
            f"the phase map of the sweep {name!r} cannot be read",
            where=str(path),
            expected=f"JSON of format {MAP_FORMAT}",
            next_step="llt sweep FILE.toml --adaptive writes it anew",
        ) from error


def _file(store: Store, name: str) -> Path:
    return store.root / "maps" / f"{name}.json"
