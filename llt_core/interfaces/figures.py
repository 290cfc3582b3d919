"""How the arrays of a measurement are drawn: declared by the metric, stored with the result."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, model_validator

FigureKind = Literal["line", "bars", "matrix", "surface", "histogram", "scatter"]


class Figure(BaseModel):
    """One picture of a result, by the names of its arrays.

    It travels in the record, so a result can be drawn where the plugin that measured it is
    not installed.

    Attributes
    ----------
    kind
        ``line`` and ``scatter``: each y ``(N,)`` against x ``(N,)``. ``bars``: y ``(N,)``.
        ``histogram``: the values of each y. ``matrix``: z ``(R, C)``. ``surface``: z
        ``(M, N)`` over x ``(N,)`` and one y ``(M,)``.
    x, y, z
        Names in ``Measurement.arrays``.
    band
        For each y the array of its standard errors, or None; empty for no bands.
    labels
        What to call each y; for bars and matrices, what to call each entry.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: FigureKind
    title: str
    x: str | None = None
    y: tuple[str, ...] = ()
    z: str | None = None
    band: tuple[str | None, ...] = ()
    labels: tuple[str, ...] = ()
    x_label: str = ""
    y_label: str = ""
    z_label: str = ""
    x_log: bool = False
    y_log: bool = False

    @property
    def arrays(self) -> tuple[str, ...]:
        """Names of all arrays it needs."""
        return tuple(name for name in (self.x, *self.y, self.z, *self.band) if name is not None)

    @model_validator(mode="after")
    def _complete(self) -> Figure:
        missing = {
            "line": self.x is None or not self.y,
            "scatter": self.x is None or not self.y,
            "bars": len(self.y) != 1,
            "histogram": not self.y,
            "matrix": self.z is None,
            "surface": self.x is None or len(self.y) != 1 or self.z is None,
        }
        if missing[self.kind]:
            raise ValueError(f"{self.title!r}: a figure of kind {self.kind} needs more arrays")
        if self.band and len(self.band) != len(self.y):
            raise ValueError(f"{self.title!r}: {len(self.band)} bands for {len(self.y)} arrays")
        return self
