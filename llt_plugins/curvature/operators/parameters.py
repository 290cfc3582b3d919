"""The flat vector of parameters: which ones, in which order, and back again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn


def chosen_parameters(
    model: nn.Module, names: Iterable[str] | None = None
) -> dict[str, nn.Parameter]:
    """Return the trainable parameters that ``names`` names (None: all), in the model's order.

    A tied weight counts once, under its first name; any of its names finds it.

    Raises
    ------
    ValueError
        If there is none, or a name is unknown, frozen, or given twice.
    """
    trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if not trainable:
        raise ValueError("the model has no trainable parameter, so there is no Hessian")
    if names is None:
        return trainable
    every = dict(model.named_parameters(remove_duplicate=False))
    wanted: set[int] = set()
    for name in names:
        if name not in every:
            raise ValueError(f"the model has no parameter called {name!r}")
        if not every[name].requires_grad:
            raise ValueError(f"the parameter {name!r} is frozen (requires_grad is False)")
        if id(every[name]) in wanted:
            raise ValueError(f"the parameter {name!r} is named twice, perhaps by a tied name")
        wanted.add(id(every[name]))
    if not wanted:
        raise ValueError("no parameter is named, expected at least one")
    return {name: p for name, p in trainable.items() if id(p) in wanted}


def parameter_groups(
    model: nn.Module, level: Literal["layer", "block"] = "layer", blocks: Sequence[str] = ()
) -> dict[str, list[str]]:
    """Return the names of the trainable parameters of each layer or block.

    Parameters
    ----------
    model
        Any module.
    level
        ``"layer"``: one group for each module that owns parameters itself. ``"block"``: one
        for each name in ``blocks``, with everything below it.
    blocks
        Submodule names, for level ``"block"``. What lies below none of them is grouped by
        its top-level module. Without any, every group is a top-level module.

    Returns
    -------
    dict
        Group name → parameter names, in the model's order. Each trainable parameter is in
        exactly one group, a tied one in that of its first name. ``""`` is the model itself.

    Raises
    ------
    ValueError
        If a block is no submodule, or is one within another.

    Examples
    --------
    >>> model = nn.Sequential(nn.Linear(2, 3), nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 1)))
    >>> parameter_groups(model)["1.0"]
    ['1.0.weight', '1.0.bias']
    >>> list(parameter_groups(model, "block"))
    ['0', '1']
    """
    modules = dict(model.named_modules(remove_duplicate=False))
    for block in blocks:
        if block not in modules:
            raise ValueError(f"the model has no submodule called {block!r}")
        if any(block != other and _below(block, other) for other in blocks):
            raise ValueError(f"the block {block!r} lies within another of the blocks")
    groups: dict[str, list[str]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            owner = name.rpartition(".")[0]
            if level == "block":
                inside = (block for block in blocks if _below(owner, block))
                owner = next(inside, owner.partition(".")[0])
            groups.setdefault(owner, []).append(name)
    return groups


def _below(name: str, block: str) -> bool:
    return name == block or name.startswith(f"{block}.") or block == ""


def pieces(vectors: Tensor, parameters: Sequence[Tensor]) -> list[Tensor]:
    """Cut ``(…, P)`` into ``(…, *shape)`` with the type, device and layout of each parameter."""
    lead = vectors.shape[:-1]
    parts = torch.split(vectors.detach(), [p.numel() for p in parameters], dim=-1)
    return [
        _laid_out(part.reshape((*lead, *p.shape)), p)
        for p, part in zip(parameters, parts, strict=True)
    ]


def flat(
    products: Sequence[Tensor | None], parameters: Sequence[Tensor], lead: Sequence[int] = ()
) -> Tensor:
    """Join ``(…, *shape)`` to ``(…, P)``, with zeros for what is None."""
    return torch.cat(
        [
            (p.new_zeros((*lead, p.numel())) if product is None else product.detach()).reshape(
                *lead, -1
            )
            for p, product in zip(parameters, products, strict=True)
        ],
        dim=-1,
    )


def _laid_out(part: Tensor, parameter: Tensor) -> Tensor:
    if part.ndim == parameter.ndim:
        return torch.empty_like(parameter).copy_(part)
    return part.to(parameter)
