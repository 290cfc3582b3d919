"""Trace and top eigenvalue of the Hessian of the mean loss."""

from __future__ import annotations

import math
from typing import Any, Self

from llt_core.interfaces import MeasureContext, Measurement, Quantity, TaskDescription, parameter
from llt_plugins.metrics.second_order import SecondOrder


class HessianTrace(SecondOrder):
    """Trace of the Hessian by Hutchinson's estimator (Hutchinson 1990; Yao et al. 2020).

    The mean of ``vᵀHv`` over random sign vectors v, with the standard error of that mean.
    The uncertainty of the choice of samples is not part of it: the estimand is the trace
    for these samples. ``status`` is ``ok`` when the tolerance was reached, ``limit`` when
    the vectors ran out first; a trace near zero always ends so.
    """

    summary = "Trace of the Hessian of the mean loss (Hutchinson), with its standard error"
    returns = (
        Quantity(
            name="hessian_trace",
            unit="nats",
            description="Trace of the Hessian of the mean loss: total curvature",
            direction="lower",
        ),
    )

    tolerance: float = parameter(
        0.05,
        gt=0,
        description="Stop when the standard error is at most this fraction of the trace",
    )
    max_vectors: int = parameter(
        100, ge=2, description="Draw at most this many probe vectors", unit="vectors"
    )
    min_vectors: int = parameter(
        16,
        ge=2,
        description="Draw this many vectors before asking whether the tolerance is reached; "
        "below about 10 the error bars become too small",
        unit="vectors",
    )

    @classmethod
    def minimal(cls) -> Self:
        """Return an instance that takes a moment: 16 samples, 4 vectors."""
        return cls(samples=16, max_vectors=4)

    def cost(self, task: TaskDescription) -> float:
        """Return the cost at the limit of vectors; the tolerance may end it earlier."""
        return self.products_cost(self.max_vectors)

    def measure(self, context: MeasureContext) -> list[Measurement]:
        """Return the estimate, with the value of every vector in ``arrays["samples"]``."""
        from llt_plugins.curvature import hutchinson, pyhessian_adapter
        from llt_plugins.curvature.operator import HessianOperator

        model, losses = self.function(context)
        if (nothing := self.without_parameters(model)) is not None:
            return nothing
        generator = context.generator()
        if self.backend == "pyhessian":
            estimate = pyhessian_adapter.trace(
                model,
                losses,
                generator,
                tolerance=self.tolerance,
                max_vectors=self.max_vectors,
            )
        else:
            with HessianOperator(model, losses) as operator:
                estimate = hutchinson.trace(
                    operator,
                    generator,
                    tolerance=self.tolerance,
                    max_vectors=self.max_vectors,
                    min_vectors=self.min_vectors,
                    report=context.report,
                )
        return [
            self.result(
                context,
                model,
                estimate.value,
                estimate.standard_error,
                estimate.stopped,
                n=estimate.n,
                counted="vectors",
                details={"tolerance": self.tolerance, "error_kind": "standard error of the mean"},
                arrays={"samples": estimate.samples},
            )
        ]


class HessianTopEigenvalue(SecondOrder):
    """Eigenvalue of largest magnitude of the Hessian, by Lanczos iteration (Lanczos 1950).

    ``standard_error`` holds the residual bound: an eigenvalue lies within it. PyHessian's
    power iteration knows no error. A negative value says that the model sits at a saddle
    whose strongest curvature is downward.
    """

    summary = "Largest-magnitude eigenvalue of the Hessian of the mean loss (Lanczos)"
    returns = (
        Quantity(
            name="hessian_top_eigenvalue",
            unit="nats",
            description="Eigenvalue of largest magnitude of the Hessian: sharpest curvature",
            direction="lower",
        ),
    )

    tolerance: float = parameter(
        1e-3, gt=0, description="Stop when the error bound is at most this fraction of the value"
    )
    max_steps: int = parameter(
        100, ge=1, description="Spend at most this many products", unit="products"
    )
    min_steps: int = parameter(
        6,
        ge=1,
        description="Spend this many products before asking whether the tolerance is reached "
        "(backend llt)",
        unit="products",
    )

    @classmethod
    def minimal(cls) -> Self:
        """Return an instance that takes a moment: 16 samples, 6 steps."""
        return cls(samples=16, max_steps=6)

    def cost(self, task: TaskDescription) -> float:
        """Return the cost of 15 products, which most networks need at most."""
        return self.products_cost(min(15, self.max_steps))

    def measure(self, context: MeasureContext) -> list[Measurement]:
        """Return the eigenvalue, with all Ritz values in ``arrays["ritz_values"]``."""
        from llt_plugins.curvature import lanczos, pyhessian_adapter
        from llt_plugins.curvature.operator import HessianOperator

        model, losses = self.function(context)
        if (nothing := self.without_parameters(model)) is not None:
            return nothing
        generator = context.generator()
        details: dict[str, Any] = {"tolerance": self.tolerance}
        arrays: dict[str, Any] = {}
        error: float | None
        if self.backend == "pyhessian":
            power = pyhessian_adapter.top_eigenvalue(
                model, losses, generator, tolerance=self.tolerance, max_steps=self.max_steps
            )
            value, error, n, stopped = power.value, None, power.products, power.stopped
            details["error_kind"] = "unknown"
        else:
            with HessianOperator(model, losses) as operator:
                top = lanczos.top_eigenvalue(
                    operator,
                    generator,
                    tolerance=self.tolerance,
                    max_steps=self.max_steps,
                    min_steps=self.min_steps,
                    report=context.report,
                )
            value, error, n, stopped = top.value, top.error, top.steps, str(top.stopped)
            details["error_kind"] = "residual bound"
            arrays["ritz_values"] = top.ritz_values
        return [
            self.result(
                context,
                model,
                value,
                error if error is None or math.isfinite(error) else None,
                stopped,
                n=n,
                counted="products",
                details=details,
                arrays=arrays,
            )
        ]
