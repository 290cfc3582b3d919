"""The loss over a plane through a model."""

from __future__ import annotations

import math
from typing import Self

from llt_core.interfaces import (
    Figure,
    MeasureContext,
    Measurement,
    Quantity,
    TaskDescription,
)
from llt_plugins.metrics.landscape_around import AroundModel


class LossSurface(AroundModel):
    """Loss over a plane ``θ + a·d₁ + b·d₂`` through a model, both from −radius to radius.

    **Definition.** ``loss_surface_rise`` is the mean of ``L − L(θ)`` over the grid points
    with ``a² + b² ≤ radius²``. The two directions are Gaussian with every filter scaled to
    the norm of the same filter of θ (Li, Xu, Taylor, Studer and Goldstein 2018), or
    unscaled (``random``), or the two leading eigenvectors of the Hessian of the same loss,
    of unit length, first the one of larger magnitude. Random directions are not
    orthogonalised: in many dimensions they nearly are.

    **Error.** That of the choice of samples for this very plane; how much the rise differs
    from plane to plane is not part of it (``loss_line`` says so for lines).

    **Arrays.** ``x`` (N,), ``y`` (N,), ``loss`` and ``error_percent`` (N, N) with y down the
    rows, ``eigenvalues`` (2,) for ``hessian``.

    **Cost.** ``points²`` forward passes over the samples; with ``hessian`` about 30 products
    of the Hessian more.

    **Pitfalls.** Two directions out of millions: a picture can look convex where the loss is
    not, and different draws show different pictures. Directions scaled with weights that are
    all zero have no length, and the value is undefined. With the stored statistics of batch
    norm much of what is seen far from the model is activations that no longer fit them.
    Compare models at one radius and on the same scale of colours only.
    """

    summary = "Loss over a random or Hessian plane through the model, and its mean rise"
    version = 2
    returns = (
        Quantity(
            name="loss_surface_rise",
            unit="nats",
            description="Mean rise of the loss over a disc around the model",
            direction="lower",
        ),
    )

    @classmethod
    def minimal(cls) -> Self:
        """Return an instance that takes a moment: 16 samples, 3 × 3 points."""
        return cls(samples=16, points=3)

    def cost(self, task: TaskDescription) -> float:
        """Return the cost of all points."""
        return self.points_cost(self.points**2, 2 if self.directions == "hessian" else 0)

    def compute(self, context: MeasureContext) -> list[Measurement]:
        """Return the mean rise, with the surface in ``arrays["loss"]``."""
        import numpy as np

        from llt_plugins.surfaces.evaluation import grid, steps
        from llt_plugins.surfaces.parameters import flatten

        model = context.model
        if sum(p.numel() for p in model.parameters() if p.requires_grad) < 2:
            return self.nothing("undefined", "one trainable parameter spans no plane")
        if isinstance(chosen := self.choose(context, 2), list):
            return chosen
        axis = steps(self.radius, self.points)
        points = grid(axis, axis)
        inside = (points.norm(dim=1) <= self.radius * (1 + 1e-9)).double()
        centre = len(points) // 2
        contrast = inside / inside.sum()
        contrast[centre] -= 1.0
        found = self.cut(context, model, flatten(model), chosen.vectors, points, contrast[None])
        rises = found.contrasts[0, 0]
        error, kind = self.sampling_error(rises, context)
        means = found.means.view(self.points, self.points, 2).numpy()
        arrays = {
            "x": axis.numpy(),
            "y": axis.numpy().copy(),
            "loss": means[..., 0].copy(),
            "error_percent": means[..., 1].copy(),
        }
        if chosen.eigenvalues:
            arrays["eigenvalues"] = np.asarray(chosen.eigenvalues)
        quantity, value = self.returns[0], float(rises.mean())
        return [
            Measurement(
                name=quantity.name,
                value=value,
                standard_error=error,
                unit=quantity.unit,
                n=int(inside.sum()),
                counted="points",
                status=chosen.status if math.isfinite(value) else "not_finite",
                details=self.facts(context)
                | self.why_not(value, means[..., 0].reshape(-1))
                | {"error_kind": kind, "loss_at_the_model": float(found.means[centre, 0])},
                arrays=arrays,
                figures=surface_figures(
                    self.split, f"{self.directions} direction 1", f"{self.directions} direction 2"
                ),
            )
        ]


def surface_figures(split: str, x_label: str, y_label: str) -> tuple[Figure, ...]:
    """Return how loss and error over a plane are drawn."""
    return tuple(
        Figure(
            kind="surface",
            title=f"{what.capitalize()} over the plane",
            x="x",
            y=("y",),
            z=name,
            x_label=x_label,
            y_label=y_label,
            z_label=f"{split} {what} ({unit})",
        )
        for what, name, unit in (("loss", "loss", "nats"), ("error", "error_percent", "percent"))
    )
