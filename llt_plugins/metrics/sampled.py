"""What metrics of the mean loss of seeded samples share."""

from __future__ import annotations

import math
from abc import abstractmethod
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from llt_core.interfaces import (
    Batch,
    MeasureContext,
    Measurement,
    Metric,
    Needs,
    Status,
    parameter,
)
from llt_plugins.metrics.costs import TYPICAL_SPLIT
from llt_plugins.metrics.statuses import broken_weights, nothing

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from llt_plugins.curvature.types import WeightedLoss

_STATUS: dict[str, Status] = {
    "tolerance": "ok",
    "exact": "ok",
    "steps": "ok",
    "invariant subspace": "ok",
    "limit": "limit",
    "not_finite": "not_finite",
}


class SampledLoss(Metric):
    """A metric of the mean loss over seeded samples of a split.

    The samples are the same for all models of a cell. The loss is taken in eval mode, with
    respect to all trainable parameters, on a copy, so the model stays as it was.
    """

    needs: ClassVar[Needs] = Needs(splits=("train",))

    split: str = parameter("train", description="Split whose mean loss is differentiated")
    samples: int | None = parameter(
        200,
        ge=1,
        description="How many seeded samples of the split; null for the whole split",
        unit="samples",
    )
    batch_size: int = parameter(
        256,
        ge=1,
        description="Size of a micro-batch: it bounds memory and changes no number; "
        "fastest when all samples fit in one",
        unit="samples",
    )
    dtype: Literal["float32", "float64"] = parameter(
        "float32", description="Type in which products are computed (sums are float64 anyway)"
    )

    def splits(self) -> tuple[str, ...]:
        """Return the one split that ``split`` names."""
        return (self.split,)

    def share_of_split(self) -> float:
        """Return which part of a typical training split the samples are."""
        samples = TYPICAL_SPLIT if self.samples is None else self.samples
        return samples / TYPICAL_SPLIT

    def batches(self, context: MeasureContext) -> list[Batch]:
        """Return the micro-batches in the type of the computation."""
        batches = context.batches(self.split, self.samples, self.batch_size)
        return [batch.to(dtype=self.torch_dtype()) for batch in batches]

    def torch_dtype(self) -> torch.dtype:
        """Return the type of the computation."""
        import torch

        return torch.float64 if self.dtype == "float64" else torch.float32

    def function(self, context: MeasureContext) -> tuple[nn.Module, list[WeightedLoss]]:
        """Return a copy of the model, and the losses of its micro-batches."""
        from llt_plugins.curvature.operators.copies import evaluation_copy
        from llt_plugins.curvature.operators.determinism import refuse_batch_statistics

        def loss(model: nn.Module, batch: Batch) -> Tensor:
            return context.loss(model, batch)

        batches = self.batches(context)
        refuse_batch_statistics(context.model, len(batches))
        return evaluation_copy(context.model, self.torch_dtype()), [
            (float(batch.weight), partial(loss, batch=batch)) for batch in batches
        ]

    def result(
        self,
        context: MeasureContext,
        value: float,
        standard_error: float | None,
        stopped: str,
        *,
        quantity: int = 0,
        details: dict[str, Any],
        **more: Any,
    ) -> Measurement:
        """Return the measurement of one of ``returns``, with the details that all give."""
        declared = self.returns[quantity]
        common = {
            "split": self.split,
            "samples": len(context.examples(self.split, self.samples)),
            "parameters": sum(p.numel() for p in context.model.parameters() if p.requires_grad),
            "dtype": self.dtype,
            "stopped": stopped,
        }
        finite = stopped != "not_finite"
        if not finite:
            common["reason"] = self._what_is_not_finite(context)
        return Measurement(
            name=declared.name,
            value=value if finite else None,
            standard_error=standard_error if finite else None,
            unit=declared.unit,
            status=_STATUS[stopped],
            details=common | details,
            **more,
        )

    def undefined(self, reason: str) -> list[Measurement]:
        """Return the answer where the quantities do not exist."""
        return nothing(self.returns, "undefined", reason, split=self.split)

    def measure(self, context: MeasureContext) -> list[Measurement]:
        """Return what :meth:`compute` finds, or why there is nothing to find."""
        from llt_plugins.curvature.types import AsymmetryError

        if (nothing := self.unmeasurable(context)) is not None:
            return nothing
        try:
            return self.compute(context)
        except AsymmetryError as error:
            return self.undefined(str(error))

    @abstractmethod
    def compute(self, context: MeasureContext) -> list[Measurement]:
        """Return the measurements of what :meth:`unmeasurable` finds nothing wrong with."""

    def unmeasurable(self, context: MeasureContext) -> list[Measurement] | None:
        """Return the answer for a model that cannot move, or is nowhere."""
        if not any(p.requires_grad for p in context.model.parameters()):
            return self.undefined("the model has no trainable parameter")
        if (broken := broken_weights(context)) is not None:
            return nothing(self.returns, "not_finite", broken, split=self.split)
        return None

    def _what_is_not_finite(self, context: MeasureContext) -> str:
        """Say why there is no value although the weights are finite."""
        from llt_plugins.curvature.first_order import mean_loss

        loss = mean_loss(*self.function(context))
        if math.isfinite(loss):
            return (
                f"the mean loss is {loss:.6g}, but its derivatives are not finite in {self.dtype}"
            )
        # Minus infinity is what masks are made of.
        found = (
            name for name, b in context.model.named_buffers() if not bool((b < math.inf).all())
        )
        blamed = next((f"; the buffer {name!r} has NaN or infinite entries" for name in found), "")
        return f"the mean loss is {loss}{blamed}"
