"""What a task tells architectures, perturbations and metrics about itself."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

Modality = Literal["image", "text"]


class TaskDescription(BaseModel):
    """Shapes and kinds of a task, known without loading its data.

    Attributes
    ----------
    modality
        Kind of input; architectures and perturbations declare what they accept. A network
        for images is called with one tensor ``(B, C, H, W)``; one for text, which translates,
        by keyword with the tokens ``source`` ``(B, S)`` and the tokens known so far
        ``target`` ``(B, T)``, and gives logits ``(B, T, outputs)``, those at t of the token
        that follows. Token 1 begins every target, token 2 ends every sentence.
    input_shape
        Shape of one input without the batch axis: ``(C, H, W)`` for images,
        ``(L,)`` for token sequences of at most L tokens.
    outputs
        Number of classes (images) or size of the vocabulary (text).
    padding
        Number of the token that fills short sequences up, to be ignored wherever it stands;
        None where nothing is filled up.
    loss
        Name of the loss, for tables and reports.
    splits
        Names of the splits, in the order in which they are shown.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    modality: Modality
    input_shape: tuple[int, ...]
    outputs: int
    padding: int | None = None
    loss: str = "cross_entropy"
    splits: tuple[str, ...] = ("train", "test")
