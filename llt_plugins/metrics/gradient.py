"""The norm of the gradient of the mean loss."""

from __future__ import annotations

from typing import Self

from llt_core.interfaces import MeasureContext, Measurement, Quantity, TaskDescription
from llt_plugins.metrics.sampled import SampledLoss


class GradientNorm(SampledLoss):
    """Euclidean norm of the gradient of the mean loss: how far training is from rest.

    **Definition.** ``‖∇L‖₂`` of the mean loss over seeded samples of a split, in eval mode,
    with respect to all trainable parameters.

    **Error.** None: the value is exact for these samples.

    **Cost.** One gradient of the samples, about three forward passes over them.

    **Pitfalls.** Weight decay is not part of the loss: a network trained with it comes to rest
    where the gradient balances the decay, not where it vanishes. The norm over a few samples
    is larger than that over the whole split, whose terms cancel. With batch norm, eval mode
    differentiates another function than training did.
    """

    summary = "Norm of the gradient of the mean loss"
    returns = (
        Quantity(
            name="gradient_norm",
            unit="nats",
            description="Euclidean norm of the gradient of the mean loss",
            direction="lower",
        ),
    )

    @classmethod
    def minimal(cls) -> Self:
        """Return an instance that takes a moment: 16 samples."""
        return cls(samples=16)

    def cost(self, task: TaskDescription) -> float:
        """Return the cost of one gradient."""
        return 3.0 * self.share_of_split()

    def compute(self, context: MeasureContext) -> list[Measurement]:
        """Return the norm."""
        import math

        from llt_plugins.curvature.first_order import gradient, norm

        loss, slopes = gradient(*self.function(context))
        value = norm(slopes)
        finite = math.isfinite(value) and math.isfinite(loss)
        return [
            self.result(
                context,
                value,
                0.0,
                "exact" if finite else "not_finite",
                n=len(context.examples(self.split, self.samples)),
                details={"loss": loss if finite else None, "error_kind": "exact"},
            )
        ]
