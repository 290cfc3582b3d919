"""Singular values of the weight matrices of a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from llt_plugins.surfaces.parameters import by_filter, weight_matrices

Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class LayerSpectrum:
    """One weight matrix of shape ``(O, I)``.

    Attributes
    ----------
    name
        Name of the parameter.
    shape
        ``(O, I)``; a convolution ``(O, I, k, k)`` counts as ``(O, I·k·k)``, a transposed one
        ``(I, O, k, k)`` too.
    singular_values
        Descending, float64, shape ``(min(O, I),)``; all NaN when the weights are not finite.
    precision
        Singular values below it are rounding: the largest one times ``max(O, I)`` times the
        machine epsilon of the weights.
    """

    name: str
    shape: tuple[int, int]
    singular_values: Array
    precision: float

    @property
    def finite(self) -> bool:
        """Whether all weights are."""
        return bool(np.isfinite(self.singular_values).all())

    @property
    def spectral_norm(self) -> float:
        """The largest singular value ``‖W‖₂``."""
        return float(self.singular_values[0])

    @property
    def stable_rank(self) -> float:
        """``‖W‖²_F / ‖W‖²₂``, between 1 and min(O, I); NaN for a matrix of zeros."""
        if not self.spectral_norm > 0:
            return float("nan")
        return float(np.square(self.singular_values / self.spectral_norm).sum())

    @property
    def eigenvalues(self) -> Array:
        """The eigenvalues of ``WᵀW`` that are not rounding, descending."""
        return np.square(self.singular_values[self.singular_values > self.precision])


def layer_spectra(model: nn.Module) -> list[LayerSpectrum]:
    """Return the singular values of every weight with at least two axes, in model order.

    Scales and shifts of normalisations are no matrices, tied weights count once, frozen
    ones too. The query, key and value weights that ``MultiheadAttention`` keeps in one
    tensor are three matrices.

    Examples
    --------
    >>> layer = nn.Linear(2, 2, bias=False)
    >>> _ = layer.weight.data.copy_(torch.diag(torch.tensor([1.0, -3.0])))
    >>> layer_spectra(layer)[0].singular_values
    array([3., 1.])
    """
    matrices = weight_matrices(model)
    packed = {
        id(module.in_proj_weight)
        for module in model.modules()
        if isinstance(module, nn.MultiheadAttention) and module.in_proj_weight is not None
    }
    spectra: list[LayerSpectrum] = []
    for name, parameter in model.named_parameters():
        if name not in matrices or parameter.numel() == 0:
            continue
        if id(parameter) in packed:
            parts = zip(("query", "key", "value"), parameter.detach().chunk(3), strict=True)
            spectra.extend(_spectrum(f"{name}[{part}]", weight) for part, weight in parts)
        else:
            filters = by_filter(parameter.detach(), matrices[name])
            spectra.append(_spectrum(name, filters.flatten(2).flatten(0, 1)))
    return spectra


def _spectrum(name: str, weight: Tensor) -> LayerSpectrum:
    matrix = weight.cpu().double()
    rows, columns = matrix.shape
    if not bool(matrix.isfinite().all()):
        nothing = np.full(min(rows, columns), np.nan)
        return LayerSpectrum(name, (rows, columns), nothing, float("nan"))
    values: Array = torch.linalg.svdvals(matrix).numpy()
    precision = float(values[0]) * max(rows, columns) * torch.finfo(weight.dtype).eps
    return LayerSpectrum(name, (rows, columns), values, precision)
