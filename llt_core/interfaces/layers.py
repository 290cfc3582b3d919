"""The layers of a network by name, where nobody says more of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


def children(model: nn.Module) -> list[str]:
    """Return the names of the direct children, in the order in which they were added."""
    return [name for name, _ in model.named_children()]


def token_embeddings(model: nn.Module) -> list[str]:
    """Return the names of every ``torch.nn.Embedding``."""
    from torch import nn

    return [name for name, layer in model.named_modules() if isinstance(layer, nn.Embedding)]
