"""The measurements behind the means of a column, row by row, kept in arrays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Self, overload

import numpy as np
import numpy.typing as npt

from llt_core.analysis.coded import Codes, appearances, places_of, stretches

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Models = tuple[int, ...]
Alike = tuple[tuple[Models, ...], npt.NDArray[np.int64], Floats]
"""What each of k samples reads, the g rows in which it is so, and the values, shape (g, k)."""


class Sample(NamedTuple):
    """One measurement behind a row's mean: which of the row's models it reads, and its value."""

    models: Models
    value: float


class Samples(Sequence[tuple[Sample, ...]]):
    """The samples of N rows, S in all, one row after the other.

    A sequence of one tuple a row, which are made when they are asked for: there may be a million.

    Parameters
    ----------
    sizes
        How many samples each row has, shape (N,).
    models
        What samples read, each once: M entries.
    reads
        Which of ``models`` each sample reads, shape (S,).
    values
        What was measured, shape (S,).
    """

    def __init__(
        self, sizes: Codes, models: Sequence[Models], reads: Codes, values: Floats
    ) -> None:
        self.sizes = sizes
        self.starts = np.cumsum(sizes) - sizes
        self.models = tuple(models)
        self.widths = np.array([len(read) for read in self.models], dtype=np.int64)
        self.reads = reads
        self.values = values

    @classmethod
    def of(cls, rows: Sequence[Iterable[Sample]]) -> Self:
        """Return tuples of samples as arrays; what is such already, as it is.

        >>> held = Samples.of([(Sample((0,), 2.0), Sample((1,), 4.0)), ()])
        >>> held.values.tolist(), held.reading(1).tolist()
        ([2.0, 4.0], [True, False])
        """
        if isinstance(rows, cls):
            return rows
        held = [tuple(samples) for samples in rows]
        known: dict[Models, int] = {}
        reads = [known.setdefault(models, len(known)) for row in held for models, _ in row]
        return cls(
            np.array([len(row) for row in held], dtype=np.int64),
            tuple(known),
            np.array(reads, dtype=np.int64),
            np.array([value for row in held for _, value in row], dtype=np.float64),
        )

    def __len__(self) -> int:
        return len(self.sizes)

    @overload
    def __getitem__(self, row: int) -> tuple[Sample, ...]: ...
    @overload
    def __getitem__(self, row: slice) -> Samples: ...
    def __getitem__(self, row: int | slice) -> tuple[Sample, ...] | Samples:
        if isinstance(row, slice):
            return self.select(np.arange(len(self))[row])
        held = slice(self.starts[row], self.starts[row] + self.sizes[row])
        reads, values = self.reads[held].tolist(), self.values[held].tolist()
        return tuple(Sample(self.models[r], v) for r, v in zip(reads, values, strict=True))

    def __iter__(self) -> Iterator[tuple[Sample, ...]]:
        return (self[row] for row in range(len(self)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(tuple(self))

    def select(self, rows: Sequence[int] | npt.NDArray[Any]) -> Samples:
        """Return the samples of some rows, by their numbers."""
        chosen = np.asarray(rows, dtype=np.int64)
        places = stretches(self.starts[chosen], self.sizes[chosen])
        return Samples(self.sizes[chosen], self.models, self.reads[places], self.values[places])

    @property
    def rows(self) -> Codes:
        """The row of each sample, shape (S,)."""
        return np.repeat(np.arange(len(self)), self.sizes)

    @property
    def means(self) -> Floats:
        """The mean of each row's values, shape (N,); NaN where it has none."""
        result = np.full(len(self), np.nan)
        held = self.sizes > 0
        starts, sizes = self.starts[held], self.sizes[held]
        means = np.add.reduceat(self.values, starts) / sizes
        left = self.values - np.repeat(means, sizes)  # what rounding left over
        result[held] = means + np.add.reduceat(left, starts) / sizes
        return result

    def reading(self, least: int) -> Mask:
        """Return whether a row has samples that read so many models or more, shape (N,)."""
        result = np.zeros(len(self), dtype=np.bool_)
        result[self.rows[self.widths[self.reads] >= least]] = True
        return result

    def read(self, most: int) -> Mask:
        """Return which of ``most`` models the samples of a row read, shape (N, most)."""
        members = np.array([m for models in self.models for m in models], dtype=np.int64)
        starts, widths = np.cumsum(self.widths) - self.widths, self.widths[self.reads]
        result = np.zeros((len(self), most), dtype=np.bool_)
        places = stretches(starts[self.reads], widths)
        result[np.repeat(self.rows, widths), members[places]] = True
        return result

    def alike(self) -> Iterator[Alike]:
        """Yield rows whose samples read the same models, in the same order.

        Rows of which nobody knows the models are left out.
        """
        rows = np.flatnonzero(self.reading(1))
        starts, sizes = self.starts[rows], self.sizes[rows]
        kinds = np.zeros(len(rows), dtype=np.int64)
        for place in range(int(sizes.max(initial=0))):
            more = sizes > place
            kinds = kinds * (len(self.models) + 1)
            kinds[more] += self.reads[starts[more] + place] + 1
            kinds = appearances(kinds)[0]
        for group in places_of(kinds, int(kinds.max(initial=-1)) + 1):
            held = starts[group, None] + np.arange(sizes[group[0]])
            models = tuple(self.models[read] for read in self.reads[held[0]].tolist())
            yield models, rows[group], self.values[held]
