"""The Hessian of a mean loss as an operator: exact products, never the matrix."""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import TracebackType
from typing import Literal, Self

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from llt_plugins.curvature.determinism import refuse_training_mode, refuse_unrepeatable, scalar
from llt_plugins.curvature.types import WeightedLoss

_LARGEST_MATRIX = 5_000

_GradientGraph = list[tuple[int, Tensor]]
"""Pairs (index of a parameter, its gradient), only those that can be differentiated again."""


class HessianOperator:
    """Hessian of ``Σ wᵢ lᵢ(θ) / Σ wᵢ`` with respect to the trainable parameters θ.

    Products are exact (Pearlmutter 1994, by double backward) and are accumulated over the
    micro-batches in float64. The flat order of θ is that of ``model.parameters()``, each
    tied weight once, frozen ones left out. Nothing is written to ``.grad``.

    Parameters
    ----------
    model
        Module in eval mode; it must not change while the operator is in use.
    losses
        Pairs ``(wᵢ, lᵢ)``; ``lᵢ(model)`` recomputes the mean loss of one fixed micro-batch.
    retain
        Whether to build the graph of each gradient once and keep it: a product then costs
        about 2 gradients instead of 3, but the memory of every kept graph stays taken.
        ``"auto"`` keeps it when there is one micro-batch: a fresh product holds that one
        graph at its peak anyway, so keeping it is free, while a second one would add to
        the peak, which is what splitting into micro-batches is meant to prevent.

    Raises
    ------
    ValueError
        No trainable parameter, no loss, weights that are not positive numbers, a loss that
        is not one number, or a model that is not deterministic (see ``determinism.py``).

    Examples
    --------
    >>> model = nn.Linear(2, 1, bias=False)
    >>> inputs = torch.tensor([[1.0, 2.0]])
    >>> with HessianOperator(model, [(1.0, lambda m: m(inputs).square().mean())]) as hessian:
    ...     hessian.matvec(torch.tensor([1.0, 0.0]))
    tensor([2., 4.], dtype=torch.float64)
    """

    def __init__(
        self,
        model: nn.Module,
        losses: Sequence[WeightedLoss],
        *,
        retain: bool | Literal["auto"] = "auto",
    ) -> None:
        self._model = model
        self._parameters = [p for p in model.parameters() if p.requires_grad]
        if not self._parameters:
            raise ValueError("the model has no trainable parameter, so there is no Hessian")
        self._losses = [loss for _, loss in losses]
        self._shares = _shares([weight for weight, _ in losses])
        self._retain = len(losses) == 1 if retain == "auto" else retain
        self._graphs: dict[int, _GradientGraph] = {}
        refuse_training_mode(model)
        refuse_unrepeatable(model, self._losses[0])

    @property
    def size(self) -> int:
        """Number of trainable parameters P."""
        return sum(p.numel() for p in self._parameters)

    @property
    def device(self) -> torch.device:
        """Where products are computed."""
        return self._parameters[0].device

    def matvec(self, vector: Tensor) -> Tensor:
        """Return the product of the Hessian with ``vector``.

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
        pieces = self._unflatten(vector)
        total = torch.zeros(self.size, dtype=torch.float64, device=self.device)
        for index, share in enumerate(self._shares):
            total.add_(self._product(index, pieces), alpha=share)
        return total

    def matrix(self) -> Tensor:
        """Return the whole Hessian: float64, shape ``(P, P)``, for P ≤ 5,000 only."""
        if self.size > _LARGEST_MATRIX:
            raise ValueError(
                f"the Hessian of {self.size:,} parameters is too large to write down "
                f"(at most {_LARGEST_MATRIX:,}); use matvec"
            )
        basis = torch.eye(self.size, dtype=torch.float64, device=self.device)
        return torch.stack([self.matvec(row) for row in basis], dim=1)

    def close(self) -> None:
        """Release the kept graphs; a later product builds them again."""
        self._graphs.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _product(self, index: int, pieces: list[Tensor]) -> Tensor:
        """Return the flat product of the Hessian of one micro-batch, in the model's type."""
        graph = self._graphs.get(index)
        if graph is None:
            graph = self._gradient_graph(index)
            if self._retain:
                self._graphs[index] = graph
        products: Sequence[Tensor | None] = [None] * len(pieces)
        if graph:
            products = torch.autograd.grad(
                [gradient for _, gradient in graph],
                self._parameters,
                [pieces[position] for position, _ in graph],
                retain_graph=self._retain,
                allow_unused=True,
            )
        return torch.cat(
            [
                (torch.zeros_like(p) if product is None else product).reshape(-1)
                for p, product in zip(self._parameters, products, strict=True)
            ]
        ).detach()

    def _gradient_graph(self, index: int) -> _GradientGraph:
        """Build the graph of one micro-batch's gradient.

        Attention runs in its plain kernel, the only one that can be differentiated twice.
        Parameters that the loss does not use, or uses linearly, have no second derivative
        and are left out.
        """
        with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
            loss = scalar(self._losses[index](self._model))
            if not loss.requires_grad:
                return []
            gradients = torch.autograd.grad(
                loss, self._parameters, create_graph=True, allow_unused=True
            )
        return [
            (position, gradient)
            for position, gradient in enumerate(gradients)
            if gradient is not None and gradient.requires_grad
        ]

    def _unflatten(self, vector: Tensor) -> list[Tensor]:
        """Cut ``vector`` into pieces with the shape, type and layout of the parameters."""
        parts = torch.split(vector.detach(), [p.numel() for p in self._parameters])
        return [
            torch.empty_like(p).copy_(part.view(p.shape))
            for p, part in zip(self._parameters, parts, strict=True)
        ]


def _shares(weights: list[float]) -> list[float]:
    """Return the weights divided by their sum."""
    total = math.fsum(weights)
    if not weights or min(weights) < 0 or not (0 < total < math.inf):
        raise ValueError(
            f"the micro-batches weigh {weights}, expected at least one and all positive: "
            "each is the number of terms its mean loss averages"
        )
    return [weight / total for weight in weights]
