"""The spectral density of the Hessian."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Self

from llt_core.interfaces import (
    Figure,
    MeasureContext,
    Measurement,
    Quantity,
    TaskDescription,
    parameter,
)
from llt_plugins.metrics.second_order import SecondOrder

if TYPE_CHECKING:
    from llt_plugins.curvature.slq import Spectrum


class HessianSpectrum(SecondOrder):
    """How the eigenvalues of the Hessian are distributed (Ghorbani et al. 2019).

    **Definition.** The density of all eigenvalues of the Hessian of the mean loss over seeded
    samples of a split, by stochastic Lanczos quadrature (Ubaru, Chen and Saad 2017), smoothed
    with a Gaussian. Two scalars say how far the model is from a minimum:
    ``hessian_negative_curvature`` is ``Σ_{λ<0} |λ| / Σ |λ|``, the share of the curvature that
    points downward (0 at a minimum, ½ where both directions balance), and
    ``hessian_negative_mass`` the share of the *number* of eigenvalues below ``−zero`` times
    the largest magnitude.

    **Error.** The standard error over the start vectors, with ``vectors − 1`` degrees of
    freedom; it is 0 when there are as many products as parameters, since all eigenvalues are
    then computed. The error of the quadrature itself, which shrinks with ``steps``, is not
    part of it; ``mean_eigenvalue`` in the details is exact in that respect, and equals the
    trace over P within its error.

    **Arrays.** ``eigenvalue`` (N,), ``density`` (N,) with integral 1 and ``density_error``
    (N,); ``nodes`` and ``weights`` (V, m) to smooth anew.

    **Cost.** ``vectors · steps`` products of the Hessian, 120 by default, of which the first
    30 are those of the other Hessian metrics.

    **Pitfalls.** Most eigenvalues of a network are nearly zero, with signs that rounding
    decides: the negative mass hangs on where ``zero`` is put, the negative curvature hardly.
    Peaks narrower than ``smoothing`` times the range are as wide as that; an outlier holds 1/P
    of the mass and shows only on a logarithmic axis.
    """

    summary = "Spectral density of the Hessian (stochastic Lanczos quadrature), share below zero"
    returns = (
        Quantity(
            name="hessian_negative_curvature",
            unit="",
            description="Share of the absolute curvature that is negative",
            direction="lower",
        ),
        Quantity(
            name="hessian_negative_mass",
            unit="",
            description="Share of the eigenvalues that are clearly negative",
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
    zero: float = parameter(
        1e-3,
        ge=0,
        lt=1,
        description="Eigenvalues within this fraction of the largest magnitude count as zero "
        "(hessian_negative_mass)",
    )

    @classmethod
    def minimal(cls) -> Self:
        """Return an instance that takes a moment: 16 samples, 2 vectors, 5 steps."""
        return cls(samples=16, vectors=2, steps=5, points=101)

    def cost(self, task: TaskDescription) -> float:
        """Return the cost of all products."""
        return self.products_cost(self.vectors * self.steps)

    def measure(self, context: MeasureContext) -> list[Measurement]:
        """Return both shares; the density is stored with the first."""
        import numpy as np

        from llt_plugins.curvature.slq import spectrum

        if (nothing := self.without_parameters(context)) is not None:
            return nothing
        shared = self.shared(context)
        found = spectrum(
            shared.operator,
            context.sample_generator("spectrum"),
            vectors=self.vectors,
            steps=self.steps,
            first=shared.krylov(),
            report=context.report,
        )
        if found.stopped == "not_finite":
            return [self._share(context, found, (math.nan, None), i) for i in (0, 1)]
        scale = float(np.abs(found.nodes).max())
        if scale == 0:
            return self.undefined("the Hessian is zero: no curvature to share")
        curvature = found.share_of(lambda x: np.maximum(-x, 0), np.abs)
        mass = found.mean_of(lambda x: (x < -self.zero * scale).astype(float))
        mean = found.mean_of(lambda x: x)
        width = self.smoothing * max(float(np.ptp(found.nodes)), 1e-9 * scale)
        grid = found.grid(self.points, width)
        density, error = found.density(grid, width)
        first = self._share(
            context,
            found,
            curvature,
            0,
            {"mean_eigenvalue": mean[0], "mean_eigenvalue_error": mean[1], "width": width},
            {"eigenvalue": grid, "density": density, "density_error": error}
            | {"nodes": found.nodes, "weights": found.weights},
        )
        return [first, self._share(context, found, mass, 1, {"zero": self.zero * scale})]

    def _share(
        self,
        context: MeasureContext,
        found: Spectrum,
        share: tuple[float, float | None],
        quantity: int,
        details: dict[str, Any] | None = None,
        arrays: dict[str, Any] | None = None,
    ) -> Measurement:
        drawn = Figure(
            kind="line",
            title="Spectral density of the Hessian",
            x="eigenvalue",
            y=("density",),
            band=("density_error",),
            x_label="eigenvalue (nats)",
            y_label="density (1/nats)",
            y_log=True,
        )
        exact = found.stopped == "exact"
        return self.result(
            context,
            *share,
            found.stopped,
            quantity=quantity,
            n=len(found.nodes),
            counted="vectors" if not exact else "matrices",
            details={
                "backend": "llt",
                "products": found.products,
                "degrees_of_freedom": len(found.nodes) - 1 if not exact else None,
                "error_kind": "exact" if exact else "standard error over start vectors",
            }
            | (details or {}),
            arrays=arrays or {},
            figures=(drawn,) if arrays else (),
        )
