"""How much memory a graph holds: measured, not guessed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

BUDGET = 3 << 29
"""Bytes that an operator's graphs and blocks may take unless told otherwise.

A fixed number rather than whatever is free: a second run then computes in the same way.
"""


@dataclass(frozen=True)
class Sizes:
    """Bytes of the tensors that products of one micro-batch need.

    Attributes
    ----------
    held
        What its graph keeps alive.
    passing
        What one product takes on its way, roughly: a tangent of each activation.
    largest
        The largest of these.
    """

    held: int
    passing: int
    largest: int


def graph_bytes(outputs: Iterable[Tensor], *, besides: Iterable[Tensor] = ()) -> tuple[int, int]:
    """Return the bytes of all tensors that the graph of ``outputs`` keeps, and of the largest.

    Storages are counted once, however many nodes saved them; sparse tensors are not counted.

    Parameters
    ----------
    outputs
        Tensors with a graph.
    besides
        Tensors that exist anyway, such as the parameters.
    """
    known = {t.untyped_storage().data_ptr() for t in besides}
    sizes: dict[int, int] = {}
    for tensor in _saved(outputs):
        if tensor.layout != torch.strided:  # without a storage of its own; adjacency matrices
            continue
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            sizes[storage.data_ptr()] = storage.nbytes()
    return sum(sizes.values()), max(sizes.values(), default=0)


def _saved(outputs: Iterable[Tensor]) -> Iterator[Tensor]:
    """Yield the tensors saved by every node of the graph."""
    waiting: list[Any] = [t.grad_fn for t in outputs if t.grad_fn is not None]
    seen = set(waiting)
    while waiting:
        node = waiting.pop()
        for name in dir(node):
            if name == "saved_tensors" or name.startswith("_saved_"):
                yield from _tensors(getattr(node, name))
        following = {next_node for next_node, _ in node.next_functions if next_node is not None}
        waiting.extend(following - seen)
        seen |= following


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _tensors(item)
