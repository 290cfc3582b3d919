"""Directions in parameter space along which a loss surface is cut."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from llt_plugins.curvature.lanczos import TopEigenvalue, top_eigenvalue
from llt_plugins.curvature.types import Report, SymmetricOperator, ignore
from llt_plugins.surfaces.parameters import home, trainable, weight_matrices

Normalisation = Literal["filter", "layer", "none"]
"""What of a Gaussian direction is scaled to the norm that the same part of θ has."""


def random_direction(
    model: nn.Module,
    generator: torch.Generator,
    *,
    normalisation: Normalisation = "filter",
    biases: bool = False,
) -> Tensor:
    """Draw a Gaussian direction, normalised part by part.

    With ``"filter"``, each filter ``dᵢⱼ`` becomes ``dᵢⱼ ‖θᵢⱼ‖ / ‖dᵢⱼ‖`` (Li, Xu, Taylor,
    Studer and Goldstein 2018, section 4). A filter is one slice along the first axis of a
    weight: what makes one output channel of a convolution or one output of a linear layer,
    the vector of one token of an embedding. Without it, networks whose weights are large
    look flat, although rescaling layers that batch norm or ReLU follow changes nothing.

    Parameters
    ----------
    model
        Its trainable parameters θ give shapes and norms; it is only read.
    generator
        On the CPU: the same numbers on every device.
    normalisation
        ``"filter"``, ``"layer"`` (each weight tensor as a whole) or ``"none"`` (every entry
        keeps standard deviation 1, so the norm is about √P).
    biases
        Whether biases and the scales and shifts of normalisations move too, each tensor
        scaled as a whole; otherwise their entries are zero, as in the paper.

    Returns
    -------
    Tensor
        Float64, shape ``(P,)``, where :func:`~llt_plugins.surfaces.parameters.flatten` is.
    """
    matrices = weight_matrices(model)
    parts = []
    for name, parameter in trainable(model).items():
        # Drawn also where it is not used: the numbers of a layer are the same either way.
        draw = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        draw = draw.to(home(parameter.device))
        if name not in matrices and not biases:
            draw = torch.zeros_like(draw)
        elif normalisation != "none":
            theta = parameter.detach().to(draw.device).double()
            rows = len(theta) if normalisation == "filter" and name in matrices else 1
            draw = _scaled(draw.reshape(rows, -1), theta.reshape(rows, -1))
        parts.append(draw.reshape(-1))
    return torch.cat(parts)


def _scaled(direction: Tensor, theta: Tensor) -> Tensor:
    """Give every row of ``direction`` ``(F, n)`` the norm of that row of ``theta``."""
    lengths = direction.norm(dim=1, keepdim=True)
    scale: Tensor = theta.norm(dim=1, keepdim=True) / torch.where(lengths > 0, lengths, 1.0)
    return direction * scale


def with_fixed_sign(vector: Tensor) -> Tensor:
    """Return ``±vector``, its entry of largest magnitude positive.

    An eigenvector has no sign; this choice makes pictures of it repeatable.
    """
    return vector if vector[vector.abs().argmax()] >= 0 else -vector


def leading_eigenpairs(
    operator: SymmetricOperator,
    generator: torch.Generator,
    count: int,
    *,
    tolerance: float = 1e-3,
    max_steps: int = 100,
    report: Report = ignore,
) -> list[TopEigenvalue]:
    """Return the ``count`` eigenpairs of largest magnitude, by Lanczos with deflation.

    Each pair is found in the complement of those before it (Parlett 1998, section 5.1), so
    multiple eigenvalues come as often as they are there. ``report`` hears of each run.
    """
    pairs: list[TopEigenvalue] = []
    for _ in range(min(count, operator.size)):
        rest = _Complement(operator, [pair.vector for pair in pairs])
        pair = top_eigenvalue(
            rest, generator, tolerance=tolerance, max_steps=max_steps, report=report
        )
        pairs.append(pair)
    return pairs


@dataclass(frozen=True)
class _Complement:
    """An operator with some directions projected out on both sides."""

    inner: SymmetricOperator
    vectors: list[Tensor]

    @property
    def size(self) -> int:
        return self.inner.size

    def matvec(self, vector: Tensor) -> Tensor:
        return self._project(self.inner.matvec(self._project(vector)))

    def _project(self, vector: Tensor) -> Tensor:
        for known in self.vectors:
            along = known.to(vector)
            vector = vector - along * torch.dot(along, vector)
        return vector
