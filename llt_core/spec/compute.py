"""Where and how fast a cell is computed: settings that do not change what is asked for."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from llt_core.errors import RequestError

DEVICES = "auto, cpu, cuda, cuda:N or mps"
"""The names of devices."""


class ComputeSettings(BaseModel):
    """Device, threads and memory layout.

    They can change the last bits of a result but not its meaning, so they are recorded
    with every result and are no part of its identity: a sweep begun on a laptop goes on
    on a cluster.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    device: str = Field("auto", description=DEVICES)
    threads: int = Field(
        0,
        ge=0,
        description="CPU threads of one job; 0: as many as its executor says, else as "
        "OMP_NUM_THREADS says, else one per core",
    )
    memory_format: Literal["channels_last", "contiguous"] = Field(
        "channels_last", description="Layout of image activations"
    )
    checkpoint_minutes: float = Field(
        5.0, ge=0, description="Minutes between two checkpoints of a training under way; 0: none"
    )
    checkpoint_epochs: int = Field(
        0, ge=0, description="Epochs between two checkpoints of a training under way; 0: by minutes"
    )
    halvings: int = Field(
        0,
        ge=0,
        description="How often to halve the samples that pass a network at once when measuring; "
        "raised by one where memory ran out",
    )

    @field_validator("device")
    @classmethod
    def _device_by_a_known_name(cls, name: str) -> str:
        if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", name):
            raise RequestError(
                f"no device is called {name!r}",
                expected=DEVICES,
                next_step="--device auto (llt doctor shows what there is)",
            )
        return name
