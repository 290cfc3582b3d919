"""What metrics of second order share: which function is differentiated, and where."""

from __future__ import annotations

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

if TYPE_CHECKING:
    from torch import Tensor, nn

    from llt_plugins.curvature.types import WeightedLoss

_FORWARDS_PER_PRODUCT = 8.0
"""A gradient costs about 3 forward passes, a product with a kept graph 2.4–2.6 gradients."""

_TYPICAL_SPLIT = 50_000
"""Size of a training split that :meth:`cost` counts in, since a description names none."""

_STATUS: dict[str, Status] = {
    "tolerance": "ok",
    "invariant subspace": "ok",
    "limit": "limit",
    "not_finite": "not_finite",
}


class SecondOrder(Metric):
    """A metric of the second derivative of the mean loss.

    The function is the mean loss over seeded samples of a split, the same for all models of
    a cell, in eval mode, with respect to all trainable parameters. It is differentiated on
    a copy, so the model stays as it was.
    """

    needs: ClassVar[Needs] = Needs(splits=("train",), second_order=True)

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
    backend: Literal["llt", "pyhessian"] = parameter(
        "llt", description="Own estimator, or the installed PyHessian as a cross-check"
    )

    def splits(self) -> tuple[str, ...]:
        """Return the one split that ``split`` names."""
        return (self.split,)

    def products_cost(self, products: float) -> float:
        """Return the cost of ``products`` in passes over a typical training split."""
        samples = _TYPICAL_SPLIT if self.samples is None else self.samples
        return products * _FORWARDS_PER_PRODUCT * samples / _TYPICAL_SPLIT

    def function(self, context: MeasureContext) -> tuple[nn.Module, list[WeightedLoss]]:
        """Return a copy of the model, and the losses of its micro-batches."""
        import torch

        from llt_plugins.curvature.copies import evaluation_copy

        dtype = getattr(torch, self.dtype)
        batches = context.batches(self.split, self.samples, self.batch_size)

        def loss(model: nn.Module, batch: Batch) -> Tensor:
            return context.loss(model, batch)

        return evaluation_copy(context.model, dtype), [
            (float(batch.weight), partial(loss, batch=batch.to(dtype=dtype))) for batch in batches
        ]

    def result(
        self,
        context: MeasureContext,
        model: nn.Module,
        value: float,
        standard_error: float | None,
        stopped: str,
        **more: Any,
    ) -> Measurement:
        """Return the measurement with the details that both metrics give."""
        quantity = self.returns[0]
        details = {
            "split": self.split,
            "samples": len(context.examples(self.split, self.samples)),
            "parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
            "backend": self.backend,
            "dtype": self.dtype,
            "stopped": stopped,
        } | more.pop("details")
        return Measurement(
            name=quantity.name,
            value=None if stopped == "not_finite" else value,
            standard_error=standard_error,
            unit=quantity.unit,
            status=_STATUS[stopped],
            details=details,
            **more,
        )

    def without_parameters(self, model: nn.Module) -> list[Measurement] | None:
        """Return the answer for a model that has nothing to differentiate by."""
        if any(p.requires_grad for p in model.parameters()):
            return None
        quantity = self.returns[0]
        reason = "the model has no trainable parameter, so there is no Hessian"
        return [
            Measurement(
                name=quantity.name,
                value=None,
                unit=quantity.unit,
                status="undefined",
                details={"split": self.split, "reason": reason},
            )
        ]
