"""Trace and top eigenvalues of the Hessian of the mean loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import model_validator

from llt_core.interfaces import (
    Figure,
    MeasureContext,
    Measurement,
    Quantity,
    TaskDescription,
    parameter,
)
from llt_plugins.metrics.second_order import SecondOrder
from llt_plugins.metrics.trace import OperatorTrace

if TYPE_CHECKING:
    from llt_plugins.curvature.lanczos import Eigenpairs

Backend = Literal["llt", "pyhessian"]


class HessianTrace(OperatorTrace):
    """Trace of the Hessian: the sum of all its eigenvalues, the total curvature.

    **Definition.** ``tr H`` with H the matrix of second derivatives of the mean loss over
    seeded samples of a split, in eval mode, with respect to all trainable parameters.

    **Estimators.** ``deflated`` takes 15 Lanczos steps, whose share of the trace is exact,
    and averages ``vᵀHv`` over random signs v in the space they leave (Hutchinson 1990 on the
    complement; Gambhir, Stathopoulos and Orginos 2017). The steps and the products are those
    of ``hessian_top_eigenvalue``, ``hessian_spectrum``, ``hessian_layer_trace`` and
    ``hessian_frobenius``, which then cost little more. ``hutchinson`` is the plain mean (the
    choice of Yao et al. 2020), ``hutch++`` is Meyer et al. (2021) and ``xtrace`` is Epperly,
    Tropp and Webber (2024); they draw vectors of their own.

    **Error.** The standard error of the estimator for these samples; with the quantile of
    Student's t for ``degrees_of_freedom`` it covers as often as it says from 8 products on.
    What another choice of samples would give is not part of it. ``status`` is ``ok`` when
    the tolerance was reached, ``limit`` when the products ran out first; a trace near zero
    always ends so. ``deflated`` probes all models of a cell with the same vectors, which makes
    their difference more certain than the two errors say.

    **Arrays.** ``samples``: one unbiased estimate for each probe vector.

    **Cost.** About 25 products of the Hessian to 5 %, 130 to 1 % (resnet18, width 8); plain
    Hutchinson takes 41 and 1,020. A product costs about two gradients of the samples.

    **Pitfalls.** The sum mixes many small eigenvalues of both signs with few large ones: a
    saddle can have a small trace. It grows with the number of parameters and changes when
    layers are rescaled without changing the function (Dinh et al. 2017), so compare models
    of one architecture. With ReLU and a loss near zero it shrinks because the gradients of
    the outputs vanish, not because the landscape is flat.
    """

    summary = "Trace of the Hessian of the mean loss (deflated Hutchinson), with its error"
    version = 3
    matrix = "hessian"
    returns = (
        Quantity(
            name="hessian_trace",
            unit="nats",
            description="Trace of the Hessian of the mean loss: total curvature",
            direction="lower",
        ),
    )

    backend: Backend = parameter(
        "llt",
        description="Own estimators, or the installed PyHessian (plain Hutchinson, always "
        "max_vectors draws) as a cross-check",
    )

    def compute(self, context: MeasureContext) -> list[Measurement]:
        """Return the estimate, with the value of every vector in ``arrays["samples"]``."""
        if self.backend == "llt":
            estimate = self.estimate(context)
            facts = self.shared(context).facts()
        else:
            from llt_plugins.curvature import pyhessian_adapter

            estimate = pyhessian_adapter.trace(
                *self.function(context),
                context.generator(),
                tolerance=self.tolerance,
                max_vectors=self.max_vectors,
            )
            facts = {"backend": "pyhessian", "estimator": "hutchinson"}
        return [self.trace_result(context, estimate, **facts)]


class HessianTopEigenvalue(SecondOrder):
    """The outermost eigenvalues of the Hessian, by Lanczos iteration (Lanczos 1950).

    **Definition.** The eigenvalue of largest magnitude of the Hessian of the mean loss over
    seeded samples of a split, in eval mode, with respect to all trainable parameters; with
    ``which`` the most positive or the most negative one, with ``k`` the k outermost. The
    scalar is the outermost, with its sign: a negative value says that the model sits at a
    saddle whose strongest curvature is downward.

    **Error.** ``standard_error`` holds the residual bound ``‖Hy − θy‖`` (Parlett 1998): an
    eigenvalue lies within it. It is not a standard deviation, and the choice of samples is
    not part of it. PyHessian's power iteration (``backend``) knows no error.

    **Arrays.** ``eigenvalues`` and ``errors`` (k,), the outermost first, and all
    ``ritz_values``.

    **Cost.** 6 to 15 products of the Hessian for k = 1, about 3 more for each further one; a
    product costs about two gradients of the samples. Steps are shared with the other Hessian
    metrics. Every step keeps one vector as long as the parameters.

    **Pitfalls.** Of two equal eigenvalues one start vector finds one; ``block_size`` 2 finds
    both, at twice the products a step. The value changes when layers are rescaled without
    changing the function (Dinh et al. 2017). It hovers about 2 over the learning rate in
    full-batch training (Cohen et al. 2021), whatever the model is worth.
    """

    summary = "Outermost eigenvalues of the Hessian of the mean loss (Lanczos)"
    version = 2
    returns = (
        Quantity(
            name="hessian_top_eigenvalue",
            unit="nats",
            description="Eigenvalue of largest magnitude of the Hessian: sharpest curvature",
            direction="lower",
        ),
    )

    k: int = parameter(1, ge=1, description="How many eigenvalues", unit="eigenvalues")
    which: Literal["magnitude", "largest", "smallest"] = parameter(
        "magnitude",
        description="Which end of the spectrum: largest magnitude, most positive, most negative",
    )
    block_size: int = parameter(
        1,
        ge=1,
        description="Start vectors of the iteration: equal eigenvalues are told apart up to "
        "this many",
        unit="vectors",
    )
    tolerance: float = parameter(
        1e-3, gt=0, description="Stop when the error bound is at most this fraction of the value"
    )
    max_steps: int = parameter(
        100,
        ge=1,
        description="Take at most this many steps, of block_size products each",
        unit="steps",
    )
    min_steps: int = parameter(
        6,
        ge=1,
        description="Take this many steps before asking whether the tolerance is reached "
        "(backend llt)",
        unit="steps",
    )
    backend: Backend = parameter(
        "llt", description="Own Lanczos, or the installed PyHessian's power iteration"
    )

    @model_validator(mode="after")
    def _power_iteration_finds_one(self) -> Self:
        if self.backend == "pyhessian" and (self.k, self.which) != (1, "magnitude"):
            raise ValueError(
                f"backend pyhessian gives one eigenvalue of largest magnitude, not k = {self.k}, "
                f"which = {self.which!r}; use backend llt"
            )
        return self

    @classmethod
    def minimal(cls) -> Self:
        """Return an instance that takes a moment: 16 samples, 3 steps."""
        return cls(samples=16, max_steps=3)

    def cost(self, task: TaskDescription) -> float:
        """Return the cost of the steps that most networks need at most."""
        steps = min(12 + 3 * self.k, self.max_steps)
        return self.products_cost(steps * self.block_size)

    def compute(self, context: MeasureContext) -> list[Measurement]:
        """Return the outermost eigenvalue, with all k in ``arrays["eigenvalues"]``."""
        if self.backend == "pyhessian":
            return [self._by_power_iteration(context)]
        from llt_plugins.curvature.lanczos import eigenpairs

        shared = self.shared(context)
        krylov = shared.krylov(min(self.block_size, shared.operator.size))
        pairs = eigenpairs(
            krylov,
            k=self.k,
            which=self.which,
            tolerance=self.tolerance,
            max_steps=self.max_steps,
            min_steps=self.min_steps,
            report=context.report,
        )
        return [self._from_lanczos(context, pairs, shared.facts())]

    def _from_lanczos(
        self, context: MeasureContext, pairs: Eigenpairs, facts: dict[str, Any]
    ) -> Measurement:
        finite = pairs.stopped != "not_finite"
        arrays: dict[str, Any] = {"ritz_values": pairs.ritz_values}
        figures: tuple[Figure, ...] = ()
        if finite:
            arrays |= {"eigenvalues": pairs.values, "errors": pairs.errors}
            several = Figure(
                kind="bars",
                title=f"Outermost eigenvalues of the Hessian ({self.which})",
                y=("eigenvalues",),
                band=("errors",),
                labels=tuple(str(rank) for rank in range(1, len(pairs.values) + 1)),
                x_label="rank",
                y_label="eigenvalue (nats)",
            )
            figures = (several,) if len(pairs.values) > 1 else ()
        return self.result(
            context,
            float(pairs.values[0]),
            float(pairs.errors[0]),
            pairs.stopped,
            n=pairs.products,
            counted="products",
            details=facts
            | {
                "tolerance": self.tolerance,
                "which": self.which,
                "found": len(pairs.values) if finite else 0,
                "products": pairs.products,
                "error_kind": "residual bound",
            },
            arrays=arrays,
            figures=figures,
        )

    def _by_power_iteration(self, context: MeasureContext) -> Measurement:
        from llt_plugins.curvature import pyhessian_adapter

        power = pyhessian_adapter.top_eigenvalue(
            *self.function(context),
            context.generator(),
            tolerance=self.tolerance,
            max_steps=self.max_steps,
        )
        return self.result(
            context,
            power.value,
            None,
            power.stopped,
            n=power.products,
            counted="products",
            details={
                "backend": self.backend,
                "tolerance": self.tolerance,
                "which": self.which,
                "products": power.products,
                "error_kind": "unknown",
            },
        )
