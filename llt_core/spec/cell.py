"""Cells: the units of work. Frozen, resolved, and identical wherever they are planned."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class PluginRef(BaseModel):
    """One resolved component: its owner, version, and the parameters that are not defaults."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    version: int
    parameters: dict[str, Any] = Field(default_factory=dict)


class TrainCell(BaseModel):
    """One model to train.

    ``data`` is the fingerprint of the files where the task does not pin them itself, and
    None where it does (see :meth:`llt_core.interfaces.Task.pinned`).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["train"] = "train"
    task: PluginRef
    data: str | None = None
    architecture: PluginRef
    perturbations: tuple[PluginRef, ...] = ()
    training: PluginRef
    seed: int


class MeasureCell(BaseModel):
    """One metric on one trained model, a pair, or a set, named by their digests."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["measure"] = "measure"
    metric: PluginRef
    models: tuple[str, ...]


Cell = Annotated[TrainCell | MeasureCell, Field(discriminator="kind")]
