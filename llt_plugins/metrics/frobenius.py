"""The Frobenius norm of the Hessian."""

from __future__ import annotations

from llt_core.interfaces import MeasureContext, Measurement, Quantity, TaskDescription, parameter
from llt_plugins.metrics.probing import Probing


class HessianFrobenius(Probing):
    """Frobenius norm of the Hessian: the root of the sum of its squared eigenvalues.

    **Definition.** ``‖H‖_F = (Σ λᵢ²)^½`` for the Hessian of the mean loss over seeded samples
    of a split. Unlike in the trace, curvatures of opposite sign do not cancel: a saddle with
    trace zero has a large norm.

    **Method.** Lanczos steps give their share exactly; what they leave is estimated as the
    mean of ``‖Hv‖²`` over random signs v in the complement (Hutchinson 1990, for tr H²). Both
    are those of ``hessian_trace``: measured beside it, the norm costs next to nothing.

    **Error.** Standard error for these samples, carried from the square to its root.

    **Cost.** About 27 products of the Hessian.

    **Pitfalls.** A handful of outliers make nearly all of it: it says little that the top
    eigenvalues do not. It is not invariant to rescaling layers.
    """

    summary = "Frobenius norm of the Hessian of the mean loss, with its standard error"
    returns = (
        Quantity(
            name="hessian_frobenius",
            unit="nats",
            description="Root of the sum of the squared eigenvalues of the Hessian",
            direction="lower",
        ),
    )

    min_vectors: int = parameter(
        12,
        ge=2,
        description="Draw this many probe vectors before asking whether the tolerance is reached",
        unit="vectors",
    )

    def cost(self, task: TaskDescription) -> float:
        """Return the cost of the products that most networks need."""
        return self.products_cost(min(self.deflation_steps + self.min_vectors, self.max_vectors))

    def compute(self, context: MeasureContext) -> list[Measurement]:
        """Return the norm."""
        from llt_plugins.curvature.norms import exact_frobenius, frobenius

        shared = self.shared(context)
        if self.max_vectors >= shared.operator.size:
            norm = exact_frobenius(shared.operator, context.report)
        else:
            norm = frobenius(*self.deflated(context, shared), **self.limits(context))
        return [self.estimated(context, norm, shared.facts())]
