"""Columns of few distinct values as numbers: what makes long tables quick to gather."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Codes = npt.NDArray[np.signedinteger[Any]]


@dataclass(frozen=True)
class Coded:
    """A column of R rows.

    Attributes
    ----------
    codes
        The place of each row's value in ``values``, shape (R,); -1 for None.
    values
        Those that occur, each once, in any order.
    """

    codes: Codes
    values: Sequence[Any]

    @classmethod
    def of(cls, values: Iterable[Any]) -> Coded:
        """Return a column of any values that can be told apart by their hash.

        >>> held = Coded.of(["b", None, "a", "b"])
        >>> held.codes.tolist(), held.values
        ([0, -1, 1, 0], ['b', 'a'])
        """
        values = list(values)
        known: dict[Any, int] = dict.fromkeys(values, -1)
        known.pop(None, None)
        distinct = list(known)
        known = {None: -1, **{value: code for code, value in enumerate(distinct)}}
        return cls(np.fromiter(map(known.__getitem__, values), np.int64, len(values)), distinct)

    @property
    def constant(self) -> bool:
        """Whether all rows have the same value, and not None."""
        first = self.codes[:1]
        return bool((first >= 0).any() and (self.codes == first).all())

    def as_text(self) -> tuple[str, ...]:
        """Return ``values`` as text, and then an empty one, which stands where -1 points."""
        return (*map(str, self.values), "")


def together(columns: Sequence[Coded], rows: int) -> Coded:
    """Return several columns of so many rows as one, of tuples, in the order of appearance.

    >>> together([Coded.of([1, 1, 2]), Coded.of(["a", None, "a"])], 3).values
    [(1, 'a'), (1, None), (2, 'a')]
    """
    codes, first = appearances(np.zeros(rows, dtype=np.int64))
    for column in columns:
        codes, first = appearances(codes * (len(column.values) + 1) + column.codes + 1)
    values = [[*column.values, None] for column in columns]
    places = [column.codes[first].tolist() for column in columns]
    keys = zip(*([v[p] for p in at] for v, at in zip(values, places, strict=True)), strict=True)
    return Coded(codes, list(keys) if columns else [()] * len(first))


def appearances(codes: Codes) -> tuple[Codes, Codes]:
    """Return codes numbered in the order of appearance, (R,), and where each is first.

    >>> [found.tolist() for found in appearances(np.array([7, 3, 7, 0]))]
    [[0, 1, 0, 2], [0, 1, 3]]
    """
    rows = len(codes)
    most = int(codes.max(initial=-1)) + 1
    if most > 4 * rows + 1000:  # too many to count each
        found, codes = np.unique(codes, return_inverse=True)
        most = len(found)
    first = np.full(most, rows)
    first[codes[::-1]] = np.arange(rows)[::-1]  # the last one written stays
    places = np.flatnonzero(first < rows)
    order = places[np.argsort(first[places])]
    numbers = np.empty(most, dtype=np.int64)
    numbers[order] = np.arange(len(order))
    return numbers[codes], first[order]


def stretches(starts: Codes, sizes: Codes) -> Codes:
    """Return the places in stretches of an array, one stretch after the other.

    >>> stretches(np.array([5, 0]), np.array([2, 3])).tolist()
    [5, 6, 0, 1, 2]
    """
    before = np.cumsum(sizes) - sizes
    return np.repeat(starts - before, sizes) + np.arange(int(sizes.sum()))


def places_of(codes: Codes, most: int) -> list[Codes]:
    """Return where each of the codes 0 to ``most`` - 1 stands, in order.

    >>> [found.tolist() for found in places_of(np.array([1, 0, 1]), 3)]
    [[1], [0, 2], []]
    """
    order = np.argsort(codes, kind="stable")
    sizes = np.bincount(codes, minlength=most)
    ends = np.cumsum(sizes)
    return [order[e - s : e] for e, s in zip(ends.tolist(), sizes.tolist(), strict=True)]
