"""One axis of a sweep: the fields it varies and the values they take."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

AxisKind = Literal["load", "temperature"]
KINDS: tuple[AxisKind, ...] = ("load", "temperature")
SOURCES = ("values", "range", "geomspace", "logspace")
"""The keys that say which values an axis has; one of them is given."""
_DIGITS = 12
"""Significant digits of computed values: the same on every machine, and a float has 15."""
_MOST = 100_000
"""Values an axis may have: more is a slip of the pen."""
NAME = re.compile(r"[A-Za-z_][\w-]*")


class SweepPart(BaseModel):
    """A part of a sweep as its file states it: frozen, with no key that is not known."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _named_numbers(*keys: str) -> BeforeValidator:
    """Accept ``[1, 128, 8]`` for ``{start = 1, stop = 128, num = 8}``."""

    def read(value: Any) -> Any:
        if isinstance(value, list | tuple):
            if len(value) != len(keys):
                raise ValueError(f"{len(keys)} numbers, [{', '.join(keys)}], not {len(value)}")
            return dict(zip(keys, value, strict=True))
        return value

    return BeforeValidator(read)


class Steps(SweepPart):
    """``start``, ``start + step``, … up to ``stop``, which is included if it is met."""

    start: int | float
    stop: int | float
    step: int | float

    def values(self) -> list[int | float]:
        """Return the values."""
        if not self.step or (self.stop - self.start) * self.step < 0:
            raise ValueError(
                f"a step of {self.step} does not lead from {self.start} to {self.stop}"
            )
        count = int((self.stop - self.start) / self.step + 1e-9) + 1
        if count > _MOST:
            raise ValueError(f"{count} values: at most {_MOST} on one axis")
        return [_rounded(self.start + index * self.step) for index in range(count)]


class Spaced(SweepPart):
    """``num`` values from ``start`` to ``stop``, both included."""

    start: int | float
    stop: int | float
    num: int = Field(ge=2, le=_MOST)

    def geometric(self) -> list[int | float]:
        """Return values of which each is the same multiple of the one before."""
        if self.start <= 0 or self.stop <= 0:
            raise ValueError("a geometric axis has positive ends")
        ratio = self.stop / self.start
        inner = [self.start * ratio ** (i / (self.num - 1)) for i in range(1, self.num - 1)]
        return [self.start, *map(_rounded, inner), self.stop]

    def powers(self) -> list[int | float]:
        """Return powers of ten; ``start`` and ``stop`` are the exponents."""
        step = (self.stop - self.start) / (self.num - 1)
        return [_rounded(10.0 ** (self.start + i * step)) for i in range(self.num)]


class Axis(SweepPart):
    """What varies along one axis of a sweep.

    Attributes
    ----------
    field
        A dotted path as ``--set`` takes it: ``architecture.width``, ``train.batch_size``,
        ``perturbation.label_noise.fraction``, ``train.recipe``.
    fields
        Several of them, which move together: ``values`` then holds one row for each point.
    values, range, geomspace, logspace
        The values; exactly one of the four. ``range = [start, stop, step]`` includes the end;
        ``geomspace = [start, stop, num]`` has ``num`` values in equal ratios; ``logspace`` the
        same with exponents of ten. Each may be written as a table with these names.
    integer
        Round computed values to whole numbers, each once.
    kind
        ``load`` or ``temperature``; an axis called so needs no tag.
    """

    field: str = ""
    fields: tuple[str, ...] = ()
    values: tuple[Any, ...] | None = None
    range: Annotated[Steps, _named_numbers("start", "stop", "step")] | None = None
    geomspace: Annotated[Spaced, _named_numbers("start", "stop", "num")] | None = None
    logspace: Annotated[Spaced, _named_numbers("start", "stop", "num")] | None = None
    integer: bool = False
    kind: AxisKind | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if bool(self.field) == bool(self.fields):
            raise ValueError('an axis has either field = "…" or fields = ["…", "…"]')
        if len(set(self.paths)) < len(self.paths):
            raise ValueError("fields names one field twice")
        given = [name for name in SOURCES if getattr(self, name) is not None]
        if len(given) != 1:
            found = " and ".join(given) or "none"
            raise ValueError(f"an axis has one of {', '.join(SOURCES)}; this one has {found}")
        if self.fields:
            for row in self.values or ():
                if not isinstance(row, list | tuple) or len(row) != len(self.fields):
                    raise ValueError(
                        f"values of several fields are rows of {len(self.fields)}, not {row!r}"
                    )
            if self.values is None:
                raise ValueError("several fields need values: one row for each point")
        if not self.rows:
            raise ValueError("an axis has at least one value")
        _refuse_twins(self.rows)
        return self

    @property
    def paths(self) -> tuple[str, ...]:
        """The fields, one or several."""
        return self.fields or (self.field,)

    @cached_property
    def rows(self) -> tuple[tuple[Any, ...], ...]:
        """The values of all fields, for each point of the axis once."""
        if self.fields:
            rows: Iterable[tuple[Any, ...]] = (tuple(row) for row in self.values or ())
        else:
            rows = ((value,) for value in self._scalars())
        return tuple({repr(row): row for row in rows}.values())

    def _scalars(self) -> Iterable[Any]:
        if self.values is not None:
            return self.values
        try:
            found = self._computed()
            finite = all(map(math.isfinite, found))
        except OverflowError:
            finite = False
        if not finite:
            raise ValueError("a value, or their number, is beyond what a float holds")
        return [round(value) for value in found] if self.integer else found

    def _computed(self) -> list[int | float]:
        if self.range is not None:
            return self.range.values()
        if self.geomspace is not None:
            return self.geomspace.geometric()
        assert self.logspace is not None
        return self.logspace.powers()


def written_out(axes: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the axes with what their names say: a tag, or the field of a bare list."""
    found: dict[str, Any] = {}
    for name, axis in axes.items():
        if isinstance(axis, list | tuple):
            axis = {"field": name, "values": axis}
        tag = {"kind": name} if name in KINDS and isinstance(axis, Mapping) else {}
        found[name] = {**tag, **axis} if tag else axis
    return found


def _refuse_twins(rows: Iterable[tuple[Any, ...]]) -> None:
    """Refuse values that are equal but written differently: 1, 1.0 and true."""
    seen: dict[Any, tuple[Any, ...]] = {}
    for row in rows:
        twin = seen.setdefault(_hashable(row), row)
        for one, other in zip(twin, row, strict=True):
            if twin is not row and repr(one) != repr(other):
                raise ValueError(
                    f"{_written(one)} and {_written(other)} are equal, so they are one point: "
                    "write each value once"
                )


def _hashable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return frozenset((key, _hashable(inner)) for key, inner in value.items())
    return tuple(map(_hashable, value)) if isinstance(value, list | tuple) else value


def _written(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _rounded(value: int | float) -> int | float:
    return value if isinstance(value, int) else float(f"{value:.{_DIGITS}g}")
