"""The plane through three points of parameter space."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_COLLINEAR = 1e-6
"""A third corner this near to the line through the others, relative, spans no plane."""


@dataclass(frozen=True)
class Plane:
    """An affine plane ``origin + a·directions[0] + b·directions[1]``.

    Attributes
    ----------
    origin
        The first corner: float64, shape ``(P,)``.
    directions
        Orthonormal rows: float64, shape ``(2, P)``. Distances in the plane are therefore
        Euclidean distances between parameters.
    corners
        Coordinates (a, b) of the three corners: float64, shape ``(3, 2)``, on the CPU.
    """

    origin: Tensor
    directions: Tensor
    corners: Tensor


def plane_through(first: Tensor, second: Tensor, third: Tensor) -> Plane:
    """Return the plane through three flat parameter vectors, by Gram–Schmidt.

    The first direction points from the first corner to the second (Garipov et al. 2018).

    Parameters
    ----------
    first, second, third
        Float64, shape ``(P,)`` each.

    Raises
    ------
    ValueError
        If their lengths differ, or if they lie on one line.

    Examples
    --------
    >>> corners = torch.tensor([[0.0, 0, 0], [3, 0, 0], [1, 0, 2]], dtype=torch.float64)
    >>> plane_through(*corners).corners
    tensor([[0., 0.], [3., 0.], [1., 2.]], dtype=torch.float64)
    """
    sizes = [len(vector) for vector in (first, second, third)]
    if len(set(sizes)) > 1:
        raise ValueError(f"the three models have {sizes} trainable parameters, expected one number")
    to_second, to_third = second - first, third - first
    base = float(to_second.norm())
    across = to_third.clone()
    if base > 0:
        along = to_second / base
        for _ in range(2):
            across.sub_(along * torch.dot(along, across))
    height = float(across.norm())
    if base == 0 or height <= _COLLINEAR * max(base, float(to_third.norm())):
        raise ValueError("the three models lie on one line (two may be the same), so no plane")
    foot = float(torch.dot(along, to_third))
    corners = torch.tensor([[0.0, 0.0], [base, 0.0], [foot, height]], dtype=torch.float64)
    return Plane(first, torch.stack([along, across / height]), corners)
