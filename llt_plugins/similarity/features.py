"""What a network computes on given inputs: its outputs, and the activations of its layers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn

from llt_plugins.similarity.inputs import Inputs

Pool = Literal["average", "flatten"]

Run = Callable[[nn.Module, Any], Any]
"""Sends one batch through a model."""

Reduce = Callable[[str, Tensor, Any], Tensor]
"""Makes features ``(B, p)`` of the activations of the named layer on one batch."""


def call(model: nn.Module, inputs: Inputs) -> Any:
    """Call ``model`` on one tensor, on positional or on keyword arguments."""
    if isinstance(inputs, Mapping):
        return model(**inputs)
    if isinstance(inputs, tuple):
        return model(*inputs)
    return model(inputs)


def outputs(model: nn.Module, batches: Iterable[Inputs]) -> Tensor:
    """Return the outputs of ``model`` on all batches, float32 or wider, on the CPU.

    Parameters
    ----------
    model
        In eval mode; no gradient is recorded.
    batches
        Inputs on the device of the model.

    Returns
    -------
    Tensor
        Shape ``(N, C)`` for one row of class scores per example. Where an output has more
        axes they are kept, and must then be the same in all batches.
    """
    with torch.no_grad():
        parts = [single(call(model, inputs), "the model") for inputs in batches]
    if not parts:
        raise ValueError("there are no inputs to compute outputs on")
    dtype = torch.promote_types(parts[0].dtype, torch.float32)
    return torch.cat([part.to("cpu", dtype) for part in parts])


def class_probabilities(logits: Tensor) -> Tensor:
    """Return the softmax over classes: axis 1 of ``(N, C)`` and ``(N, C, H, W)``, else the last."""
    return logits.double().softmax(dim=-1 if logits.ndim == 3 else 1)


def layers(
    model: nn.Module,
    batches: Sequence[Any],
    names: Sequence[str],
    *,
    pool: Pool = "average",
    memory: int = 1 << 30,
    run: Run = call,
    reduce: Reduce | None = None,
) -> Iterator[tuple[str, Tensor]]:
    """Yield the activations of the named layers, one layer after the other.

    Activations are copied inside the forward hook, before a later in-place operation
    (``x += shortcut``, ``relu(inplace=True)``) can change them. As many layers are kept per
    pass over ``batches`` as fit into ``memory``; more passes are made for the others, so a
    caller that reduces each layer at once never holds more (but for the first batch).

    Parameters
    ----------
    model
        In eval mode. Hooks are removed again, also when the model raises.
    batches
        Inputs on the device of the model; gone through once or more.
    names
        Names of submodules, as in ``model.named_modules()``. A layer that runs several
        times in one pass gives its last activation; one whose output is a tuple or a
        mapping gives the first floating tensor in it.
    pool
        What becomes of the axes after the channels: ``"average"`` over positions, so that
        ``(B, C, H, W)`` and ``(B, L, C)`` give ``(B, C)``, or ``"flatten"``.
    memory
        Bytes of activations held at once; one layer is always kept.
    run
        Sends one of ``batches`` through the model; the default calls it on inputs.
    reduce
        Makes features ``(B, p)`` of the activations of a layer; None pools them by ``pool``.

    Yields
    ------
    tuple
        The name, and the features, shape ``(N, p)``, on the CPU.

    Raises
    ------
    ValueError
        If a layer does not exist, did not run, or gives no tensor.
    """
    modules = dict(model.named_modules())
    for name in names:
        if name not in modules:
            near = ", ".join(list(modules)[1:8])
            raise ValueError(f"the model has no layer {name!r}; it has {near}, …")
    if not batches:
        raise ValueError("there are no inputs to compute activations on")
    reduce = reduce or (lambda name, x, batch: pooled(x, pool))
    # The first batch tells the sizes, about; how many layers fit follows from them.
    first = _activations(model, batches[0], names, run, reduce)
    sizes = {name: x.element_size() * x.numel() * len(batches) for name, x in first.items()}
    for group in _groups(names, sizes, memory):
        parts = {name: [first.pop(name)] for name in group}
        for inputs in batches[1:]:
            for name, x in _activations(model, inputs, group, run, reduce).items():
                parts[name].append(x)
        for name in group:
            yield name, torch.cat(parts.pop(name))


def single(output: Any, who: str) -> Tensor:
    """Return ``output``, or the first floating tensor inside a tuple, list or mapping.

    Raises
    ------
    ValueError
        If there is none.
    """
    if isinstance(output, Tensor):
        return output
    members: Iterable[Any] = ()
    if isinstance(output, Mapping):
        members = output.values()
    elif isinstance(output, tuple | list):
        members = output
    for member in members:
        if isinstance(member, Tensor) and member.is_floating_point():
            return member
    raise ValueError(
        f"{who} returns a {type(output).__name__} without a floating-point tensor in it"
    )


def _activations(
    model: nn.Module, inputs: Any, names: Sequence[str], run: Run, reduce: Reduce
) -> dict[str, Tensor]:
    """Return the features of ``names`` on one batch."""
    seen: dict[str, Tensor] = {}

    def keep(name: str, output: Any) -> None:
        x = single(output, f"the layer {name!r}").detach()
        x = reduce(name, x.to(torch.promote_types(x.dtype, torch.float32)), inputs)
        seen[name] = x.to("cpu", copy=True)

    with _hooks(model, names, keep), torch.no_grad():
        run(model, inputs)
    unused = [name for name in names if name not in seen]
    if unused:
        raise ValueError(f"the forward pass does not use the layer {', '.join(unused)}")
    return seen


@contextmanager
def _hooks(
    model: nn.Module, names: Sequence[str], keep: Callable[[str, Any], None]
) -> Iterator[None]:
    """Show ``keep`` the output of each layer as it appears; take the hooks off again."""

    def hook_of(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, arguments: Any, output: Any) -> None:
            keep(name, output)

        return hook

    modules = dict(model.named_modules())
    handles = [modules[name].register_forward_hook(hook_of(name)) for name in names]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def pooled(x: Tensor, pool: Pool) -> Tensor:
    """Return features ``(B, p)``: positions averaged, or all axes flattened.

    Four and more axes are read as ``(B, C, H, W, …)``, three as ``(B, L, C)``.

    >>> pooled(torch.ones(2, 3, 4, 4), "average").shape
    torch.Size([2, 3])
    >>> pooled(torch.ones(2, 5, 3), "flatten").shape
    torch.Size([2, 15])
    """
    if x.ndim < 2:
        return x.reshape(len(x), -1)
    if pool == "average" and x.ndim >= 3:
        return x.mean(dim=1) if x.ndim == 3 else x.flatten(2).mean(dim=2)
    return x.flatten(1)


def _groups(names: Sequence[str], sizes: Mapping[str, float], memory: int) -> Iterator[list[str]]:
    """Split ``names`` in order into groups whose sizes sum to at most ``memory``."""
    group: list[str] = []
    used = 0.0
    for name in names:
        if group and used + sizes[name] > memory:
            yield group
            group, used = [], 0.0
        group.append(name)
        used += sizes[name]
    if group:
        yield group
