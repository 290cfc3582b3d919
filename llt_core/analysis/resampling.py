"""Bootstrap resamples of cells as weights, and rank correlations under weights.

Rank correlations of a resample need no sorting. With s_ij the sign of x_i − x_j and w_i how
often a cell was drawn, the rank of cell i within the resample is, centred and doubled,
Σ_j w_j s_ij; all resamples together are one product of matrices.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from llt_core.analysis.table import Floats

Single = npt.NDArray[np.float32]
LARGEST = 400
"""Cells that are resampled at once: the work grows with the square."""
BAGS, BAG = 4, 200
"""Of more cells: how many bags, and cells in each."""


@dataclass(frozen=True)
class Signs:
    """Of b cells: which is greater, and by that what the ranks are in any resample.

    ``matrix`` has shape (b, b) and holds −1, 0, 1. Integers up to 2²⁴ are exact as float32.
    """

    matrix: Single

    @classmethod
    def of(cls, values: Floats) -> Signs:
        """Compare b values with each other."""
        return cls(np.sign(values[:, None] - values[None, :]).astype(np.float32))

    def centred_ranks(self, weights: Single) -> Floats:
        """Return ranks in each of D resamples, doubled and centred; shape (D, b)."""
        return np.asarray(weights @ self.matrix.T, dtype=np.float64)


@dataclass(frozen=True)
class Bag:
    """Some cells of a table, and resamples of them.

    Attributes
    ----------
    rows
        Their places, shape (b,).
    target
        Their test accuracies, shape (b,).
    weights
        How often each is drawn in each of D resamples, shape (D, b).
    groups
        The level of load of each, shape (b,); None without such an axis.
    """

    rows: npt.NDArray[np.intp]
    target: Floats
    weights: Single
    groups: Floats | None
    signs: Signs = field(init=False)
    ranks: Floats = field(init=False)
    untied: Floats = field(init=False)
    inside: Single | None = field(init=False)
    inner_ranks: Floats | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        signs = Signs.of(self.target)
        set_once = object.__setattr__
        set_once(self, "signs", signs)
        set_once(self, "ranks", signs.centred_ranks(self.weights))
        set_once(self, "untied", self._pairs(signs.matrix**2))
        same = None
        if self.groups is not None:
            same = (self.groups[:, None] == self.groups[None, :]).astype(np.float32)
        set_once(self, "inside", same)
        if same is not None:
            set_once(self, "inner_ranks", self._inner(signs, same))

    def spearman(self, signs: Signs) -> Floats:
        """Return Spearman's ρ of other values of these cells in each resample, shape (D,)."""
        return _cosine(signs.centred_ranks(self.weights), self.ranks, self.weights)

    def kendall(self, signs: Signs) -> Floats:
        """Return Kendall's τ-b in each resample, shape (D,)."""
        x, y = signs.matrix, self.signs.matrix
        return _ratio(self._pairs(x * y), self._pairs(x * x), self.untied)

    def partial(self, signs: Signs) -> Floats:
        """Return the rank correlation inside the groups in each resample, shape (D,)."""
        if self.inside is None or self.inner_ranks is None:
            return np.full(len(self.weights), np.nan)
        return _cosine(self._inner(signs, self.inside), self.inner_ranks, self.weights)

    def _inner(self, signs: Signs, inside: Single) -> Floats:
        """Return ranks within the groups, from −1 to 1, in each resample; shape (D, b)."""
        sizes = np.maximum(self.weights @ inside, 1)
        found: Floats = Signs(signs.matrix * inside).centred_ranks(self.weights) / sizes
        return found

    def _pairs(self, matrix: Single) -> Floats:
        """Return Σ_ij w_i w_j m_ij for each resample."""
        inner: Floats = np.asarray(self.weights @ matrix, dtype=np.float64)
        found: Floats = np.einsum("db,db->d", inner, self.weights, dtype=np.float64)
        return found


Bags = list[Bag]


def draw_bags(target: Floats, groups: Floats | None, draws: int, seed: int) -> Bags:
    """Return resamples of N cells: of all of them, or of a few bags where they are many.

    ``draws`` is how many there are in all. Of several bags the first draw is the bag itself.
    """
    n, rng = len(target), np.random.default_rng(seed)
    number = 1 if n <= LARGEST else BAGS
    size = n if number == 1 else BAG
    bags = []
    for _ in range(number):
        rows = np.arange(n) if number == 1 else np.sort(rng.choice(n, size, replace=False))
        weights = rng.multinomial(n, np.full(size, 1 / size), draws // number)
        if number > 1:
            weights = np.vstack([np.ones(size, dtype=weights.dtype), weights])
        inner = None if groups is None else groups[rows]
        bags.append(Bag(rows, target[rows], weights.astype(np.float32), inner))
    return bags


def pearson_of_draws(x: Floats, y: Floats, weights: Single) -> Floats:
    """Return Pearson's r in each resample, shape (D,); x and y have shape (b,)."""
    w = weights.astype(np.float64) / weights.sum(axis=1, keepdims=True)
    x, y = (_standard(v) for v in (x, y))
    mean_x, mean_y = w @ x, w @ y
    var_x, var_y = w @ (x * x) - mean_x**2, w @ (y * y) - mean_y**2
    # What is constant in a resample has a variance of rounding.
    var_x, var_y = (np.where(v > 1e-14, v, 0.0) for v in (var_x, var_y))
    return _ratio(w @ (x * y) - mean_x * mean_y, var_x, var_y)


def _standard(values: Floats) -> Floats:
    spread = values.std()
    found: Floats = (values - values.mean()) / (spread if spread > 0 else 1.0)
    return found


def _cosine(x: Floats, y: Floats, weights: Single) -> Floats:
    """Return the cosines of the rows of x and y, shape (D, b), under weights."""
    w = weights.astype(np.float64)
    xy, xx, yy = (np.einsum("db,db,db->d", w, a, b) for a, b in ((x, y), (x, x), (y, y)))
    return _ratio(xy, xx, yy)


def _ratio(xy: Floats, xx: Floats, yy: Floats) -> Floats:
    scale = np.sqrt(xx * yy)
    known = scale > 0
    return np.where(known, xy / np.where(known, scale, 1.0), np.nan)
