"""What operators that sum over micro-batches share: memory, blocks and accumulation."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import ClassVar, Literal, Protocol, Self

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from llt_plugins.curvature.operators.corrections import Corrected
from llt_plugins.curvature.operators.determinism import (
    refuse_batch_statistics,
    refuse_training_mode,
    refuse_unrepeatable,
)
from llt_plugins.curvature.operators.memory import Sizes
from llt_plugins.curvature.operators.parameters import chosen_parameters, flat, pieces
from llt_plugins.curvature.operators.rewriting import Rewriting
from llt_plugins.curvature.types import Loss
from llt_plugins.means import shares

_LARGEST_MATRIX = 5_000

_ALIKE = 1e-3
"""Relative difference of two ways to compute a loss that rounding in float32 can explain."""

_WORTH = 0.25
"""Part of all graphs that must fit into the budget for any to be kept."""

_CACHED = 4 << 20
"""Bytes of one tensor of a block on the CPU: about what one core may call its own."""

Retain = bool | Literal["auto"]
"""Whether graphs are kept: always, never, or as far as the memory budget goes."""


class Graph(Protocol):
    """The graph of one micro-batch, from which products are made.

    Attributes
    ----------
    loss
        The loss of the micro-batch, ``()``.
    """

    loss: Tensor

    def sizes(self, besides: list[Tensor]) -> Sizes:
        """Measure the memory it needs; the tensors ``besides`` exist anyway."""
        ...

    def product(
        self, vectors: list[Tensor], *, batched: bool, retain: bool
    ) -> Sequence[Tensor | None]:
        """Return the product with ``vectors``, one piece for each parameter.

        With ``batched``, pieces are ``(k, *shape)``; without ``retain``, it is the last one.
        """
        ...


class MicroBatchOperator(ABC):
    """A symmetric P × P matrix ``Σ wᵢ Aᵢ / Σ wᵢ``, one Aᵢ for each micro-batch.

    The flat order of the parameters, ``parameter_names``, is that of ``model.parameters()``:
    each tied weight once, frozen ones left out. Nothing is written to ``.grad``. Attributes say
    how it works: ``unbatched`` and ``plain`` hold the reason why blocks are computed one vector
    at a time, or the loss in torch's own way, where that had to be. Where the loss of a
    micro-batch is NaN or infinite, so is every product.
    """

    linear: ClassVar[bool] = False
    """Whether gradients are differentiated with respect to the outer gradient only."""

    def __init__(
        self,
        model: nn.Module,
        weights: Sequence[float],
        losses: Sequence[Loss],
        *,
        parameters: Iterable[str] | None,
        retain: Retain,
        memory_budget: int,
    ) -> None:
        if memory_budget < 0:
            raise ValueError(f"the memory budget is {memory_budget} bytes, expected 0 or more")
        chosen = chosen_parameters(model, parameters)
        self._model = model
        self.parameter_names = tuple(chosen)
        self._parameters: list[Tensor] = list(chosen.values())
        self._shares = shares(weights)
        self._retain = retain
        self._budget = memory_budget
        self._graphs: dict[int, Graph] = {}
        self._sizes: dict[int, Sizes] = {}
        self.unbatched: str | None = None
        self.plain: str | None = None
        self._channels_last = True
        refuse_training_mode(model)
        refuse_batch_statistics(model, len(losses))
        self._expected = [refuse_unrepeatable(model, loss, n) for n, loss in enumerate(losses)]

    @property
    def size(self) -> int:
        """Number of parameters P."""
        return sum(p.numel() for p in self._parameters)

    @property
    def device(self) -> torch.device:
        """Where products are computed."""
        return self._parameters[0].device

    @property
    def dtype(self) -> torch.dtype:
        """Type in which products are computed."""
        return self._parameters[0].dtype

    @property
    def retained(self) -> int:
        """Bytes held by the graphs that are kept now."""
        return sum(self._sizes[index].held for index in self._graphs)

    def matvec(self, vector: Tensor) -> Tensor:
        """Return the product with ``vector``.

        Parameters
        ----------
        vector
            Any floating-point type and device, shape ``(P,)``; it is cast to the type of
            the parameters, in which the product is computed.

        Returns
        -------
        Tensor
            Float64, shape ``(P,)``, on :attr:`device`.
        """
        if vector.shape != (self.size,):
            raise ValueError(
                f"the vector has shape {tuple(vector.shape)}, expected ({self.size},): "
                "one entry for each trainable parameter"
            )
        return self._sum(vector[None])[0]

    def matmat(self, vectors: Tensor) -> Tensor:
        """Return the product with each column of ``vectors``.

        Each graph is built once for all columns, so when graphs are not kept a block costs
        less than its columns one by one. As many columns are computed together as the memory
        budget allows.

        Parameters
        ----------
        vectors
            As for :meth:`matvec`, shape ``(P, k)``.

        Returns
        -------
        Tensor
            Float64, shape ``(P, k)``, on :attr:`device`; columns lie contiguously.
        """
        if vectors.ndim != 2 or len(vectors) != self.size:
            raise ValueError(
                f"the block has shape {tuple(vectors.shape)}, expected ({self.size}, k): "
                "one row for each trainable parameter, one column for each vector"
            )
        return self._sum(vectors.T).T

    def matrix(self) -> Tensor:
        """Return the whole matrix: float64, shape ``(P, P)``, for P ≤ 5,000 only."""
        if self.size > _LARGEST_MATRIX:
            raise ValueError(
                f"the Hessian of {self.size:,} parameters is too large to write down "
                f"(at most {_LARGEST_MATRIX:,}); use matvec"
            )
        basis = torch.eye(self.size, dtype=torch.float64, device=self.device)
        return torch.stack([self.matvec(row) for row in basis], dim=1)

    @abstractmethod
    def restricted(self, parameters: Iterable[str]) -> Self:
        """Return the diagonal block of the parameters with these names, as an operator.

        Its flat order is the model's, whatever the order of the names.
        """

    def close(self) -> None:
        """Release the kept graphs; a later product builds them again."""
        self._graphs.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @abstractmethod
    def _build(self, index: int, rewriting: Callable[[], Corrected]) -> Graph:
        """Build the graph of one micro-batch, computing the loss inside ``rewriting()``."""

    def _sum(self, rows: Tensor) -> Tensor:
        """Return the products with the rows ``(k, P)``, float64."""
        total = torch.zeros(rows.shape, dtype=torch.float64, device=self.device)
        if not all(map(math.isfinite, self._expected)):
            return total.fill_(math.nan)  # the derivatives of a NaN may look like numbers
        for index, share in enumerate(self._shares):
            graph = self._graph(index)
            kept = index in self._graphs
            together = self._together(self._sizes[index], len(rows))
            start = 0
            while start < len(rows):
                stop = min(start + (1 if self.unbatched else together), len(rows))
                product = self._product(graph, rows[start:stop], kept or stop < len(rows))
                if product is not None:
                    total[start:stop].add_(product, alpha=share)
                    start = stop
        return total

    def _product(self, graph: Graph, rows: Tensor, retain: bool) -> Tensor | None:
        """Return the products of one micro-batch, or None if they do not work together."""
        if len(rows) == 1:
            vectors = pieces(rows[0], self._parameters)
            products = graph.product(vectors, batched=False, retain=retain)
            return flat(products, self._parameters)[None]
        vectors = pieces(rows, self._parameters)
        try:
            # Kept in any case: should it fail, the vectors go one by one over the same graph.
            products = graph.product(vectors, batched=True, retain=True)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            self.unbatched = str(error)
            return None
        return flat(products, self._parameters, (len(rows),))

    def _together(self, sizes: Sizes, vectors: int) -> int:
        """Return how many vectors to multiply at once.

        On the CPU that saves the overhead of small operations; of large ones it saves nothing
        and makes them miss the cache, so there the vectors take turns over the same graph.
        """
        free = self._budget - max(self.retained, sizes.held)
        most = free // max(1, sizes.passing)
        if self.device.type == "cpu":
            most = min(most, _CACHED // max(1, sizes.largest))
        return max(1, min(vectors, most))

    def _graph(self, index: int) -> Graph:
        graph = self._graphs.get(index)
        if graph is None:
            graph = self._built(index)
            if index not in self._sizes:  # once: it takes about as long as small products do
                self._sizes[index] = graph.sizes(list(self._model.parameters()))
            if self._keeps(self._sizes[index].held):
                self._graphs[index] = graph
        return graph

    def _keeps(self, held: int) -> bool:
        """Decide whether to keep a new graph of that many bytes.

        A product of a single micro-batch holds its graph at its peak anyway, so keeping it is
        free. Otherwise there must be room for it, and, unless all graphs fit, for one more
        that comes and goes. A few of many would take the memory and save little time.
        """
        if self._retain != "auto":
            return self._retain
        count = len(self._shares)
        if count == 1:
            return True
        free = self._budget - self.retained
        waiting = count - len(self._graphs)
        return held * min(waiting, 2) <= free and held * count * _WORTH <= self._budget

    def _built(self, index: int) -> Graph:
        """Build a graph in the cheapest way that works for this model."""
        with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
            while self.plain is None:
                way = partial(Rewriting, channels_last=self._channels_last, linear=self.linear)
                try:
                    graph = self._build(index, way)
                except torch.OutOfMemoryError:
                    raise
                except RuntimeError as error:
                    self._step_back(str(error))
                    continue
                loss, expected = graph.loss.item(), self._expected[index]
                if math.isclose(loss, expected, rel_tol=_ALIKE, abs_tol=1e-6):
                    return graph
                self._step_back(f"the loss became {loss:.9g} from {expected:.9g}")
            return self._build(index, Corrected)

    def _step_back(self, reason: str) -> None:
        """Try the default memory layout, then torch's own way."""
        if self._channels_last:
            self._channels_last = False
        else:
            self.plain = reason
