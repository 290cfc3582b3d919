"""How far apart the parameters of two networks are."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from llt_plugins.paths.vectors import trainable


@dataclass(frozen=True)
class Distance:
    """Euclidean distance of two parameter vectors, in all and by layer.

    Attributes
    ----------
    total
        ``‖θ − θ'‖₂``.
    norms
        ``‖θ‖₂`` and ``‖θ'‖₂``.
    layers
        Names of the modules that own the parameters, in order of definition.
    by_layer, by_layer_norms
        Float64, shapes ``(L,)`` and ``(L, 2)``: the same numbers for each layer. The squares
        of the distances sum to ``total²``.
    """

    total: float
    norms: tuple[float, float]
    layers: tuple[str, ...]
    by_layer: Tensor
    by_layer_norms: Tensor

    @property
    def normalised(self) -> float:
        """``2‖θ − θ'‖ / (‖θ‖ + ‖θ'‖)``, in [0, 2]; NaN if both are zero."""
        return 2.0 * self.total / sum(self.norms) if sum(self.norms) > 0 else math.nan

    @property
    def by_layer_normalised(self) -> Tensor:
        """The normalised distance of each layer, shape ``(L,)``; NaN where both are zero."""
        return 2.0 * self.by_layer / self.by_layer_norms.sum(1)


def l2_distance(first: nn.Module, second: nn.Module) -> Distance:
    """Return the distance of the trainable parameters, summed in float64.

    Frozen parameters and buffers (batch-norm statistics) do not count; tied parameters
    count once.

    Raises
    ------
    ValueError
        If the two do not have the same trainable parameters: names the first difference.
    """
    ours, theirs = trainable(first), trainable(second)
    if ours.keys() != theirs.keys():
        odd = sorted(ours.keys() ^ theirs.keys())[0]
        raise ValueError(f"the trainable parameter {odd!r} exists in only one of the two models")
    squares: dict[str, Tensor] = {}
    for name, value in ours.items():
        other = theirs[name]
        if value.shape != other.shape:
            raise ValueError(
                f"the parameter {name!r} has shape {tuple(value.shape)} in one model and "
                f"{tuple(other.shape)} in the other: only equal layouts have a distance"
            )
        a, b = (x.detach().cpu().double() for x in (value, other))
        layer = name.rpartition(".")[0] or "(root)"
        sums = torch.stack([(a - b).square().sum(), a.square().sum(), b.square().sum()])
        squares[layer] = squares[layer] + sums if layer in squares else sums
    table = torch.stack(list(squares.values())) if squares else torch.zeros(0, 3).double()
    total, one, two = table.sum(0).sqrt().tolist()
    roots = table.sqrt()
    return Distance(total, (one, two), tuple(squares), roots[:, 0], roots[:, 1:])
