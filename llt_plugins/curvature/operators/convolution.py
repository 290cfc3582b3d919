"""Convolutions whose second derivative costs what it should, twice the first.

torch differentiates the gradient of a convolution by convolutions that exchange the batch and
the channels, with kernels as large as the image. All of it can be had from the three kernels
that training uses, in the same shapes; for networks on the CPU that is a third faster.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

_Maybe = Tensor | None


@dataclass(eq=False)
class Switch:
    """Off, until it is turned on for all that share it."""

    on: bool = False


@dataclass(frozen=True)
class Geometry:
    """How the kernel moves over the images, in torch's terms, one number for each dimension.

    Once ``linear`` is on, the gradient is a function of the outer gradient alone: enough for
    products with the Jacobian, and cheaper. It is off while outputs are computed, since they
    may be made of gradients (a force is that of an energy).
    """

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    linear: Switch = field(default_factory=Switch)


def convolve(x: Tensor, weight: Tensor, bias: _Maybe, geometry: Geometry) -> Tensor:
    """Return the convolution of ``x`` with ``weight``, differentiable any number of times.

    Parameters
    ----------
    x
        ``(B, C, …)`` with one to three dimensions of space.
    weight
        ``(O, C / groups, …)``.
    bias
        ``(O,)`` or None.
    geometry
        See :class:`Geometry`.
    """
    result: Tensor = _Convolution.apply(x, weight, bias, geometry)
    return result


class _Convolution(Function):
    """y = x ∗ w + b."""

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: _Maybe, geometry: Geometry) -> Tensor:
        return _forward(x, weight, bias, geometry)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, weight, _, ctx.geometry = inputs
        ctx.save_for_backward(x, weight)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Any, ...]:
        x, weight = ctx.saved_tensors
        needs_x, needs_weight, needs_bias, _ = ctx.needs_input_grad
        if ctx.geometry.linear.on:
            x, weight = x.detach(), weight.detach()
        dx, dweight = _Adjoint.apply(slope, x, weight, ctx.geometry, needs_x, needs_weight)
        axes = [0, *range(2, slope.ndim)]
        return dx, dweight, slope.sum(axes) if needs_bias else None, None


class _Adjoint(Function):
    """The two gradients of a convolution, ``dx(g, w)`` and ``dw(g, x)``."""

    @staticmethod
    def forward(
        slope: Tensor, x: Tensor, weight: Tensor, geometry: Geometry, want_x: bool, want_w: bool
    ) -> tuple[_Maybe, _Maybe]:
        return _gradients(slope, x, weight, geometry, want_x, want_w)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        slope, x, weight, geometry, ctx.want_x, ctx.want_w = inputs
        ctx.geometry = replace(geometry, linear=Switch())
        ctx.save_for_backward(slope, x, weight)
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, x_dot: _Maybe, weight_dot: _Maybe) -> tuple[Any, ...]:
        arguments = (x_dot, weight_dot, *ctx.saved_tensors, ctx.geometry, ctx.needs_input_grad[:3])
        # Third derivatives: the same formula out of operations that torch can differentiate.
        second = _second if torch.is_grad_enabled() else _Second.apply
        return (*second(*arguments), None, None, None)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *arguments: Any) -> Any:
        slope, x, weight, geometry, want_x, want_w = arguments
        if in_dims[1] is not None or in_dims[2] is not None:
            return _one_by_one(_Adjoint.forward, info.batch_size, in_dims, arguments)
        slope = slope.movedim(in_dims[0], 0)
        count = len(slope)
        dx = dweight = None
        if want_x:
            like = _shaped(x, (count * len(x), *x.shape[1:]))
            dx = _cut(_dx(slope.flatten(0, 1), like, weight, geometry), 0, count)
        if want_w:
            dweight = torch.stack([_dweight(one, x, weight, geometry) for one in slope])
        return (dx, dweight), (_front(dx), _front(dweight))


class _Second(Function):
    """The gradient of ``⟨ẋ, dx(g, w)⟩ + ⟨ẇ, dw(g, x)⟩`` with respect to g, x and w."""

    @staticmethod
    def forward(*arguments: Any) -> tuple[_Maybe, _Maybe, _Maybe]:
        return _second(*arguments)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Keep nothing: it is used where no further derivative is asked for."""

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *arguments: Any) -> Any:
        x_dot, weight_dot, slope, x, weight, geometry, needs = arguments
        both = in_dims[0] is not None and in_dims[1] is not None
        if not both or geometry.groups != 1 or any(dim is not None for dim in in_dims[2:5]):
            return _one_by_one(_second, info.batch_size, in_dims, arguments)
        x_dot, weight_dot = x_dot.movedim(in_dims[0], 0), weight_dot.movedim(in_dims[1], 0)
        results = _second_of_many(x_dot, weight_dot, slope, x, weight, geometry, needs)
        return results, tuple(_front(result) for result in results)


def _second(
    x_dot: _Maybe,
    weight_dot: _Maybe,
    slope: Tensor,
    x: Tensor,
    weight: Tensor,
    geometry: Geometry,
    needs: tuple[bool, bool, bool],
) -> tuple[_Maybe, _Maybe, _Maybe]:
    dslope = None
    if needs[0] and x_dot is not None:
        dslope = _forward(x_dot, weight, None, geometry)
    if needs[0] and weight_dot is not None:
        more = _forward(x, weight_dot, None, geometry)
        dslope = more if dslope is None else dslope.add_(more)
    want_x = needs[1] and weight_dot is not None
    want_w = needs[2] and x_dot is not None
    dx, dweight = _gradients(
        slope,
        x if x_dot is None else x_dot,
        weight if weight_dot is None else weight_dot,
        geometry,
        want_x,
        want_w,
    )
    return dslope, dx, dweight


def _second_of_many(
    x_dot: Tensor,
    weight_dot: Tensor,
    slope: Tensor,
    x: Tensor,
    weight: Tensor,
    geometry: Geometry,
    needs: tuple[bool, bool, bool],
) -> tuple[_Maybe, _Maybe, _Maybe]:
    """Do the same for k tangents ``(k, B, C, …)`` and ``(k, O, C, …)`` in few large calls.

    What multiplies the weights is a larger batch; what multiplies the images, which are the
    same for all k, is more channels.
    """
    count, incoming = len(x_dot), weight.shape[1]
    dslope = dx = dweight = None
    if needs[0]:
        dslope = _cut(_forward(x_dot.flatten(0, 1), weight, None, geometry), 0, count)
        more = _forward(x, weight_dot.flatten(0, 1), None, geometry)
        dslope.add_(_cut(more, 1, count).movedim(1, 0))
    if needs[1]:
        like = _shaped(x, (len(x), count * incoming, *x.shape[2:]))
        wide = _dx(slope, like, weight_dot.movedim(0, 1).flatten(1, 2), geometry)
        dx = _cut(wide, 1, count).movedim(1, 0)
    if needs[2]:
        dweight = torch.stack([_dweight(slope, one, weight, geometry) for one in x_dot])
    return dslope, dx, dweight


def _forward(x: Tensor, weight: Tensor, bias: _Maybe, geometry: Geometry) -> Tensor:
    g, none = geometry, [0] * len(geometry.stride)
    return torch.convolution(
        x, weight, bias, g.stride, g.padding, g.dilation, False, none, g.groups
    )


def _gradients(
    slope: Tensor, x: Tensor, weight: Tensor, geometry: Geometry, want_x: bool, want_w: bool
) -> tuple[_Maybe, _Maybe]:
    """Return ``dx(g, w)`` and ``dw(g, x)`` by torch's kernels for training."""
    if not (want_x or want_w):
        return None, None
    g, none = geometry, [0] * len(geometry.stride)
    dx, dweight, _ = torch.ops.aten.convolution_backward(
        slope,
        x,
        weight,
        None,
        g.stride,
        g.padding,
        g.dilation,
        False,
        none,
        g.groups,
        [want_x, want_w, False],
    )
    return dx, dweight


def _dx(slope: Tensor, x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    dx, _ = _gradients(slope, x, weight, geometry, True, False)
    assert dx is not None
    return dx


def _dweight(slope: Tensor, x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    _, dweight = _gradients(slope, x, weight, geometry, False, True)
    assert dweight is not None
    return dweight


def _cut(x: Tensor, dim: int, count: int) -> Tensor:
    """Split dimension ``dim`` into ``count`` parts: ``(…, k·n, …)`` to ``(…, k, n, …)``."""
    return x.reshape(*x.shape[:dim], count, x.shape[dim] // count, *x.shape[dim + 1 :])


def _shaped(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return a tensor whose shape is asked for and whose values are not; it takes no memory."""
    return x.new_empty(()).expand(shape)


def _one_by_one(
    function: Any, size: int, in_dims: tuple[Any, ...], arguments: tuple[Any, ...]
) -> tuple[tuple[_Maybe, ...], tuple[int | None, ...]]:
    """Apply ``function`` to each of the stacked arguments."""
    rows = []
    for index in range(size):
        row = [
            value.select(dim, index) if isinstance(dim, int) else value
            for value, dim in zip(arguments, in_dims, strict=True)
        ]
        rows.append(function(*row))
    columns = tuple(
        None if column[0] is None else torch.stack(column) for column in zip(*rows, strict=True)
    )
    return columns, tuple(_front(column) for column in columns)


def _front(value: _Maybe) -> int | None:
    return None if value is None else 0
