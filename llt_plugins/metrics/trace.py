"""What metrics share that are the trace of a symmetric operator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from llt_core.interfaces import Figure, MeasureContext, Measurement, TaskDescription, parameter
from llt_plugins.metrics.second_order import SecondOrder, Shared, Which, freedom

if TYPE_CHECKING:
    from llt_plugins.curvature.estimates import TraceEstimate


_DRAWN = ("tolerance", "limit")


class OperatorTrace(SecondOrder):
    """The trace of a symmetric operator by one of four estimators."""

    matrix: ClassVar[Which]

    estimator: Literal["deflated", "hutchinson", "hutch++", "xtrace"] = parameter(
        "deflated",
        description="deflated: Lanczos steps exactly and the rest with random signs, sharing "
        "both with other metrics; hutchinson, hutch++, xtrace: the published methods",
    )
    tolerance: float = parameter(
        0.05,
        gt=0,
        description="Stop when the standard error is at most this fraction of the trace",
    )
    max_vectors: int = parameter(
        100,
        ge=4,
        description="Spend at most this many products; with as many as there are parameters "
        "the trace is computed exactly",
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
        description="Lanczos steps to take first, at most half of max_vectors (estimator deflated)",
        unit="products",
    )

    @classmethod
    def minimal(cls) -> Self:
        """Return an instance that takes a moment: 16 samples, 6 products."""
        return cls(samples=16, max_vectors=6)

    def cost(self, task: TaskDescription) -> float:
        """Return the cost of 30 products, or of all where the estimator takes most of them."""
        usual = self.max_vectors if self.estimator in ("hutchinson", "hutch++") else 30
        return self.products_cost(min(usual, self.max_vectors))

    def estimate(self, context: MeasureContext) -> TraceEstimate:
        """Return the estimate of the chosen estimator."""
        from llt_plugins.curvature import hutchinson, hutchpp, xtrace

        shared = self.shared(context, self.matrix)
        if self.estimator == "deflated":
            return self._deflated(context, shared)
        options: dict[str, Any] = {
            "tolerance": self.tolerance,
            "min_vectors": self.min_vectors,
            "report": context.report,
        }
        if self.estimator == "hutchinson":
            return hutchinson.trace(
                shared.operator, context.generator(), max_vectors=self.max_vectors, **options
            )
        method = hutchpp.trace if self.estimator == "hutch++" else xtrace.trace
        return method(
            shared.operator, context.generator(), max_products=self.max_vectors, **options
        )

    def _deflated(self, context: MeasureContext, shared: Shared) -> TraceEstimate:
        from llt_plugins.curvature.deflated import trace_of_rest
        from llt_plugins.curvature.estimates import exact_trace

        if self.max_vectors >= shared.operator.size:
            return exact_trace(shared.operator, context.report)
        steps = min(self.deflation_steps, self.max_vectors // 2)
        deflation = shared.deflation(steps, lambda done, _: context.report(done, self.max_vectors))
        return trace_of_rest(
            deflation,
            shared.probes(deflation),
            tolerance=self.tolerance,
            max_products=self.max_vectors,
            min_vectors=self.min_vectors,
            report=context.report,
        )

    def trace_result(
        self, context: MeasureContext, estimate: TraceEstimate, **details: Any
    ) -> Measurement:
        """Return the measurement that ``estimate`` amounts to."""
        exact = estimate.stopped == "exact"
        drawn = Figure(
            kind="histogram",
            title=f"{self.returns[0].name}: one estimate for each probe vector",
            y=("samples",),
            x_label="trace (nats)",
        )
        return self.result(
            context,
            estimate.value,
            estimate.standard_error,
            estimate.stopped,
            n=estimate.n,
            counted="products" if exact else "vectors",
            details={
                "tolerance": self.tolerance,
                "products": estimate.products,
                "degrees_of_freedom": freedom(estimate.degrees_of_freedom),
                "error_kind": "exact" if exact else "standard error of the estimator",
            }
            | details,
            arrays={"samples": estimate.samples},
            figures=(drawn,) if estimate.n > 1 and estimate.stopped in _DRAWN else (),
        )
