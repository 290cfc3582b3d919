"""Splits that sit in memory: batches are slices, not per-example pipelines."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, Self

from llt_core.errors import RequestError
from llt_core.interfaces.values import Batch

if TYPE_CHECKING:
    import torch
    from torch import Tensor


BatchUnit = Literal["examples", "tokens"]
"""What the size of a batch counts."""


class Examples(ABC):
    """One split of a task, in memory."""

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of examples N."""

    @abstractmethod
    def subset(self, indices: Tensor) -> Self:
        """Return the examples at ``indices`` (int64, shape ``(M,)``), in that order."""

    @abstractmethod
    def batch(self, indices: Tensor) -> Batch:
        """Return the examples at ``indices`` as the model's input, normalised."""

    @abstractmethod
    def to(self, device: torch.device | str) -> Self:
        """Return the split with its data on ``device``."""

    def slices(
        self,
        batch_size: int,
        *,
        unit: BatchUnit = "examples",
        generator: torch.Generator | None = None,
        drop_last: bool = False,
    ) -> Iterator[Tensor]:
        """Yield the index tensors of one pass: in order, or shuffled by ``generator``.

        Splits whose batches should not be plain slices (bucketing by length, batches
        counted in tokens) override this; nothing else needs to know.

        Raises
        ------
        RequestError
            Batches are to be counted in tokens, and these examples have none.
        """
        if unit != "examples":
            raise RequestError(
                f"batches of these examples cannot be counted in {unit}",
                expected="train.batch_unit = examples",
                next_step="--set train.batch_unit=examples",
            )
        import torch

        n = len(self)
        order = torch.arange(n) if generator is None else torch.randperm(n, generator=generator)
        stop = n - n % batch_size if drop_last else n
        for start in range(0, stop, batch_size):
            yield order[start : start + batch_size]


@dataclass(frozen=True)
class TensorExamples(Examples):
    """Examples held as one tensor of inputs and one of class labels.

    Attributes
    ----------
    inputs
        Shape ``(N, C, H, W)`` (images) or ``(N, …)``; uint8 is scaled to [0, 1] on the fly.
    targets
        Class labels, int64, shape ``(N,)``.
    mean, std
        Per-channel normalisation applied after scaling; empty for none.
    classes
        Number of classes a label can name; 0 where that is unknown.
    """

    inputs: Tensor
    targets: Tensor
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    classes: int = 0

    def __len__(self) -> int:
        """Return the number of examples N."""
        return int(self.targets.shape[0])

    def subset(self, indices: Tensor) -> Self:
        """Return the examples at ``indices``."""
        return replace(self, inputs=_take(self.inputs, indices), targets=self.targets[indices])

    def with_targets(self, targets: Tensor) -> Self:
        """Return the same inputs with other labels, shape ``(N,)``."""
        return replace(self, targets=targets)

    def with_inputs(self, inputs: Tensor) -> Self:
        """Return the same labels with other inputs, shape ``(N, …)``."""
        return replace(self, inputs=inputs)

    def to(self, device: torch.device | str) -> Self:
        """Return the split with its data on ``device``."""
        return replace(self, inputs=self.inputs.to(device), targets=self.targets.to(device))

    def batch(self, indices: Tensor) -> Batch:
        """Return normalised float32 inputs ``(B, …)`` and labels ``(B,)``."""
        import torch

        indices = indices.to(self.targets.device)
        inputs = _take(self.inputs, indices)
        scale = 1.0 if inputs.is_floating_point() else 1.0 / 255.0
        inputs = inputs.to(torch.float32)
        if self.mean:
            shape = (1, -1) + (1,) * (inputs.ndim - 2)
            std = torch.tensor(self.std, device=inputs.device).view(shape)
            mean = torch.tensor(self.mean, device=inputs.device).view(shape)
            inputs = torch.addcmul(-mean / std, inputs, scale / std)
        elif scale != 1.0:
            inputs = inputs * scale
        return Batch(inputs, self.targets[indices], weight=len(indices))


def _take(inputs: Tensor, indices: Tensor) -> Tensor:
    """Return the rows of ``inputs`` at ``indices``, in the memory layout ``inputs`` has.

    Images that lie in memory as ``(N, H, W, C)`` come out as channels_last batches. Gathering
    them through that view copies whole rows, seven times faster than ``inputs[indices]``.
    """
    import torch

    if inputs.ndim == 4 and inputs.is_contiguous(memory_format=torch.channels_last):
        return inputs.permute(0, 2, 3, 1).index_select(0, indices).permute(0, 3, 1, 2)
    return inputs.index_select(0, indices)
