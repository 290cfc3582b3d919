"""Directions in parameter space along which a loss surface is cut."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from llt_plugins.curvature.krylov import Krylov
from llt_plugins.curvature.lanczos import EigenStop, eigenpairs
from llt_plugins.curvature.types import Report, ignore
from llt_plugins.paths.vectors import ParameterLayout
from llt_plugins.surfaces.parameters import by_filter, home, weight_matrices

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
    Studer and Goldstein 2018, section 4). A filter is what makes one output channel of a
    convolution, transposed or not, or one output of a linear layer, and the vector of one
    token of an embedding. Without it, networks whose weights are large
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
    for name in ParameterLayout(model).names:
        parameter = model.get_parameter(name)
        # Drawn also where it is not used: the numbers of a layer are the same either way.
        draw = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        draw = draw.to(home(parameter.device))
        if name not in matrices and not biases:
            draw = torch.zeros_like(draw)
        elif normalisation != "none":
            theta = parameter.detach().to(draw.device).double()
            if normalisation == "filter" and name in matrices:
                # The filters of the draw are views, so it is the draw that is scaled.
                _scale(*(by_filter(tensor, matrices[name]) for tensor in (draw, theta)))
            else:
                _scale(draw.reshape(1, -1), theta.reshape(1, -1))
        parts.append(draw.reshape(-1))
    return torch.cat(parts)


def _scale(direction: Tensor, theta: Tensor) -> None:
    """Give every filter of ``direction`` the norm of the same one of ``theta``."""
    axes = (-2, -1)
    lengths = direction.norm(dim=axes, keepdim=True)
    direction.mul_(theta.norm(dim=axes, keepdim=True) / torch.where(lengths > 0, lengths, 1.0))


def with_fixed_sign(vector: Tensor) -> Tensor:
    """Return ``±vector``, its entry of largest magnitude positive.

    An eigenvector has no sign; this choice makes pictures of it repeatable.
    """
    return vector if vector[vector.abs().argmax()] >= 0 else -vector


@dataclass(frozen=True)
class Eigenvectors:
    """Leading eigenpairs of a Hessian, the one of largest magnitude first.

    Attributes
    ----------
    vectors
        Unit rows with a settled sign: float64, shape ``(k, P)``.
    values
        Eigenvalues: float64, shape ``(k,)``.
    stopped
        See :data:`~llt_plugins.curvature.lanczos.EigenStop`; with ``"not_finite"`` vectors
        and values are NaN.
    """

    vectors: Tensor
    values: Tensor
    stopped: EigenStop


def leading_eigenvectors(
    krylov: Krylov,
    count: int,
    *,
    tolerance: float = 1e-3,
    max_steps: int = 100,
    report: Report = ignore,
) -> Eigenvectors:
    """Return the eigenvectors of the ``count`` eigenvalues of largest magnitude, by Lanczos.

    A sequence that starts with a block of ``count`` vectors finds an eigenvalue of that
    multiplicity as often as it is there.

    Raises
    ------
    ValueError
        If the operator has fewer than ``count`` dimensions.
    """
    size = krylov.operator.size
    if count > size:
        raise ValueError(f"{size} parameters do not span {count} directions")
    pairs = eigenpairs(krylov, k=count, tolerance=tolerance, max_steps=max_steps, report=report)
    if pairs.stopped == "not_finite":
        nothing = torch.full((count, size), float("nan"), dtype=torch.float64)
        return Eigenvectors(nothing, nothing[:, 0], pairs.stopped)
    vectors = [with_fixed_sign(pairs.vector(krylov, index)) for index in range(count)]
    return Eigenvectors(torch.stack(vectors), torch.from_numpy(pairs.values), pairs.stopped)
