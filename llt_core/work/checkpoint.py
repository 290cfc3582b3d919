"""Trained models on disk: safetensors, never pickle."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_model, save_model
from torch import device as Device
from torch import nn

from llt_core.errors import LltError
from llt_core.store import Checkpoint


def save_checkpoint(
    model: nn.Module, state: dict[str, Any], folder: Path, epoch: int
) -> Checkpoint:
    """Write ``state`` of ``model`` into ``folder``; tied weights are written once."""
    model.load_state_dict(state)
    model.to("cpu")
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data = tensor.data.contiguous()
    file = folder / "model.safetensors"
    save_model(model, str(file))
    with file.open("rb") as content:
        sha256 = hashlib.file_digest(content, "sha256").hexdigest()
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return Checkpoint(file=file.name, sha256=sha256, epoch=epoch, parameters=trainable)


def load_checkpoint(model: nn.Module, file: Path, device: Device) -> nn.Module:
    """Fill ``model`` with the weights in ``file`` and put it into eval mode on ``device``.

    Raises
    ------
    LltError
        The file does not fit the architecture.
    """
    try:
        load_model(model, str(file), strict=True)
    except (RuntimeError, OSError, SafetensorError) as error:
        raise LltError(
            f"the checkpoint does not fit the model: {error}",
            where=str(file),
            expected="the architecture it was trained with",
            next_step="run the same command with --force",
        ) from error
    model.to(device)
    model.eval()
    return model
