"""Permuting the units of one network so that they match those of another (weight matching)."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from llt_plugins.paths.symmetry import Axis, UnitGroup, unit_groups
from llt_plugins.paths.vectors import refuse_mismatch

_SWEEPS = 100
"""Sweeps over all groups, at most; a handful is the rule."""


@dataclass(frozen=True)
class Alignment:
    """The second network, its units in the order of the first one's.

    Attributes
    ----------
    model
        A new model that computes what the second one computes.
    groups
        The groups of units that could be permuted.
    permutations
        For each group int64 ``(units,)``: entry i is the unit of the second network that
        takes the place of unit i.
    """

    model: nn.Module
    groups: list[UnitGroup]
    permutations: list[Tensor]

    @property
    def moved(self) -> int:
        """Number of units that changed their place."""
        return sum(int((p != torch.arange(len(p))).sum()) for p in self.permutations)


def align(first: nn.Module, second: nn.Module) -> Alignment:
    """Permute the units of ``second`` so that its parameters are close to those of ``first``.

    Weight matching (Ainsworth, Hayase and Srinivasa 2022, algorithm 1): the inner product of
    the two parameter vectors is maximised by coordinate ascent over the groups of units, each
    step an exact linear assignment. It ends in a local maximum. Two starts are tried and the
    better end is kept: the units as they are, and units matched in forward order by the
    weights that lead into them, which finds the order of an exactly permuted copy. There is
    no randomness, and neither model is changed.

    Raises
    ------
    ValueError
        If the models do not match, or have no units that can be followed and permuted (see
        :func:`~llt_plugins.paths.symmetry.unit_groups`).
    """
    refuse_mismatch(first, second)
    groups = unit_groups(first)
    matching = _Matching(first, second, groups)
    starts = [matching.identity(), matching.forward()]
    best = max((matching.ascend(start) for start in starts), key=matching.similarity)
    permutations = [torch.from_numpy(p) for p in best]
    return Alignment(permuted(second, groups, permutations), groups, permutations)


@torch.no_grad()
def permuted(model: nn.Module, groups: list[UnitGroup], permutations: list[Tensor]) -> nn.Module:
    """Return a copy of ``model`` with unit ``permutations[g][i]`` of group g in place i.

    The copy computes the same function.
    """
    twin = copy.deepcopy(model)
    targets = dict(twin.named_parameters()) | dict(twin.named_buffers())
    for group, permutation in zip(groups, permutations, strict=True):
        for axis in group.axes:
            tensor = targets[axis.name]
            tensor.copy_(_taken(tensor.detach(), axis, permutation.to(tensor.device)))
    return twin


class _Matching:
    """Coordinate ascent on the inner product of two networks over permutations."""

    def __init__(self, first: nn.Module, second: nn.Module, groups: list[UnitGroup]) -> None:
        self._groups = groups
        ours, theirs = dict(first.named_parameters()), dict(second.named_parameters())
        self._axes: dict[str, list[tuple[int, Axis]]] = {}
        for index, group in enumerate(groups):
            for axis in group.axes:
                if not axis.buffer:
                    self._axes.setdefault(axis.name, []).append((index, axis))
        self._ours = {name: ours[name].detach().cpu().double() for name in self._axes}
        self._theirs = {name: theirs[name].detach().cpu().double() for name in self._axes}

    def identity(self) -> list[np.ndarray]:
        """Return the permutations that change nothing."""
        return [np.arange(group.size) for group in self._groups]

    def forward(self) -> list[np.ndarray]:
        """Match group after group by those weights whose other units are matched already."""
        permutations = self.identity()
        unknown = set(range(len(self._groups)))
        for index in range(len(self._groups)):
            unknown.discard(index)
            permutations[index] = _assign(self._gains(index, permutations, unknown))
        return permutations

    def ascend(self, permutations: list[np.ndarray]) -> list[np.ndarray]:
        """Improve group after group until none can be improved alone."""
        permutations = list(permutations)
        for _ in range(_SWEEPS):
            improved = False
            for index in range(len(self._groups)):
                trial = list(permutations)
                trial[index] = _assign(self._gains(index, permutations, set()))
                # An assignment maximises this exactly, unless a tensor has the group on two axes.
                before, after = (self.similarity(p, index) for p in (permutations, trial))
                if after > before + 1e-12 * abs(before):
                    permutations, improved = trial, True
            if not improved:
                break
        return permutations

    def similarity(self, permutations: list[np.ndarray], group: int | None = None) -> float:
        """Return the inner product of the first network and the permuted second one.

        With ``group``, that of the tensors in which this group appears.
        """
        return sum(
            float((ours * self._permuted(name, permutations)).sum())
            for name, ours in self._ours.items()
            if group is None or any(index == group for index, _ in self._axes[name])
        )

    def _permuted(
        self, name: str, permutations: list[np.ndarray], besides: Axis | None = None
    ) -> Tensor:
        tensor = self._theirs[name]
        for index, axis in self._axes[name]:
            if axis != besides:
                tensor = _taken(tensor, axis, torch.from_numpy(permutations[index]))
        return tensor

    def _gains(self, index: int, permutations: list[np.ndarray], unknown: set[int]) -> np.ndarray:
        """Return the inner products of all units of one group: theirs ``(units, units)``.

        Row i and column j: unit i of the first network and unit j of the second one.
        Tensors with an axis of an ``unknown`` group are left out.
        """
        size = self._groups[index].size
        gains = torch.zeros(size, size, dtype=torch.float64)
        for name, axes in self._axes.items():
            if any(other in unknown for other, _ in axes):
                continue
            for other, axis in axes:
                if other == index:
                    theirs = self._permuted(name, permutations, besides=axis)
                    gains += _rows(self._ours[name], axis, size) @ _rows(theirs, axis, size).T
        result: np.ndarray = gains.numpy()
        return result


def _assign(gains: np.ndarray) -> np.ndarray:
    """Return the permutation of largest total gain; units full of NaN stay where they are."""
    if not np.isfinite(gains).all():
        return np.arange(len(gains))
    columns: np.ndarray = linear_sum_assignment(gains, maximize=True)[1]
    return columns


def _blocks(tensor: Tensor, axis: Axis, size: int) -> Tensor:
    """Return a view with the units on axis 0 and what belongs to each one behind."""
    moved = tensor.movedim(axis.dim, 0)
    return moved.reshape(size, -1, *moved.shape[1:])


def _rows(tensor: Tensor, axis: Axis, size: int) -> Tensor:
    return _blocks(tensor, axis, size).reshape(size, -1)


def _taken(tensor: Tensor, axis: Axis, permutation: Tensor) -> Tensor:
    """Return ``tensor`` with the units on ``axis`` in the order of ``permutation``."""
    blocks = _blocks(tensor, axis, len(permutation))[permutation]
    moved = blocks.reshape(tensor.shape[axis.dim], *blocks.shape[2:])
    return moved.movedim(0, axis.dim)
