"""The minibatches that batch normalisation is estimated from, and that curves are trained on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from llt_core.interfaces import Batch, MeasureContext

if TYPE_CHECKING:
    import torch


def mixed_minibatches(
    context: MeasureContext,
    samples: int | None,
    batch_size: int,
    generator: torch.Generator,
) -> Iterator[Batch]:
    """Yield seeded samples of the training split once, in random order, on the device.

    The order matters: a split sorted by class would give minibatches of one class each, and
    their variances would lack what lies between classes. A last minibatch of one example has
    no variance and is left out.

    Raises
    ------
    ValueError
        If the split holds one example only.
    """
    examples = context.examples("train", samples)
    if len(examples) < 2:
        raise ValueError(
            "the split 'train' holds one example, expected at least 2: batch normalisation in "
            "training mode needs a variance"
        )
    for index in examples.slices(batch_size, generator=generator):
        if len(index) > 1:
            yield examples.batch(index).to(context.device, context.dtype)
