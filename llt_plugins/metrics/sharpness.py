"""How fast the loss rises around a model."""

from __future__ import annotations

from typing import Any, Self

from llt_core.interfaces import (
    Figure,
    MeasureContext,
    Measurement,
    Quantity,
    TaskDescription,
    parameter,
)
from llt_plugins.metrics.sampled import SampledLoss


class Sharpness(SampledLoss):
    """Rise of the loss after a step of given length up the gradient (Foret et al. 2021).

    **Definition.** ``L(θ + ε) − L(θ)`` with ``ε = ρ g / ‖g‖``: the first-order answer to how
    much the loss can rise within a ball of radius ρ. ``adaptive`` measures the ball in units
    of each weight, ``ε = ρ T²g / ‖Tg‖`` with ``T = diag |θ|`` (Kwon et al. 2021): the value is
    then the same for networks that differ by a rescaling of layers. With several ``steps``
    the gradient is taken anew after each part of the way, which comes closer to the maximum.

    **Error.** None: the value is exact for these samples. (It is no average, and depends on
    them more than a mean does.)

    **Arrays.** ``distance`` and ``loss`` (steps + 1,) along the way.

    **Cost.** One gradient a step and one forward pass over the samples.

    **Pitfalls.** For small ρ it is ρ times the gradient norm and knows nothing of curvature:
    compare models at one ρ, large enough for the loss to bend. Where the gradient vanishes,
    for ``adaptive`` at every weight that is not zero, there is no direction to take and the
    value is undefined. Without ``adaptive`` a network
    with larger weights looks flatter. The published ρ are 0.05 (plain) and 0.5 (adaptive),
    with gradients of batches, not of the whole split.
    """

    summary = "Rise of the loss after a normalised step up the gradient (SAM; adaptive: ASAM)"
    returns = (
        Quantity(
            name="sharpness",
            unit="nats",
            description="Rise of the mean loss within a ball around the model",
            direction="lower",
        ),
    )

    radius: float = parameter(
        0.05, gt=0, description="Length ρ of the way up, in weights or in units of each weight"
    )
    adaptive: bool = parameter(False, description="Measure lengths relative to each weight")
    steps: int = parameter(1, ge=1, description="Parts of the way", unit="gradients")

    @classmethod
    def minimal(cls) -> Self:
        """Return an instance that takes a moment: 16 samples."""
        return cls(samples=16)

    def cost(self, task: TaskDescription) -> float:
        """Return the cost of the gradients and the last forward pass."""
        return (3.0 * self.steps + 1) * self.share_of_split()

    def compute(self, context: MeasureContext) -> list[Measurement]:
        """Return the rise, with the loss along the way in the arrays."""
        import numpy as np

        from llt_plugins.curvature.first_order import ascend

        model, losses = self.function(context)
        way = ascend(model, losses, self.radius, steps=self.steps, adaptive=self.adaptive)
        if way.gradient_norm == 0:
            return self.undefined("the gradient is zero, so no direction leads up")
        if not way.lengths.all():
            where = "at every weight that is not zero" if self.adaptive else "on the way"
            return self.undefined(f"the gradient is zero {where}, so no direction leads up")
        finite = bool(np.isfinite([*way.losses, *way.lengths, way.gradient_norm]).all())
        arrays: dict[str, Any] = {}
        if finite:
            arrays = {
                "distance": np.linspace(0, self.radius, self.steps + 1),
                "loss": way.losses,
            }
        return [
            self.result(
                context,
                float(way.losses[-1] - way.losses[0]),
                0.0,
                "exact" if finite else "not_finite",
                n=len(context.examples(self.split, self.samples)),
                details={
                    "radius": self.radius,
                    "adaptive": self.adaptive,
                    "loss": float(way.losses[0]) if finite else None,
                    "gradient_norm": way.gradient_norm if finite else None,
                    "error_kind": "exact",
                },
                arrays=arrays,
                figures=self._figures() if finite else (),
            )
        ]

    def _figures(self) -> tuple[Figure, ...]:
        unit = "relative to the weights" if self.adaptive else "in weight space"
        return (
            Figure(
                kind="line",
                title="Loss on the way up the gradient",
                x="distance",
                y=("loss",),
                x_label=f"distance ({unit})",
                y_label="loss (nats)",
            ),
        )
