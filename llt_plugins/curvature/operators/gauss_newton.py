"""Positive semi-definite relatives of the Hessian: Gauss–Newton and empirical Fisher."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from llt_plugins.curvature.operators.determinism import scalar
from llt_plugins.curvature.operators.memory import BUDGET, Sizes, graph_bytes
from llt_plugins.curvature.operators.micro_batches import MicroBatchOperator, Retain

Outputs = Callable[[nn.Module], Any]
"""Recomputes the outputs of one fixed micro-batch: a tensor, or tuples and mappings of them."""

SplitLoss = tuple[float, Outputs, Callable[[Any], Tensor]]
"""Weight, outputs of the model, and mean loss of these outputs: ``(w, f(model), l(outputs))``."""

ExampleLosses = tuple[float, Callable[[nn.Module], Tensor]]
"""Weight, and the loss of each example of one micro-batch, shape ``(n,)``."""


class GaussNewtonOperator(MicroBatchOperator):
    """Generalised Gauss–Newton matrix ``Σ wᵢ Jᵢᵀ Hᵢ Jᵢ / Σ wᵢ`` (Schraudolph 2002, eq. 11).

    Jᵢ is the Jacobian of the outputs of micro-batch i and Hᵢ the Hessian of its loss with
    respect to them. It is the Hessian without the curvature of the model itself, and positive
    semi-definite when the loss is convex in the outputs. For cross-entropy of logits and for
    squared error it equals the Fisher information matrix, whose expectation is over labels
    drawn from the model (Martens 2020, section 9.2); not so :class:`FisherOperator`.

    A product costs 1.1 to 1.4 gradients with kept graphs.

    Parameters
    ----------
    model
        Module in eval mode; it must not change while the operator is in use.
    losses
        Triples ``(wᵢ, fᵢ, lᵢ)``: ``fᵢ(model)`` recomputes the outputs of one fixed
        micro-batch (a tensor, or tuples, lists and mappings of tensors) and ``lᵢ(outputs)``
        their mean loss.
    parameters, retain, memory_budget
        As for :class:`~llt_plugins.curvature.operators.hessian.HessianOperator`.

    Raises
    ------
    ValueError
        As for :class:`~llt_plugins.curvature.operators.hessian.HessianOperator`.

    Examples
    --------
    >>> model = nn.Linear(2, 1, bias=False)
    >>> inputs = torch.tensor([[1.0, 2.0]])
    >>> losses = [(1.0, lambda m: m(inputs), lambda y: y.square().mean())]
    >>> GaussNewtonOperator(model, losses).matvec(torch.tensor([1.0, 0.0]))
    tensor([2., 4.], dtype=torch.float64)
    """

    linear = True

    def __init__(
        self,
        model: nn.Module,
        losses: Sequence[SplitLoss],
        *,
        parameters: Iterable[str] | None = None,
        retain: Retain = "auto",
        memory_budget: int = BUDGET,
    ) -> None:
        self._functions = [(outputs, loss) for _, outputs, loss in losses]
        super().__init__(
            model,
            [weight for weight, _, _ in losses],
            [partial(_composed, outputs, loss) for outputs, loss in self._functions],
            parameters=parameters,
            retain=retain,
            memory_budget=memory_budget,
        )
        self._again = partial(
            GaussNewtonOperator, model, losses, retain=retain, memory_budget=memory_budget
        )

    def restricted(self, parameters: Iterable[str]) -> GaussNewtonOperator:
        """Return the diagonal block of the parameters with these names, as an operator."""
        return self._again(parameters=parameters)

    def _build(self, index: int, rewriting: Callable[[], Any]) -> _OutputGraph:
        """Build the graphs of the outputs, of Jᵀu in u, and of the gradient of the loss."""
        function, loss = self._functions[index]
        with rewriting():
            structure = function(self._model)
        leaves = list(_leaves(structure))
        outputs = [leaf for leaf in leaves if leaf.requires_grad]
        cut = [leaf.detach().requires_grad_(leaf.requires_grad) for leaf in leaves]
        value = scalar(loss(_rebuilt(structure, iter(cut))))
        free = [leaf for leaf in cut if leaf.requires_grad]
        slopes = _derivatives(value, free, create_graph=True) if value.requires_grad else []
        duals = [torch.zeros_like(output, requires_grad=True) for output in outputs]
        pulled = _derivatives(outputs, self._parameters, duals, create_graph=True)
        return _OutputGraph(value, self._parameters, outputs, duals, pulled, free, slopes)


class FisherOperator(GaussNewtonOperator):
    """Empirical Fisher matrix ``Σ g gᵀ / N`` of the gradients g of single examples.

    The second moment of the gradients at the given labels. It is not the Fisher information
    matrix, which takes labels from the model and for cross-entropy is
    :class:`GaussNewtonOperator`; the two agree only where the model is calibrated, and this
    one vanishes where every example is fitted (Kunstner, Balles and Hennig 2019).

    Parameters
    ----------
    model
        Module in eval mode; it must not change while the operator is in use.
    losses
        Pairs ``(wᵢ, lᵢ)``; ``lᵢ(model)`` recomputes the loss of each of the nᵢ examples of
        micro-batch i, shape ``(nᵢ,)``. With ``wᵢ = nᵢ``, N is the number of examples.
    parameters, retain, memory_budget
        As for :class:`~llt_plugins.curvature.operators.hessian.HessianOperator`.

    Examples
    --------
    >>> model = nn.Linear(2, 1, bias=False)
    >>> inputs = torch.eye(2)
    >>> with FisherOperator(model, [(2, lambda m: m(inputs)[:, 0])]) as fisher:
    ...     fisher.matrix()
    tensor([[0.5000, 0.0000],
            [0.0000, 0.5000]], dtype=torch.float64)
    """

    def __init__(
        self,
        model: nn.Module,
        losses: Sequence[ExampleLosses],
        *,
        parameters: Iterable[str] | None = None,
        retain: Retain = "auto",
        memory_budget: int = BUDGET,
    ) -> None:
        super().__init__(
            model,
            [
                (weight, partial(_one_a_row, examples), _half_mean_square)
                for weight, examples in losses
            ],
            parameters=parameters,
            retain=retain,
            memory_budget=memory_budget,
        )


@dataclass
class _OutputGraph:
    """The outputs of one micro-batch, and what is needed for ``Jᵀ H J v``.

    ``pulled`` is Jᵀu for each parameter, linear in the ``duals`` u, so that its derivative
    with respect to u in direction v is ``J v``; ``slopes`` is the gradient of the loss with
    respect to ``free``, the outputs cut off from the model.
    """

    loss: Tensor
    parameters: list[Tensor]
    outputs: list[Tensor]
    duals: list[Tensor]
    pulled: Sequence[Tensor | None]
    free: list[Tensor]
    slopes: Sequence[Tensor | None]

    def sizes(self, besides: list[Tensor]) -> Sizes:
        """Measure the memory it needs; the tensors ``besides`` exist anyway."""
        ends = [t for t in (*self.outputs, *self.pulled, *self.slopes) if t is not None]
        held, _ = graph_bytes(ends, besides=besides)
        return Sizes(held, *graph_bytes(self.outputs, besides=besides))

    def product(
        self, vectors: list[Tensor], *, batched: bool, retain: bool
    ) -> Sequence[Tensor | None]:
        """Return ``Jᵀ H J v`` in three steps."""
        options = {"retain_graph": retain, "is_grads_batched": batched}
        pushed = _derivatives(self.pulled, self.duals, vectors, **options)
        bent = _derivatives(self.slopes, self.free, pushed, **options)
        return _derivatives(self.outputs, self.parameters, bent, **options)


def _derivatives(
    outputs: Tensor | Sequence[Tensor | None],
    inputs: Sequence[Tensor],
    directions: Sequence[Tensor | None] | None = None,
    **options: Any,
) -> Sequence[Tensor | None]:
    """Return ``Σ dᵢᵀ ∂oᵢ/∂inputs``, leaving out outputs that are constant or have no direction."""
    every = [outputs] if isinstance(outputs, Tensor) else outputs
    given = [None] * len(every) if directions is None else directions
    terms = [
        (output, direction)
        for output, direction in zip(every, given, strict=True)
        if output is not None
        and output.requires_grad
        and (directions is None or direction is not None)
    ]
    if not terms:
        return [None] * len(inputs)
    return torch.autograd.grad(
        [output for output, _ in terms],
        inputs,
        [direction for _, direction in terms],
        allow_unused=True,
        **options,
    )


def _composed(outputs: Outputs, loss: Callable[[Any], Tensor], model: nn.Module) -> Tensor:
    return loss(outputs(model))


def _half_mean_square(losses: Tensor) -> Tensor:
    """Have the Hessian ``I / n``."""
    return losses.square().mean() / 2


def _one_a_row(examples: Callable[[nn.Module], Tensor], model: nn.Module) -> Tensor:
    losses = examples(model)
    if losses.ndim != 1:
        raise ValueError(
            f"the losses of single examples have shape {tuple(losses.shape)}, expected (n,): "
            "one for each example of the micro-batch, not their mean"
        )
    return losses


def _leaves(structure: Any) -> Iterator[Tensor]:
    """Yield the floating-point tensors of nested tuples, lists and mappings."""
    if isinstance(structure, Tensor):
        if structure.is_floating_point():
            yield structure
    elif isinstance(structure, Mapping):
        for value in structure.values():
            yield from _leaves(value)
    elif isinstance(structure, tuple | list):
        for value in structure:
            yield from _leaves(value)


def _rebuilt(structure: Any, leaves: Iterator[Tensor]) -> Any:
    """Return ``structure`` with its floating-point tensors replaced, in the same order."""
    if isinstance(structure, Tensor):
        return next(leaves) if structure.is_floating_point() else structure
    if isinstance(structure, Mapping):
        # A copy, since some mappings also offer their values as attributes.
        twin = copy.copy(structure) if isinstance(structure, MutableMapping) else dict(structure)
        for key, value in structure.items():
            twin[key] = _rebuilt(value, leaves)
        return twin
    if isinstance(structure, tuple | list):
        values = [_rebuilt(value, leaves) for value in structure]
        named = hasattr(structure, "_fields")
        return type(structure)(*values) if named else type(structure)(values)
    return structure
