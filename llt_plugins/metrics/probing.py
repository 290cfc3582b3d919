"""What metrics share that take Lanczos steps exactly and estimate the rest with random signs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Self

from llt_core.interfaces import MeasureContext, Measurement, parameter
from llt_plugins.metrics.second_order import SecondOrder, Shared

if TYPE_CHECKING:
    from llt_plugins.curvature.deflated import Deflation
    from llt_plugins.curvature.estimates import TraceEstimate
    from llt_plugins.curvature.norms import NormEstimate
    from llt_plugins.curvature.probes import Probes


class Probing(SecondOrder):
    """A metric that spends products until its standard error is small enough."""

    tolerance: float = parameter(
        0.05,
        gt=0,
        description="Stop when the standard error is at most this fraction of the value",
    )
    max_vectors: int = parameter(
        100,
        ge=4,
        description="Spend at most this many products; with as many as there are parameters "
        "the value is computed exactly",
        unit="products",
    )
    min_vectors: int = parameter(
        8,
        ge=2,
        description="Draw this many probe vectors before asking whether the tolerance is reached",
        unit="vectors",
    )
    deflation_steps: int = parameter(
        15,
        ge=1,
        description="Lanczos steps to take first, at most half of max_vectors",
        unit="products",
    )

    @classmethod
    def minimal(cls) -> Self:
        """Return an instance that takes a moment: 16 samples, 4 products."""
        return cls(samples=16, max_vectors=4)

    def deflated(self, context: MeasureContext, shared: Shared) -> tuple[Deflation, Probes]:
        """Return what the Lanczos steps say exactly, and the random forms of the rest."""
        deflation = shared.deflation(
            min(self.deflation_steps, self.max_vectors // 2),
            lambda done, _: context.report(done, self.max_vectors),
        )
        return deflation, shared.probes(deflation)

    def limits(self, context: MeasureContext) -> dict[str, Any]:
        """Return when to stop, in the words of the estimators."""
        return {
            "tolerance": self.tolerance,
            "max_products": self.max_vectors,
            "min_vectors": self.min_vectors,
            "report": context.report,
        }

    def estimated(
        self,
        context: MeasureContext,
        estimate: TraceEstimate | NormEstimate,
        details: dict[str, Any],
        **more: Any,
    ) -> Measurement:
        """Return the measurement that ``estimate`` amounts to."""
        exact = estimate.stopped == "exact"
        return self.result(
            context,
            estimate.value,
            None if math.isnan(estimate.standard_error) else estimate.standard_error,
            estimate.stopped,
            n=estimate.products if exact else estimate.n,
            counted="products" if exact else "vectors",
            details={
                "tolerance": self.tolerance,
                "products": estimate.products,
                "degrees_of_freedom": _freedom(estimate.degrees_of_freedom),
                "error_kind": "exact" if exact else "standard error of the estimator",
            }
            | details,
            **more,
        )


def _freedom(degrees: float) -> float | None:
    """Return degrees of freedom as a detail: None where the value is exact."""
    return round(degrees, 3) if math.isfinite(degrees) else None
