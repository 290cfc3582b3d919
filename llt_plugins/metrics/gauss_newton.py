"""Trace of the Gauss–Newton matrix of the mean loss."""

from __future__ import annotations

from llt_core.interfaces import MeasureContext, Measurement, Quantity
from llt_plugins.metrics.trace import OperatorTrace


class GaussNewtonTrace(OperatorTrace):
    """Trace of the generalised Gauss–Newton matrix: the Hessian without the model's curvature.

    **Definition.** ``tr Σ wᵢ Jᵢᵀ Hᵢ Jᵢ / Σ wᵢ`` with Jᵢ the Jacobian of the outputs with
    respect to all trainable parameters and Hᵢ the Hessian of the loss with respect to the
    outputs (Schraudolph 2002, eq. 11), over seeded samples of a split, in eval mode. For
    cross-entropy it is the trace of the Fisher information with labels drawn from the model
    (Martens 2020). It is never negative; what it lacks of ``hessian_trace`` is the curvature
    of the outputs themselves, weighted with the residuals, which vanish as the loss does.

    **Estimators and error.** Those of ``hessian_trace``.

    **Arrays.** ``samples``: one unbiased estimate for each probe vector.

    **Cost.** About 25 products to 5 %; a product costs about 1.3 gradients of the samples.

    **Pitfalls.** Like every trace it grows with the number of parameters and changes when
    layers are rescaled. Confident networks have Hᵢ near zero whatever the labels say: a small
    value then tells of saturation, not of a flat landscape.
    """

    summary = "Trace of the Gauss-Newton matrix (Fisher information) of the mean loss"
    version = 2
    matrix = "gauss_newton"
    returns = (
        Quantity(
            name="gauss_newton_trace",
            unit="nats",
            description="Trace of the Gauss–Newton matrix of the mean loss",
            direction="lower",
        ),
    )

    def compute(self, context: MeasureContext) -> list[Measurement]:
        """Return the estimate, with the value of every vector in ``arrays["samples"]``."""
        estimate = self.estimate(context)
        facts = self.shared(context, self.matrix).facts()
        return [self.trace_result(context, estimate, **facts)]
