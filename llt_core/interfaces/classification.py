"""A base for tasks that assign one class to each example."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llt_core.interfaces.task import Task
from llt_core.interfaces.values import Batch

if TYPE_CHECKING:
    from torch import Tensor


class ClassificationTask(Task):
    """Cross-entropy over logits of shape ``(B, classes)``, labels of shape ``(B,)``."""

    def loss(self, outputs: Any, batch: Batch) -> Tensor:
        """Return the mean cross-entropy in nats."""
        from torch.nn.functional import cross_entropy

        return cross_entropy(_logits(outputs), batch.targets)

    def evaluate(self, outputs: Any, batch: Batch) -> Mapping[str, Tensor]:
        """Return per-example ``loss`` (nats) and ``correct`` (0 or 1), shape ``(B,)``."""
        from torch.nn.functional import cross_entropy

        outputs = _logits(outputs)
        return {
            "loss": cross_entropy(outputs, batch.targets, reduction="none"),
            "correct": (outputs.argmax(dim=1) == batch.targets).to(outputs.dtype),
        }


def _logits(outputs: Any) -> Tensor:
    """Return ``outputs`` if they are one tensor.

    Raises
    ------
    TypeError
        The model returned something else: a tuple, a dict.
    """
    import torch

    if not isinstance(outputs, torch.Tensor):
        raise TypeError(
            f"the model returned a {type(outputs).__name__}, expected one tensor of logits "
            "(B, classes)"
        )
    return outputs
