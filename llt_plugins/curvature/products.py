"""Products of an operator with several vectors, and the small matrices written out."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from llt_plugins.curvature.types import Report, SymmetricOperator, ignore


def products(operator: SymmetricOperator, vectors: Tensor) -> Tensor:
    """Return the products with the columns of ``vectors``.

    Uses ``operator.matmat`` where there is one, else one ``matvec`` a column.

    Parameters
    ----------
    operator
        Symmetric, P × P.
    vectors
        Shape ``(P, k)``.

    Returns
    -------
    Tensor
        Float64, shape ``(P, k)``.
    """
    together: Callable[[Tensor], Tensor] | None = getattr(operator, "matmat", None)
    if together is not None and vectors.shape[1] > 1:
        return together(vectors).double()
    return torch.stack([operator.matvec(column).double() for column in vectors.T], dim=1)


def matrix(operator: SymmetricOperator, report: Report = ignore) -> Tensor:
    """Return the whole matrix from P products: float64, shape ``(P, P)``, symmetrised."""
    columns = []
    for index in range(operator.size):
        columns.append(operator.matvec(unit_vector(operator.size, index)).double())
        report(index + 1, operator.size)
    full = torch.stack(columns, dim=1)
    return (full + full.T) / 2


def unit_vector(size: int, index: int) -> Tensor:
    """Return the coordinate vector ``index``: float64, shape ``(size,)``, on the CPU."""
    vector = torch.zeros(size, dtype=torch.float64)
    vector[index] = 1.0
    return vector
