"""What is written for a cell: its record, or the record of its failure."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from llt_core.interfaces import FailureKind, Measurement
from llt_core.spec import Cell

RECORD_FORMAT = 1


class Epoch(BaseModel):
    """One line of a training history; None stands for a value that was not finite."""

    model_config = ConfigDict(frozen=True)

    epoch: int
    learning_rate: float
    train_loss: float | None = Field(description="Mean over the epoch's batches, in nats")
    train_accuracy: float | None = Field(description="Percent, over the epoch's batches")
    seconds: float


class Checkpoint(BaseModel):
    """The file that holds the trained parameters and buffers."""

    model_config = ConfigDict(frozen=True)

    file: str = "model.safetensors"
    sha256: str
    epoch: int
    parameters: int = Field(description="Number of trainable parameters")


class Record(BaseModel):
    """The result of one cell.

    ``status`` is ``done``, or ``diverged`` when the training loss stopped being finite: a
    result in its own right, which has a history but no checkpoint.
    ``composition`` repeats every parameter, defaults included, for tables.
    """

    model_config = ConfigDict(frozen=True)

    format: int = RECORD_FORMAT
    digest: str
    cell: Cell
    status: Literal["done", "diverged"] = "done"
    seconds: float
    composition: dict[str, Any]
    provenance: dict[str, Any]
    history: tuple[Epoch, ...] = ()
    checkpoint: Checkpoint | None = None
    measurements: tuple[Measurement, ...] = ()


class Failure(BaseModel):
    """Why one attempt at a cell failed."""

    model_config = ConfigDict(frozen=True)

    digest: str
    cell: Cell
    kind: FailureKind
    message: str
    traceback: str = ""
    attempt: int = 1
    time: str
