"""What perturbations of training batches of images share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llt_core.interfaces import Batch, RequestError

if TYPE_CHECKING:
    from torch import Tensor


def images_of(batch: Batch) -> Tensor:
    """Return the images ``(B, C, H, W)`` of a batch.

    Raises
    ------
    RequestError
        Its inputs are something else.
    """
    import torch

    if isinstance(batch.inputs, torch.Tensor) and batch.inputs.ndim == 4:
        return batch.inputs
    raise RequestError(
        "this batch holds no images", expected="one tensor of images (B, channels, height, width)"
    )
