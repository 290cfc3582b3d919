"""Which units of a network can be permuted without changing its function.

The layers are followed through a symbolic trace. Every convolution and linear layer gives its
outputs an order of their own; operations that treat units alike pass that order on, sums make
the orders of their terms one, and whatever is not known to treat units alike pins the order.
An unknown operation therefore costs freedom, never correctness.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

_ALIKE_MODULES = (
    nn.Identity, nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Tanh, nn.Sigmoid,
    nn.Softplus, nn.Hardswish, nn.Dropout, nn.Dropout2d, nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d,
    nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d,
    nn.AdaptiveMaxPool2d,
)  # fmt: skip
"""Modules that do the same to every unit (channel or feature) and keep their order."""

_ALIKE_FUNCTIONS = {
    F.relu, F.relu6, F.leaky_relu, F.elu, F.gelu, F.silu, F.tanh, F.sigmoid, F.dropout,
    F.max_pool2d, F.avg_pool2d, F.adaptive_avg_pool2d, F.adaptive_max_pool2d,
    torch.relu, torch.tanh, torch.sigmoid,
    "relu", "relu_", "tanh", "sigmoid", "contiguous", "clone", "detach",
}  # fmt: skip
"""Functions, and names of tensor methods, that do the same to every unit."""

_QUESTIONS = {"size", "dim", "ndimension"}
"""Names of tensor methods whose answer does not depend on the order of units."""

_SUMS = {operator.add, operator.iadd, torch.add, "add", "add_"}


@dataclass(frozen=True)
class Axis:
    """One axis of a parameter or buffer along which the units of a group are arranged.

    Attributes
    ----------
    name
        Name of the tensor in the model.
    dim
        The axis; its length is a multiple of the number of units.
    buffer
        Whether the tensor is a buffer, which is permuted along but not compared.
    """

    name: str
    dim: int
    buffer: bool = False


@dataclass
class UnitGroup:
    """Units that can only be permuted together, and every axis they appear on.

    Attributes
    ----------
    size
        Number of units.
    axes
        In the order of the forward pass.
    """

    size: int
    axes: list[Axis] = field(default_factory=list)


@dataclass
class _Order:
    """The order of some units.

    ``root`` follows mergers (union-find); a pinned order cannot be changed.
    """

    size: int
    position: int
    axes: list[Axis] = field(default_factory=list)
    parent: _Order | None = None
    pinned: bool = False

    def root(self) -> _Order:
        return self if self.parent is None else self.parent.root()


@dataclass(frozen=True)
class _Flow:
    """What is known of one value of the trace.

    Units lie on axis 1 before ``spatial`` > 0 axes of an image, or on the last axis
    (``spatial`` = 0), each of them repeated over adjacent entries if an image was flattened.
    """

    order: _Order
    spatial: int


def unit_groups(model: nn.Module) -> list[UnitGroup]:
    """Return the groups of units of ``model`` that can be permuted, in forward order.

    Parameters
    ----------
    model
        Made of convolutions, linear layers, batch normalisation, activations, pooling,
        flattening and residual sums; what else it holds is left as it is. Grouped
        convolutions are left as they are, except depthwise ones.

    Raises
    ------
    ValueError
        If the model cannot be traced, uses a parameter twice, or has no such group.

    Examples
    --------
    >>> groups = unit_groups(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)))
    >>> [(group.size, [(axis.name, axis.dim) for axis in group.axes]) for group in groups]
    [(3, [('0.weight', 0), ('0.bias', 0), ('2.weight', 1)])]
    """
    if len(dict(model.named_parameters(remove_duplicate=False))) > len(list(model.parameters())):
        raise ValueError(
            f"{type(model).__name__} shares parameters between its layers, so its units cannot "
            "be aligned"
        )
    try:
        graph = fx.Tracer().trace(model)
    except Exception as error:
        raise ValueError(
            f"the layers of {type(model).__name__} cannot be followed, so its units cannot be "
            f"aligned: {error}"
        ) from error
    walk = _Walk(model)
    for node in graph.nodes:
        walk.visit(node)
    groups = walk.groups()
    if not groups:
        raise ValueError(
            f"{type(model).__name__} has no units that can be permuted without changing what "
            "it computes, so there is nothing to align"
        )
    return groups


class _Walk:
    """Follows orders of units through the nodes of a trace."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._flows: dict[fx.Node, _Flow] = {}
        self._orders: list[_Order] = []
        self._visited: set[str] = set()

    def groups(self) -> list[UnitGroup]:
        roots = [order for order in self._orders if order.parent is None and not order.pinned]
        return [UnitGroup(order.size, order.axes) for order in roots]

    def visit(self, node: fx.Node) -> None:
        """Work out the flow of ``node``; pin the orders it reads if that is not possible."""
        flow = None
        incoming = self._first(node)
        if node.op == "call_module":
            flow = self._module(str(node.target), incoming)
        elif node.op in ("call_function", "call_method"):
            flow = self._function(node, incoming)
        if flow is not None:
            self._flows[node] = flow
        elif node.target not in _QUESTIONS:
            for source in node.all_input_nodes:
                self._pin(self._flows.get(source))

    def _first(self, node: fx.Node) -> _Flow | None:
        source = node.args[0] if node.args else None
        return self._flows.get(source) if isinstance(source, fx.Node) else None

    def _module(self, name: str, incoming: _Flow | None) -> _Flow | None:
        module = self._model.get_submodule(name)
        if next(module.parameters(), None) is not None:
            if name in self._visited:
                raise ValueError(f"module {name!r} is used twice, so its units cannot be aligned")
            self._visited.add(name)
        if isinstance(module, nn.Linear | _ConvNd):
            return self._layer(name, module, incoming)
        if isinstance(module, _BatchNorm):
            return self._normalisation(name, module, incoming)
        if isinstance(module, nn.Flatten):
            alike = module.start_dim == 1 and module.end_dim == -1
            return self._flattened(incoming) if alike else None
        return incoming if isinstance(module, _ALIKE_MODULES) else None

    def _layer(
        self, name: str, module: nn.Linear | _ConvNd, incoming: _Flow | None
    ) -> _Flow | None:
        """Let the incoming order end at the weight, and a new one begin."""
        if isinstance(module, _ConvNd):
            if module.transposed:
                return None
            if module.groups > 1:
                return self._depthwise(name, module, incoming)
        fan_in = module.weight.shape[1]
        if incoming is not None:
            order = incoming.order.root()
            # A flattened image lists all pixels of one channel, then those of the next.
            fits = fan_in == order.size or (
                isinstance(module, nn.Linear) and fan_in % order.size == 0
            )
            same_axis = isinstance(module, nn.Linear) == (incoming.spatial == 0)
            if fits and same_axis:
                order.axes.append(Axis(f"{name}.weight", 1))
            else:
                self._pin(incoming)
        order = _Order(module.weight.shape[0], len(self._orders))
        self._orders.append(order)
        self._own(order, name, module, ("weight", "bias"))
        return _Flow(order, spatial=module.weight.ndim - 2)

    def _depthwise(self, name: str, module: _ConvNd, incoming: _Flow | None) -> _Flow | None:
        depthwise = module.groups == module.in_channels == module.out_channels
        if not depthwise or incoming is None or incoming.spatial == 0:
            return None
        self._own(incoming.order.root(), name, module, ("weight", "bias"))
        return incoming

    def _normalisation(self, name: str, module: _BatchNorm, incoming: _Flow | None) -> _Flow | None:
        if incoming is None or incoming.order.root().size != module.num_features:
            return None
        order = incoming.order.root()
        self._own(order, name, module, ("weight", "bias"))
        for buffer in ("running_mean", "running_var"):
            if getattr(module, buffer) is not None:
                order.axes.append(Axis(f"{name}.{buffer}", 0, buffer=True))
        return incoming

    @staticmethod
    def _own(order: _Order, name: str, module: nn.Module, parameters: tuple[str, ...]) -> None:
        for parameter in parameters:
            if getattr(module, parameter) is not None:
                order.axes.append(Axis(f"{name}.{parameter}", 0))

    def _function(self, node: fx.Node, incoming: _Flow | None) -> _Flow | None:
        if node.target in _SUMS:
            return self._sum(node)
        if node.target in (torch.flatten, "flatten"):
            start = node.kwargs.get("start_dim", node.args[1] if len(node.args) > 1 else 0)
            return self._flattened(incoming) if start == 1 and len(node.args) < 3 else None
        if node.target in ("view", "reshape"):
            rows = len(node.args) == 3 and node.args[2] == -1
            return self._flattened(incoming) if rows else None
        if node.target is operator.getitem:
            return incoming if _keeps_units(node.args[1], incoming) else None
        return incoming if node.target in _ALIKE_FUNCTIONS else None

    @staticmethod
    def _flattened(incoming: _Flow | None) -> _Flow | None:
        return None if incoming is None else _Flow(incoming.order, spatial=0)

    def _sum(self, node: fx.Node) -> _Flow | None:
        """Make the orders of both terms one."""
        flows = [self._flows.get(a) if isinstance(a, fx.Node) else None for a in node.args[:2]]
        first, second = flows if len(flows) == 2 else (None, None)
        if first is None or second is None or first.spatial != second.spatial:
            return None
        ours, theirs = sorted(
            (first.order.root(), second.order.root()), key=lambda order: order.position
        )
        if ours.size != theirs.size:
            return None
        if ours is not theirs:
            ours.axes += theirs.axes
            ours.pinned |= theirs.pinned
            theirs.parent = ours
        return first

    @staticmethod
    def _pin(flow: _Flow | None) -> None:
        if flow is not None:
            flow.order.root().pinned = True


def _keeps_units(index: Any, incoming: _Flow | None) -> bool:
    """Say whether ``x[index]`` leaves the axis of the units of ``x`` whole."""
    if incoming is None or incoming.spatial == 0 or not isinstance(index, tuple):
        return False
    if not all(isinstance(part, slice) for part in index[1:]):
        return False
    if index[0] is Ellipsis:
        return len(index) - 1 <= incoming.spatial
    return len(index) >= 2 and index[0] == index[1] == slice(None)
