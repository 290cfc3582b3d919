"""A sweep as the user states it: one composition, and the axes along which it varies."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from llt_core.errors import RequestError
from llt_core.spec.naming import SWEEP_NAME
from llt_core.spec.run import Named, RunSpec
from llt_core.spec.sweep_axis import NAME, Axis, AxisKind, SweepPart
from llt_core.spec.sweep_conditions import all_hold

MOST_POINTS = 1_000_000
"""Grid points of one sweep: a larger product is a slip of the pen."""


@dataclass(frozen=True)
class Point:
    """One point of the grid: the value of every varied field, and the composition there."""

    values: Mapping[str, Any]
    spec: RunSpec


class SweepSpec(SweepPart):
    """A base composition and the axes that vary it; see ``docs/how-to/sweep.md``.

    Attributes
    ----------
    name
        What the store remembers the sweep by; empty for one that is not remembered.
    title
        One line for people.
    profile
        The profile that was chosen, already applied.
    base
        The composition, as ``llt run`` would take it.
    axes
        Each varies one field, or several that move together. The grid is their product.
    zip
        Groups of axes of equal length that move together instead.
    executor
        Where to compute it unless the command line says otherwise; no part of any cell.
    exclude
        Grid points to leave out: those where all conditions of any one table hold. A key is
        the name of an axis or a varied field; for the conditions see
        :func:`llt_core.spec.sweep_conditions.holds`.

    Examples
    --------
    >>> spec = SweepSpec.of(
    ...     task="digits", architecture="mlp", models=2,
    ...     axes={"load": {"field": "architecture.width", "values": [1, 2, 4]},
    ...           "temperature": {"field": "train.batch_size", "values": [32, 128]}},
    ...     exclude=[{"load": "> 2", "temperature": 32}],
    ... )
    >>> [tuple(point.values.values()) for point in spec.points()]
    [(1, 32), (1, 128), (2, 32), (2, 128), (4, 128)]
    """

    name: str = ""
    title: str = ""
    profile: str = ""
    base: RunSpec
    axes: Mapping[str, Axis] = Field(default_factory=dict)
    zip: tuple[tuple[str, ...], ...] = ()
    exclude: tuple[Mapping[str, Any], ...] = ()
    executor: Named | None = None

    @classmethod
    def of(cls, profile: str = "", changes: Mapping[str, Any] | None = None, **keys: Any) -> Self:
        """Build a sweep from the keys of a sweep file; see :meth:`read`.

        Raises
        ------
        RequestError
            A key is unknown, or a value is not what it should be.
        """
        from llt_core.spec.sweep_document import of_mapping
        from llt_core.spec.sweep_file import build

        return build(cls, of_mapping(keys), profile, changes or {})

    @classmethod
    def read(
        cls, path: str | Path, profile: str = "", changes: Mapping[str, Any] | None = None
    ) -> Self:
        """Read a sweep file.

        Parameters
        ----------
        profile
            Name of the section under ``[profiles]`` that overrides the rest.
        changes
            Dotted path → value, as ``--set`` on the command line; applied last.

        Raises
        ------
        RequestError
            Names the file, the line and the key, what was expected, and what to type.
        """
        from llt_core.spec.sweep_document import of_file
        from llt_core.spec.sweep_file import build

        return build(cls, of_file(Path(path)), profile, changes or {})

    @field_validator("name")
    @classmethod
    def _a_file_name(cls, name: str) -> str:
        if name and not SWEEP_NAME.fullmatch(name):
            raise ValueError("letters, digits, '_', '-' and '.': the name is that of a file")
        return name

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        twice = [path for path, count in Counter(self.fields).items() if count > 1]
        if twice:
            raise ValueError(f"{twice[0]} is varied by two axes")
        for name, axis in self.axes.items():
            if not NAME.fullmatch(name) and name not in axis.paths:
                raise ValueError(f"{name!r} is no name for an axis: letters, digits, '_' and '-'")
        zipped = Counter(name for group in self.zip for name in group)
        for name, count in zipped.items():
            if name not in self.axes:
                raise ValueError(f"zip names {name!r}, but the axes are {self._names()}")
            if count > 1:
                raise ValueError(f"zip names the axis {name!r} twice")
        for group in self.zip:
            lengths = {name: len(self.axes[name].rows) for name in group}
            if len(set(lengths.values())) > 1:
                found = ", ".join(f"{name} has {count}" for name, count in lengths.items())
                raise ValueError(f"zipped axes have equally many values; {found}")
        for conditions in self.exclude:
            for name in conditions:
                if self._field_of(name) is None:
                    raise ValueError(
                        f"exclude names {name!r}, which does not vary; the axes are "
                        f"{self._names()}, their fields {', '.join(self.fields)}"
                    )
        return self

    @property
    def fields(self) -> tuple[str, ...]:
        """Every varied field, in the order of the axes."""
        return tuple(path for axis in self.axes.values() for path in axis.paths)

    @property
    def kinds(self) -> dict[str, AxisKind]:
        """The varied fields that are tagged, as load or as temperature."""
        return {path: axis.kind for axis in self.axes.values() for path in axis.paths if axis.kind}

    def points(self) -> tuple[Point, ...]:
        """Return the grid points in order, the last axis fastest; nothing is resolved or run.

        Raises
        ------
        RequestError
            A field is none of a composition, the conditions leave no point, or the product is
            beyond all bounds.
        """
        found = {repr(values): values for values in self._kept()}
        if not found:
            raise RequestError(
                "the conditions under exclude leave no grid point", expected="at least one"
            )
        # Whole components first: --set architecture=mlp and then architecture.width.
        order = sorted(self.fields, key=lambda path: "." in path)
        return tuple(Point(values, self._at(values, order)) for values in found.values())

    def models(self) -> int:
        """Return how many models the sweep trains, those that coincide counted once."""
        trained = {
            (point.spec.model_dump_json(exclude={"metrics", "pairs", "seed", "models"}), seed)
            for point in self.points()
            for seed in range(point.spec.seed, point.spec.seed + point.spec.models)
        }
        return len(trained)

    def _kept(self) -> Iterator[dict[str, Any]]:
        for values in self._grid():
            try:
                left_out = any(
                    all_hold({self._field_of(n) or n: c for n, c in conditions.items()}, values)
                    for conditions in self.exclude
                )
            except ValueError as error:
                raise RequestError(
                    f"cannot apply exclude: {error}",
                    where="exclude",
                    expected="numbers for <, <=, >, >=; == and != for anything",
                ) from error
            if not left_out:
                yield values

    def _grid(self) -> Iterator[dict[str, Any]]:
        sides = list(self._sides())
        if (size := math.prod(len(side) for side in sides)) > MOST_POINTS:
            raise RequestError(
                f"the axes have {size:,} points", where="axes", expected=f"at most {MOST_POINTS:,}"
            )
        for parts in product(*sides):
            found = {path: value for part in parts for path, value in part.items()}
            yield {path: found[path] for path in self.fields}

    def _sides(self) -> Iterator[list[dict[str, Any]]]:
        """Yield what moves independently: the points of each axis, or of each zipped group."""
        group_of = {name: group for group in self.zip for name in group}
        done: set[str] = set()
        for name in self.axes:
            if name in done:
                continue
            group = group_of.get(name, (name,))
            done.update(group)
            sides = [_points(self.axes[member]) for member in group]
            yield [
                {path: value for part in parts for path, value in part.items()}
                for parts in _together(sides)
            ]

    def _at(self, values: Mapping[str, Any], order: Iterable[str]) -> RunSpec:
        spec = self.base
        for path in order:
            try:
                spec = spec.with_field(path, values[path])
            except RequestError as error:
                axis = next(name for name, axis in self.axes.items() if path in axis.paths)
                raise RequestError(
                    error.what,
                    where=f"axes.{axis}" if axis != path else f"axes.{axis!r}",
                    expected=error.expected,
                    next_step=error.next_step,
                ) from error
        return spec

    def _field_of(self, name: str) -> str | None:
        """Return the field that the name of an axis, or of a field, stands for."""
        if name in self.axes and len(self.axes[name].paths) == 1:
            return self.axes[name].paths[0]
        return name if name in self.fields else None

    def _names(self) -> str:
        return ", ".join(self.axes) or "none"


def _points(axis: Axis) -> list[dict[str, Any]]:
    return [dict(zip(axis.paths, row, strict=True)) for row in axis.rows]


def _together(sides: list[list[dict[str, Any]]]) -> Iterator[tuple[dict[str, Any], ...]]:
    return zip(*sides, strict=True)
