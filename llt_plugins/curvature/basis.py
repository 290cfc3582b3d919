"""A growing orthonormal basis that fits in memory."""

from __future__ import annotations

import torch
from torch import Tensor

_ROWS = 16
"""Vectors a block holds: it grows without ever copying what is already there."""

_COLUMNS = 65_536
"""Coordinates that are turned into float64 at a time where the storage is float32."""

NOTHING_NEW = 1e-10
"""A vector this small after projection, relative to before, adds no direction."""

_DOUBLE_UP_TO = 1_048_576
"""Largest P whose vectors are kept in float64."""


class Basis:
    """Orthonormal vectors of length P, as rows; all dot products are summed in float64.

    Above 1,048,576 coordinates vectors are stored in float32, which halves the memory: 100
    vectors of 11 million parameters take 4.5 GB instead of 8.9. Their rounding (6e-8) is
    below that of a float32 product. What was stored is what later vectors are orthogonal to,
    so orthogonality does not decay.

    Parameters
    ----------
    size
        Length P of the vectors.
    storage
        Type they are kept in; None chooses by ``size``.
    """

    def __init__(self, size: int, storage: torch.dtype | None = None) -> None:
        self.size = size
        self.count = 0
        self._storage = storage or (torch.float64 if size <= _DOUBLE_UP_TO else torch.float32)
        self._blocks: list[Tensor] = []

    def append(self, vector: Tensor) -> Tensor:
        """Store a unit vector, shape ``(P,)``, and return it in float64, as it was rounded."""
        if self.count == len(self._blocks) * _ROWS:
            rows = min(_ROWS, self.size - self.count)
            self._blocks.append(vector.new_empty((rows, self.size), dtype=self._storage))
        row = self._blocks[-1][self.count % _ROWS]
        row.copy_(vector)
        self.count += 1
        return row.double()

    def rounded(self, vector: Tensor) -> Tensor:
        """Return ``vector`` as storing it would round it, in float64."""
        return vector.to(self._storage).double()

    def __getitem__(self, index: int) -> Tensor:
        """Return vector ``index`` in float64, shape ``(P,)``."""
        return self._blocks[index // _ROWS][index % _ROWS].double()

    def coefficients(self, vector: Tensor, count: int | None = None) -> Tensor:
        """Return the dot products of the first ``count`` vectors with ``vector``.

        Float64, shape ``(count,)``; ``vector`` has shape ``(P,)`` and type float64.
        """
        parts = [self._dot(block, vector) for block in self._filled(count)]
        return torch.cat(parts) if parts else vector.new_zeros(0)

    def combine(self, weights: Tensor) -> Tensor:
        """Return ``Σ weightsᵢ qᵢ`` over the first vectors: float64, shape ``(P,)``."""
        total = torch.zeros(self.size, dtype=torch.float64, device=weights.device)
        for number, block in enumerate(self._filled(len(weights))):
            part = weights[number * _ROWS : number * _ROWS + len(block)]
            if block.dtype == torch.float64:
                total.addmv_(block.T, part)
                continue
            for at in range(0, self.size, _COLUMNS):
                total[at : at + _COLUMNS] += part @ block[:, at : at + _COLUMNS].double()
        return total

    def project_out(self, vector: Tensor, count: int | None = None) -> Tensor:
        """Return the part of ``vector`` that is orthogonal to the first ``count`` vectors.

        Two matrix–vector products with the basis: classical Gram–Schmidt, once.
        """
        return vector - self.combine(self.coefficients(vector, count))

    def _filled(self, count: int | None) -> list[Tensor]:
        """Return the rows of the blocks that hold the first ``count`` vectors."""
        count = self.count if count is None else min(count, self.count)
        return [
            block[: count - number * _ROWS]
            for number, block in enumerate(self._blocks)
            if count > number * _ROWS
        ]

    def _dot(self, block: Tensor, vector: Tensor) -> Tensor:
        if block.dtype == torch.float64:
            return block.mv(vector)
        total = vector.new_zeros(len(block))
        for at in range(0, self.size, _COLUMNS):
            total += block[:, at : at + _COLUMNS].double().mv(vector[at : at + _COLUMNS])
        return total
