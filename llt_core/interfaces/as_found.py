"""What a plugin must leave as it found it: every part of a model, and torch's switches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

Facts = dict[str, Any]
"""What was seen, by a name that can stand in a sentence; tensors as they are, not copied."""


def model_facts(model: nn.Module) -> Facts:
    """Return values, gradients, flags, modes and hooks of every part of ``model``."""
    facts: Facts = {}
    for name, parameter in model.named_parameters():
        facts[f"the values of parameter {name!r}"] = parameter.detach()
        facts[f"requires_grad of parameter {name!r}"] = parameter.requires_grad
        facts[f".grad of parameter {name!r}"] = parameter.grad
        facts[f"the dtype or device of parameter {name!r}"] = (parameter.dtype, parameter.device)
    for name, buffer in model.named_buffers():
        facts[f"the buffer {name!r}"] = buffer
    for name, module in model.named_modules():
        facts[f"the train/eval mode of module {name!r}"] = module.training
        hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks)
        facts[f"the hooks of module {name!r}"] = sum(map(len, hooks))
    return facts


def copied(facts: Facts) -> Facts:
    """Return ``facts`` with copies of the tensors, to be compared with later."""
    import torch

    return {k: v.clone() if isinstance(v, torch.Tensor) else v for k, v in facts.items()}


def first_difference(before: Facts, after: Facts) -> str:
    """Return the name of a fact that is not what it was; empty if all are. NaN equals NaN."""
    for name in {**before, **after}:
        if not (name in before and name in after and _same(before[name], after[name])):
            return name
    return ""


def _same(before: Any, after: Any) -> bool:
    import torch

    if not (isinstance(before, torch.Tensor) and isinstance(after, torch.Tensor)):
        return type(before) is type(after) and bool(before == after)
    if (before.shape, before.dtype, before.device) != (after.shape, after.dtype, after.device):
        return False
    equal = torch.equal(before, after)
    return equal or bool(((before == after) | ((before != before) & (after != after))).all())


def torch_switches() -> Facts:
    """Return torch's global switches that a plugin may be tempted to flip."""
    import torch

    return {
        "whether torch records gradients": torch.is_grad_enabled(),
        "torch's default dtype": torch.get_default_dtype(),
        "the number of torch threads": torch.get_num_threads(),
        "torch.use_deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
    }


def flip_back(switches: Mapping[str, Any]) -> None:
    """Set what :func:`torch_switches` returned."""
    import torch

    setters: tuple[Callable[[Any], Any], ...] = (
        torch.set_grad_enabled,
        torch.set_default_dtype,
        torch.set_num_threads,
        torch.use_deterministic_algorithms,
    )
    for set_to, value in zip(setters, switches.values(), strict=True):
        set_to(value)
