"""What metrics of the loss around a model share: which function, and the work done once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from llt_core.interfaces import (
    Batch,
    MeasureContext,
    Measurement,
    Metric,
    Needs,
    Status,
    forward,
    parameter,
)
from llt_plugins.metrics.costs import TYPICAL_SPLIT

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    from llt_plugins.curvature.deflated import Deflation
    from llt_plugins.curvature.krylov import Krylov
    from llt_plugins.curvature.micro_batches import MicroBatchOperator
    from llt_plugins.curvature.probes import Probes
    from llt_plugins.curvature.types import WeightedLoss

_FORWARDS_PER_PRODUCT = 6.0
"""A gradient costs about 3 forward passes, a product with a kept graph 1.4 to 2 gradients."""

_STATUS: dict[str, Status] = {
    "tolerance": "ok",
    "exact": "ok",
    "steps": "ok",
    "invariant subspace": "ok",
    "limit": "limit",
    "not_finite": "not_finite",
}

Which = Literal["hessian", "gauss_newton"]


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
        import torch

        dtype = getattr(torch, self.dtype)
        batches = context.batches(self.split, self.samples, self.batch_size)
        return [batch.to(dtype=dtype) for batch in batches]

    def function(self, context: MeasureContext) -> tuple[nn.Module, list[WeightedLoss]]:
        """Return a copy of the model, and the losses of its micro-batches."""
        import torch

        from llt_plugins.curvature.copies import evaluation_copy

        def loss(model: nn.Module, batch: Batch) -> Tensor:
            return context.loss(model, batch)

        return evaluation_copy(context.model, getattr(torch, self.dtype)), [
            (float(batch.weight), partial(loss, batch=batch)) for batch in self.batches(context)
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
        return [
            Measurement(
                name=quantity.name,
                value=None,
                unit=quantity.unit,
                status="undefined",
                details={"split": self.split, "reason": reason},
            )
            for quantity in self.returns
        ]

    def without_parameters(self, context: MeasureContext) -> list[Measurement] | None:
        """Return the answer for a model that has nothing to differentiate by."""
        if any(p.requires_grad for p in context.model.parameters()):
            return None
        return self.undefined("the model has no trainable parameter to differentiate by")


class SecondOrder(SampledLoss):
    """A metric of the second derivative of the mean loss.

    Metrics measured together on one model share the operator with its graph, the Lanczos
    vectors and the random products: each of them is made once. These start from numbers that
    are the same for all models of a cell and do not depend on what else is measured.
    """

    needs: ClassVar[Needs] = Needs(splits=("train",), second_order=True)

    def products_cost(self, products: float) -> float:
        """Return the cost of ``products`` in passes over a typical training split."""
        return products * _FORWARDS_PER_PRODUCT * self.share_of_split()

    def shared(self, context: MeasureContext, matrix: Which = "hessian") -> Shared:
        """Return the operator of this function, and what was already computed with it."""
        build = self._hessian if matrix == "hessian" else self._gauss_newton
        key = ("curvature", matrix, self.split, self.samples, self.batch_size, self.dtype)
        return Shared(context, key, context.remember((*key, "operator"), lambda: build(context)))

    def _hessian(self, context: MeasureContext) -> MicroBatchOperator:
        from llt_plugins.curvature.operator import HessianOperator

        return HessianOperator(*self.function(context))

    def _gauss_newton(self, context: MeasureContext) -> MicroBatchOperator:
        import torch

        from llt_plugins.curvature.copies import evaluation_copy
        from llt_plugins.curvature.gauss_newton import GaussNewtonOperator

        def outputs(model: nn.Module, batch: Batch) -> Any:
            return forward(model, batch)

        def loss(answer: Any, batch: Batch) -> Tensor:
            return context.task.loss(answer, batch)

        return GaussNewtonOperator(
            evaluation_copy(context.model, getattr(torch, self.dtype)),
            [
                (float(batch.weight), partial(outputs, batch=batch), partial(loss, batch=batch))
                for batch in self.batches(context)
            ],
        )


@dataclass(frozen=True)
class Shared:
    """The operator of one function of one model, and sequences that all metrics read.

    Attributes
    ----------
    context, key
        Where they are remembered, and under which name.
    operator
        Its products are exact; its graph is kept while the model is in memory.
    """

    context: MeasureContext
    key: tuple[Any, ...]
    operator: MicroBatchOperator

    def krylov(self, block_size: int = 1) -> Krylov:
        """Return the Lanczos vectors, as far as any reader extended them."""
        from llt_plugins.curvature.krylov import Krylov

        def start() -> Krylov:
            generator = self.context.sample_generator("lanczos")
            return Krylov(self.operator, generator, block_size=block_size)

        return self.context.remember((*self.key, "lanczos", block_size), start)

    def deflation(self, steps: int, report: Callable[[int, int], None]) -> Deflation:
        """Return what ``steps`` Lanczos steps say exactly."""
        from llt_plugins.curvature.deflated import deflate

        return deflate(self.krylov(), steps, report)

    def probes(self, deflation: Deflation) -> Probes:
        """Return the random products with what ``deflation`` leaves of the operator."""
        return self.context.remember(
            (*self.key, "probes", deflation.steps),
            lambda: deflation.probes(self.context.sample_generator("probes"), self.sizes()),
        )

    def sizes(self) -> list[int]:
        """Return the number of entries of each trainable parameter, in the model's order."""
        return [p.numel() for p in self.context.model.parameters() if p.requires_grad]


def freedom(degrees: float) -> float | None:
    """Return degrees of freedom as a detail: None where the value is exact."""
    return round(degrees, 3) if math.isfinite(degrees) else None
