"""The spectral density of the Hessian."""

from __future__ import annotations

import math
from typing import Any, Self

from llt_core.interfaces import (
    Figure,
    MeasureContext,
    Measurement,
    Quantity,
    TaskDescription,
    parameter,
)
from llt_plugins.metrics.second_order import SecondOrder


class HessianSpectrum(SecondOrder):
    """How the eigenvalues of the Hessian are distributed (Ghorbani et al. 2019).

    **Definition.** The density of all eigenvalues of the Hessian of the mean loss over seeded
    samples of a split, by stochastic Lanczos quadrature (Ubaru, Chen and Saad 2017), smoothed
    with a Gaussian. The scalar says how far the model is from a minimum: it is
    ``Σ_{λ<0} |λ| / Σ |λ|``, the share of the curvature that points downward (0 at a minimum,
    ½ where both directions balance). The share of the *number* of negative eigenvalues is
    not given: most eigenvalues of a network are zero up to rounding, which no quadrature of
    a few steps can tell from slightly negative.

    **Error.** The standard error over the start vectors, with ``vectors − 1`` degrees of
    freedom, and in quadrature with it what the second half of the steps changed. It is 0 when
    there are as many products as parameters: all eigenvalues are then computed. The density
    has the first part only. ``mean_eigenvalue`` in the details equals the trace over P within
    its error.

    **Arrays.** ``eigenvalue`` (N,), ``density`` (N,) with integral 1 and ``density_error``
    (N,); ``nodes`` and ``weights`` (V, m) to smooth anew.

    **Cost.** ``vectors · steps`` products of the Hessian, 120 by default, of which the first
    30 are those of the other Hessian metrics.

    **Pitfalls.** Peaks narrower than ``smoothing`` times the range are as wide as that; an
    outlier holds 1/P of the mass and shows only on a logarithmic axis.
    """

    summary = "Spectral density of the Hessian (stochastic Lanczos quadrature), share below zero"
    returns = (
        Quantity(
            name="hessian_spectrum_negative",
            unit="",
            description="Share of the absolute curvature that is negative",
            direction="lower",
        ),
    )

    vectors: int = parameter(4, ge=2, description="Random start vectors", unit="vectors")
    steps: int = parameter(30, ge=2, description="Lanczos steps for each", unit="products")
    smoothing: float = parameter(
        0.005,
        gt=0,
        le=0.5,
        description="Standard deviation of the Gaussian, as a fraction of the range of eigenvalues",
    )
    points: int = parameter(1001, ge=11, description="Points of the density", unit="points")

    @classmethod
    def minimal(cls) -> Self:
        """Return an instance that takes a moment: 16 samples, 2 vectors, 3 steps."""
        return cls(samples=16, vectors=2, steps=3, points=101)

    def cost(self, task: TaskDescription) -> float:
        """Return the cost of all products."""
        return self.products_cost(self.vectors * self.steps)

    def compute(self, context: MeasureContext) -> list[Measurement]:
        """Return the negative share; the density is in the arrays."""
        import numpy as np

        from llt_plugins.curvature.slq import spectrum

        shared = self.shared(context)
        found = spectrum(
            shared.operator,
            context.sample_generator("spectrum"),
            vectors=self.vectors,
            steps=self.steps,
            first=shared.krylov(),
            report=context.report,
        )
        details: dict[str, Any] = shared.facts() | {"products": found.products}
        if found.stopped == "not_finite":
            return [self.result(context, math.nan, None, found.stopped, details=details)]
        scale = float(np.abs(found.nodes).max())
        if scale == 0:
            return self.undefined("the Hessian is zero: no curvature to share")
        value, error = found.share_of(lambda x: np.maximum(-x, 0), np.abs)
        mean, mean_error = found.mean_of(lambda x: x)
        width = self.smoothing * max(float(np.ptp(found.nodes)), 1e-9 * scale)
        grid = found.grid(self.points, width)
        density, density_error = found.density(grid, width)
        exact = found.stopped == "exact"
        details |= {
            "degrees_of_freedom": None if exact else len(found.nodes) - 1,
            "error_kind": "exact" if exact else "standard error over start vectors, quadrature",
            "mean_eigenvalue": mean,
            "mean_eigenvalue_error": mean_error,
            "width": width,
        }
        return [
            self.result(
                context,
                value,
                error,
                found.stopped,
                n=found.products if exact else len(found.nodes),
                counted="products" if exact else "vectors",
                details=details,
                arrays={
                    "eigenvalue": grid,
                    "density": density,
                    "density_error": density_error,
                    "nodes": found.nodes,
                    "weights": found.weights,
                },
                figures=(
                    Figure(
                        kind="line",
                        title="Spectral density of the Hessian",
                        x="eigenvalue",
                        y=("density",),
                        band=("density_error",),
                        x_label="eigenvalue (nats)",
                        y_label="density (1/nats)",
                        y_log=True,
                    ),
                ),
            )
        ]
