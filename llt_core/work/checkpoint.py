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
from llt_core.store.cells import cannot_read


class DamagedModelError(LltError):
    """The file of a trained model is missing, or not the one that was written."""

    failure = "damaged"


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
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return Checkpoint(file=file.name, sha256=_sha256(file), epoch=epoch, parameters=trainable)


def load_checkpoint(
    model: nn.Module, file: Path, device: Device, sha256: str | None = None
) -> nn.Module:
    """Fill ``model`` with the weights in ``file`` and put it into eval mode on ``device``.

    Parameters
    ----------
    sha256
        What the content of the file must be; None: whatever it is.

    Raises
    ------
    DamagedModelError
        The file has another content than ``sha256``, or cannot be read.
    LltError
        The file does not fit the architecture.
    """
    if sha256 is not None:
        _verify(file, sha256)
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


def _verify(file: Path, sha256: str) -> None:
    try:
        found = _sha256(file)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        found = error.strerror or str(error)
    except OSError as error:
        raise cannot_read(file, error) from error
    if found != sha256:
        raise DamagedModelError(
            f"the file of a trained model is damaged ({found})",
            where=str(file),
            expected=f"the file that was written, with the sha256 {sha256}",
            next_step="run the same command again: it trains this model anew",
        )


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
