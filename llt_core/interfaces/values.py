"""The values that travel between components: batches, measurements, quantities."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, SupportsFloat

from pydantic import BaseModel, ConfigDict, Field, model_validator

from llt_core.interfaces.figures import Figure

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor, nn

Status = Literal["ok", "limit", "undefined", "not_finite"]
"""``ok``: as asked. ``limit``: a real estimate, but its tolerance was not reached.
``undefined``: the quantity does not exist here. ``not_finite``: the computation gave NaN or ∞."""


@dataclass(frozen=True, slots=True)
class Batch:
    """A few examples, ready for a model.

    Attributes
    ----------
    inputs
        What the model is called with: one tensor, a tuple (positional arguments)
        or a mapping (keyword arguments). The first axis counts examples.
    targets
        What the loss compares the outputs with.
    weight
        Number of terms the *mean* loss of this batch averages: examples for
        classification, target tokens for translation. Means over several batches
        are weighted by it, so that micro-batches reproduce the one-batch result.
    """

    inputs: Tensor | tuple[Tensor, ...] | Mapping[str, Tensor]
    targets: Tensor
    weight: int
    extra: Mapping[str, Tensor] = field(default_factory=dict)

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> Batch:
        """Return the batch on ``device``, its floating-point tensors cast to ``dtype``."""

        def move(x: Tensor) -> Tensor:
            return x.to(device=device, dtype=dtype if x.is_floating_point() else None)

        if isinstance(self.inputs, tuple):
            inputs: Any = tuple(move(x) for x in self.inputs)
        elif isinstance(self.inputs, Mapping):
            inputs = {name: move(x) for name, x in self.inputs.items()}
        else:
            inputs = move(self.inputs)
        extra = {name: move(x) for name, x in self.extra.items()}
        return Batch(inputs, move(self.targets), self.weight, extra)


def forward(model: nn.Module, batch: Batch) -> Any:
    """Call ``model`` on the inputs of ``batch``: one tensor, positional or by keyword."""
    if isinstance(batch.inputs, tuple):
        return model(*batch.inputs)
    if isinstance(batch.inputs, Mapping):
        return model(**batch.inputs)
    return model(batch.inputs)


class Quantity(BaseModel):
    """One field a metric returns.

    ``direction`` says which way is better for generalisation by common reading;
    ``none`` where no such reading exists.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    unit: str
    description: str
    direction: Literal["lower", "higher", "none"] = "none"


class Measurement(BaseModel):
    """One measured number and how sure we are of it.

    Attributes
    ----------
    value
        The number, or None where ``status`` says there is none. A NaN or infinite
        value is turned into None with status ``not_finite``.
    standard_error
        One standard deviation of the estimator, in ``unit``. 0.0 when the number is
        exact; None when it is unknown. Deterministic methods put their rigorous error
        bound here and say so in ``details["error_kind"]``.
    n
        Number of terms the estimate averages, of the kind named by ``counted``.
    details
        Small facts worth keeping: the split, the stopping reason, the backend.
    arrays
        Artefacts (curves, spectra, surfaces); the engine stores them for the metric.
    figures
        How to draw them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    name: str
    value: float | None
    standard_error: float | None = None
    unit: str = ""
    n: int = 0
    counted: str = "samples"
    status: Status = "ok"
    details: dict[str, Any] = Field(default_factory=dict)
    arrays: dict[str, Any] = Field(default_factory=dict, exclude=True, repr=False)
    figures: tuple[Figure, ...] = Field((), repr=False)

    @model_validator(mode="before")
    @classmethod
    def _name_the_non_finite(cls, data: Any) -> Any:
        if isinstance(data, dict):
            for key in ("value", "standard_error"):
                number = data.get(key)
                if isinstance(number, SupportsFloat) and not math.isfinite(number):
                    changed: dict[str, Any] = {key: None}
                    if key == "value":
                        changed |= {"status": "not_finite"}
                    data = data | changed
        return data

    @model_validator(mode="after")
    def _value_unless_status(self) -> Measurement:
        if (self.value is None) != (self.status in ("undefined", "not_finite")):
            raise ValueError(
                f"{self.name}: value {self.value} does not go with status {self.status!r}"
            )
        return self


Arrays = Mapping[str, "np.ndarray[Any, Any]"]
