"""What metrics share that are the trace of a symmetric operator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from llt_core.interfaces import Figure, MeasureContext, Measurement, TaskDescription, parameter
from llt_plugins.metrics.probing import Probing
from llt_plugins.metrics.second_order import Shared, Which

if TYPE_CHECKING:
    from llt_plugins.curvature.estimates import TraceEstimate


_DRAWN = ("tolerance", "limit")


class OperatorTrace(Probing):
    """The trace of a symmetric operator by one of four estimators."""

    matrix: ClassVar[Which]

    estimator: Literal["deflated", "hutchinson", "hutch++", "xtrace"] = parameter(
        "deflated",
        description="deflated: Lanczos steps exactly and the rest with random signs, sharing "
        "both with other metrics; hutchinson, hutch++, xtrace: the published methods",
    )

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
        limits = self.limits(context)
        generator = context.generator()
        if self.estimator == "hutchinson":
            limits["max_vectors"] = limits.pop("max_products")
            return hutchinson.trace(shared.operator, generator, **limits)
        method = hutchpp.trace if self.estimator == "hutch++" else xtrace.trace
        return method(shared.operator, generator, **limits)

    def _deflated(self, context: MeasureContext, shared: Shared) -> TraceEstimate:
        from llt_plugins.curvature.deflated import trace_of_rest
        from llt_plugins.curvature.estimates import exact_trace

        if self.max_vectors >= shared.operator.size:
            return exact_trace(shared.operator, context.report)
        return trace_of_rest(*self.deflated(context, shared), **self.limits(context))

    def trace_result(
        self, context: MeasureContext, estimate: TraceEstimate, **details: Any
    ) -> Measurement:
        """Return the measurement that ``estimate`` amounts to."""
        # An estimator may find the whole range with fewer products; it keeps its name.
        visited = estimate.stopped == "exact" and estimate.n == estimate.products
        details = {"estimator": "sum of the diagonal" if visited else self.estimator} | details
        drawn = Figure(
            kind="histogram",
            title=f"{self.returns[0].name}: one estimate for each probe vector",
            y=("samples",),
            x_label="trace (nats)",
        )
        return self.estimated(
            context,
            estimate,
            details,
            arrays={"samples": estimate.samples},
            figures=(drawn,) if estimate.n > 1 and estimate.stopped in _DRAWN else (),
        )
