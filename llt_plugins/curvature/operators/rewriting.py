"""The same function out of operations that are cheap to differentiate twice.

While a loss is computed inside :class:`Rewriting`, three kinds of calls are answered another
way, besides those of :class:`~llt_plugins.curvature.operators.corrections.Corrected`; nothing
is done to the model, and what is not recognised is left to torch.

* Convolutions and ReLU get gradients that are cheap to differentiate again.
* Evaluation-mode batch normalisation of what a convolution has just returned, ``γ(y − μ)/σ +
  β``, becomes a second convolution with the weights ``w·γ/σ``, formed from the original
  parameters each time: the same function of the same parameters, whose derivatives of every
  order pass through a few numbers for each channel instead of through every pixel.
* On the CPU, float32 images are laid out channels-last, where convolutions are faster.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from llt_plugins.curvature.operators.convolution import Geometry, Switch, convolve
from llt_plugins.curvature.operators.corrections import Corrected
from llt_plugins.curvature.operators.rectifier import rectify

_FEW = 16
"""Input channels below which strided 1×1 convolutions of channels-last images are not safe."""

_CONVOLUTIONS: dict[Callable[..., Any], int] = {
    torch.conv1d: 1,
    torch.conv2d: 2,
    torch.conv3d: 3,
}
_RELU = {functional.relu, torch.relu, Tensor.relu}
_RELU_IN_PLACE = {torch.relu_, Tensor.relu_}
_BATCH_NORM = inspect.signature(functional.batch_norm)


@dataclass
class _Convolved:
    """The last convolution: its result, as it was then, and what it was made of."""

    result: Tensor
    version: int
    x: Tensor
    weight: Tensor
    bias: Tensor | None
    geometry: Geometry


class Rewriting(Corrected):
    """A block in which a loss is computed for products of second order.

    Parameters
    ----------
    channels_last
        Whether float32 images on the CPU are laid out so. Models that call ``view`` on images
        may refuse that layout.
    linear
        Whether gradients that are taken after the block need only be differentiable with
        respect to the outer gradient. Those that the model itself takes are not restricted.
    """

    def __init__(self, *, channels_last: bool = True, linear: bool = False) -> None:
        super().__init__()
        self._channels_last = channels_last
        self._linear = linear
        self._over = Switch()
        self._last: _Convolved | None = None

    def __exit__(self, *error: Any) -> None:
        self._over.on = self._linear
        self._over = Switch()
        self._last = None
        super().__exit__(*error)  # type: ignore[no-untyped-call]

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Answer the call ``func(*args, **kwargs)``."""
        kwargs = kwargs or {}
        result = (
            self._rewritten(func, args, kwargs)
            if _known(func) and _plain([*args, *kwargs.values()])
            else None
        )
        return super().__torch_function__(func, types, args, kwargs) if result is None else result

    def _rewritten(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Tensor | None:
        if func in _CONVOLUTIONS:
            return self._convolution(_CONVOLUTIONS[func], *args, **kwargs)
        if func is functional.batch_norm:
            return self._batch_norm(**_BATCH_NORM.bind(*args, **kwargs).arguments)
        x = args[0] if args else kwargs["input"]
        inplace = func in _RELU_IN_PLACE or (args[1] if len(args) > 1 else kwargs.get("inplace"))
        # torch knows best what changing a leaf or a view in place means.
        if inplace and (x.is_leaf or x._is_view()):
            return None
        return rectify(x, inplace=bool(inplace))

    def _convolution(
        self,
        space: int,
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> Tensor | None:
        if isinstance(padding, str) or input.ndim != space + 2:
            return None
        x = input
        geometry = Geometry(
            _each(stride, space),
            _each(padding, space),
            _each(dilation, space),
            groups,
            self._over,
        )
        if self._channels_last and space == 2 and groups == 1 and _on_cpu(x):
            x, geometry = _safe(x.contiguous(memory_format=torch.channels_last), weight, geometry)
        result = convolve(x, weight, bias, geometry)
        self._last = _Convolved(result, result._version, x, weight, bias, geometry)
        return result

    def _batch_norm(
        self,
        input: Tensor,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Tensor | None:
        last, self._last = self._last, None
        if last is None or last.result is not input or last.version != input._version:
            return None
        if training or running_mean is None or running_var is None:
            return None
        scale = (running_var + eps).rsqrt()
        if weight is not None:
            scale = scale * weight
        shift = -running_mean if last.bias is None else last.bias - running_mean
        shift = shift * scale
        if bias is not None:
            shift = shift + bias
        kernel = last.weight * scale.view(-1, *[1] * (last.weight.ndim - 1))
        return convolve(last.x, kernel, shift, last.geometry)


def _known(func: Callable[..., Any]) -> bool:
    return (
        func in _CONVOLUTIONS
        or func is functional.batch_norm
        or func in _RELU
        or func in _RELU_IN_PLACE
    )


def _plain(values: list[Any]) -> bool:
    """Say whether these are plain real tensors, and no transform or cast is under way."""
    tensors = [value for value in values if isinstance(value, Tensor)]
    return (
        bool(tensors)
        and all(type(t) in (Tensor, nn.Parameter) and t.is_floating_point() for t in tensors)
        and len({t.dtype for t in tensors}) == 1
        and not torch._C._are_functorch_transforms_active()
        and not torch.is_autocast_enabled(tensors[0].device.type)
    )


def _each(value: Any, space: int) -> tuple[int, ...]:
    """Return one number for each dimension of space; torch also takes one for all."""
    values = (value,) if isinstance(value, int) else tuple(value)
    return values * space if len(values) == 1 else values


def _on_cpu(x: Tensor) -> bool:
    return x.device.type == "cpu" and x.dtype == torch.float32


def _safe(x: Tensor, weight: Tensor, geometry: Geometry) -> tuple[Tensor, Geometry]:
    """Pick the pixels of a narrow strided 1×1 convolution first: the same function.

    The backward pass of oneDNN's own way writes past its workspace when channels are few and
    images channels-last (oneDNN issue 6035).
    """
    stride = geometry.stride
    if (
        set(weight.shape[2:]) == {1}
        and set(stride) != {1}
        and set(geometry.padding) == {0}
        and weight.shape[1] < _FEW
    ):
        return x[..., :: stride[0], :: stride[1]], replace(geometry, stride=(1, 1))
    return x, geometry
