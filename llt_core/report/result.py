"""What one finished cell holds: its record, its arrays, and how they are drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from llt_core.errors import LltError, RequestError
from llt_core.interfaces import Figure
from llt_core.store import Epoch, Record, Store

ARRAYS_FILE = "arrays.safetensors"
HISTORY = "history"

Array = npt.NDArray[Any]


class DrawingError(LltError):
    """A figure and the stored arrays do not go together."""


@dataclass(frozen=True)
class Panel:
    """One figure with the arrays it draws.

    Attributes
    ----------
    quantity
        The measurement it belongs to, or ``history``.
    arrays
        All arrays of that quantity, by the names the figure uses.
    """

    quantity: str
    figure: Figure
    arrays: Mapping[str, Array]

    def column(self, name: str) -> npt.NDArray[np.float64]:
        """Return an array in float64.

        Raises
        ------
        DrawingError
            It is not stored, empty, or holds no real numbers.
        """
        if name not in self.arrays:
            raise self._wrong(f"draws the array {name!r}, which is not stored")
        array = np.asarray(self.arrays[name])
        if array.dtype.kind not in "biuf":
            raise self._wrong(f"draws the array {name!r} of type {array.dtype}: no real numbers")
        if not array.size:
            raise self._wrong(f"draws the array {name!r}, which is empty")
        return array.astype(np.float64)

    def bands(self) -> list[npt.NDArray[np.float64] | None]:
        """Return the standard errors of each y, None where there are none."""
        names = self.figure.band or (None,) * len(self.figure.y)
        return [None if name is None else self.column(name) for name in names]

    def label(self, number: int) -> str:
        """Return what to call the y with this number: its label, else its array's name."""
        figure = self.figure
        return figure.labels[number] if number < len(figure.labels) else figure.y[number]

    def entries(self, count: int) -> list[str]:
        """Return what to call each bar, row or column: labels, else x, else numbers."""
        labels = list(self.figure.labels)
        if len(labels) != count and self.figure.x is not None:
            labels = [f"{value:g}" for value in self.column(self.figure.x)]
        return labels if len(labels) == count else [str(number) for number in range(count)]

    def check(self) -> None:
        """Make sure that the figure can be drawn.

        Raises
        ------
        DrawingError
            An array is missing, has the wrong shape, or holds nothing finite.
        """
        figure = self.figure
        shapes = {name: self.column(name).shape for name in figure.arrays}
        if figure.kind in ("line", "scatter", "bars"):
            if len(set(shapes.values())) > 1 or any(len(shape) != 1 for shape in shapes.values()):
                raise self._wrong(f"needs arrays of one axis and one length, not {_list(shapes)}")
        elif figure.z is not None:
            expected = [shapes[name] for name in (*figure.y, figure.x) if name is not None]
            whole = tuple(length for shape in expected for length in shape)
            if len(shapes[figure.z]) != 2 or (
                figure.kind == "surface" and shapes[figure.z] != whole
            ):
                raise self._wrong(f"needs z with the axes (y, x), not {_list(shapes)}")
        drawn = (figure.z,) if figure.z is not None else figure.y
        if not any(np.isfinite(self.column(name)).any() for name in drawn):
            raise self._wrong("has nothing finite to draw")

    def _wrong(self, what: str) -> DrawingError:
        return DrawingError(f"the figure {self.figure.title!r} of {self.quantity} {what}")


@dataclass(frozen=True)
class Result:
    """A finished cell with everything that can be shown of it.

    ``arrays`` are named ``quantity/array``; of a train cell, ``history/column``.
    """

    record: Record
    folder: Path
    arrays: dict[str, Array]
    panels: tuple[Panel, ...]

    def array(self, name: str) -> Array:
        """Return an array by its full name, or by its own where only one has it.

        Raises
        ------
        RequestError
            There is no such array, or several quantities have one of that name.
        """
        if name in self.arrays:
            return self.arrays[name]
        fitting = [full for full in self.arrays if full.partition("/")[2] == name]
        if len(fitting) == 1:
            return self.arrays[fitting[0]]
        if fitting:
            what, expected = f"several arrays are called {name!r}", ", ".join(fitting)
        else:
            what = f"this cell has no array {name!r}"
            own = {full.partition("/")[2]: full for full in self.arrays}
            own |= {full: full for full in self.arrays}
            near = [own[close] for close in get_close_matches(name, own)] or list(self.arrays)
            expected = f"one of {', '.join(near)}" if near else "a cell with arrays"
        raise RequestError(
            what,
            where=str(self.folder),
            expected=expected,
            next_step=f"llt show-result {self.record.digest[:8]}",
        )


def load(store: Store, record: Record) -> Result:
    """Return the cell of ``record`` with its arrays and figures; a train cell's history.

    Raises
    ------
    LltError
        The file of arrays cannot be read.
    """
    folder = store.path(record.digest)
    if record.cell.kind == "train":
        history = _history(record.history)
        panels = tuple(Panel(HISTORY, figure, history) for figure in _history_figures(history))
        arrays = {f"{HISTORY}/{name}": column for name, column in history.items()}
        return Result(record, folder, arrays, panels)
    arrays = _load_arrays(folder / ARRAYS_FILE)
    panels = tuple(
        Panel(m.name, figure, _of(arrays, m.name))
        for m in record.measurements
        for figure in m.figures
    )
    return Result(record, folder, arrays, panels)


def describe_array(name: str, array: Array) -> dict[str, Any]:
    """Return name, shape, type and range of an array; the range is of what is finite."""
    held = array[np.isfinite(array)] if array.dtype.kind in "biuf" else array[:0]
    return {
        "name": name,
        "shape": list(array.shape),
        "dtype": str(array.dtype),
        "min": held.min().item() if held.size else None,
        "max": held.max().item() if held.size else None,
        "not_finite": int(array.size - held.size) if array.dtype.kind == "f" else 0,
    }


def _load_arrays(path: Path) -> dict[str, Array]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    if not path.is_file():
        return {}
    try:
        return dict(sorted(load_file(path).items()))
    except (SafetensorError, OSError) as error:
        raise LltError(
            f"the arrays of this cell cannot be read: {error}",
            where=str(path),
            next_step="run its command again with --force",
        ) from error


def _of(arrays: dict[str, Array], quantity: str) -> dict[str, Array]:
    prefix = f"{quantity}/"
    return {n.removeprefix(prefix): array for n, array in arrays.items() if n.startswith(prefix)}


def _history(epochs: tuple[Epoch, ...]) -> dict[str, Array]:
    """Return the columns of a history; a value that was not finite is NaN."""
    columns = {}
    for name in Epoch.model_fields:
        values = [getattr(epoch, name) for epoch in epochs]
        kind = np.int64 if name == "epoch" else np.float64
        columns[name] = np.array([np.nan if v is None else v for v in values], dtype=kind)
    return columns


def _history_figures(history: dict[str, Array]) -> list[Figure]:
    texts = {
        "train_loss": ("Training loss", "loss (nats)"),
        "train_accuracy": ("Training accuracy", "accuracy (percent)"),
        "learning_rate": ("Learning rate", "learning rate"),
    }
    return [
        Figure(kind="line", title=title, x="epoch", y=(name,), x_label="epoch", y_label=unit)
        for name, (title, unit) in texts.items()
        # Nothing is learnt from a picture of a constant, or of nothing.
        if np.isfinite(history[name]).any()
        and (name != "learning_rate" or len(set(history[name])) > 1)
    ]


def _list(shapes: dict[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {shape}" for name, shape in shapes.items())
