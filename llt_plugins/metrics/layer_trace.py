"""Which layers the curvature sits in."""

from __future__ import annotations

import math
from typing import Any, Literal, Self

from llt_core.interfaces import (
    Figure,
    MeasureContext,
    Measurement,
    Quantity,
    TaskDescription,
    parameter,
)
from llt_plugins.metrics.second_order import SecondOrder, Shared


class HessianLayerTrace(SecondOrder):
    """Trace of the Hessian's diagonal block of every layer (Yao et al. 2020).

    **Definition.** ``tr H_l`` with H_l the second derivatives with respect to the parameters
    of layer l alone; the traces of all layers add up to ``hessian_trace``. The scalar is the
    largest of them in magnitude, with its sign; ``details`` names the layer and its share of
    the sum of magnitudes. A layer is a module that owns parameters (``level = "layer"``), or
    a stage of the architecture with everything in it (``level = "block"``).

    **Error.** For each layer the standard error over the probe vectors, for these samples.
    That of the scalar is the one of its layer; with several layers alike, the largest
    estimate is a little too large.

    **Arrays.** ``traces``, ``errors`` and ``sizes`` (parameters), all ``(L,)``, in the order
    of ``layers`` in the details; ``per_parameter`` is traces over sizes.

    **Cost.** ``deflation_steps + vectors`` products of the Hessian for all layers together,
    those of ``hessian_trace`` with the same seeds. (Restricting the operator to one layer
    after another would take that many products *per layer*.)

    **Pitfalls.** Layers before a normalisation can be rescaled freely, which moves curvature
    between layers without changing the function. A layer with many parameters has a large
    trace for that reason alone: look at ``per_parameter`` too.
    """

    summary = "Trace of the Hessian of every layer or block, with errors; the largest as scalar"
    returns = (
        Quantity(
            name="hessian_layer_trace",
            unit="nats",
            description="Largest trace among the diagonal blocks of the layers",
            direction="lower",
        ),
    )

    level: Literal["layer", "block"] = parameter(
        "layer", description="Every module with parameters, or every stage of the architecture"
    )
    vectors: int = parameter(24, ge=2, description="Probe vectors to draw", unit="vectors")
    deflation_steps: int = parameter(
        15, ge=1, description="Lanczos steps to take first, exactly", unit="products"
    )

    @classmethod
    def minimal(cls) -> Self:
        """Return an instance that takes a moment: 16 samples, 3 + 3 products."""
        return cls(samples=16, vectors=3, deflation_steps=3)

    def cost(self, task: TaskDescription) -> float:
        """Return the cost of all products."""
        return self.products_cost(self.vectors + self.deflation_steps)

    def compute(self, context: MeasureContext) -> list[Measurement]:
        """Return the largest trace, with all of them in the arrays."""
        import numpy as np

        groups = self._groups(context)
        shared = self.shared(context)
        sizes = shared.sizes()
        traces, errors, stopped, products = self._traces(
            context, shared, sizes, list(groups.values())
        )
        if stopped == "not_finite":
            details: dict[str, Any] = shared.facts() | {"products": products}
            return [self.result(context, math.nan, None, stopped, details=details)]
        largest = int(np.abs(traces).argmax())
        total = float(np.abs(traces).sum())
        lengths = np.array([sum(sizes[i] for i in group) for group in groups.values()])
        names = [name or "(model)" for name in groups]
        return [
            self.result(
                context,
                float(traces[largest]),
                float(errors[largest]),
                stopped,
                n=products if stopped == "exact" else self.vectors,
                counted="products" if stopped == "exact" else "vectors",
                details=shared.facts()
                | {
                    "products": products,
                    "degrees_of_freedom": None if stopped == "exact" else self.vectors - 1,
                    "error_kind": "exact" if stopped == "exact" else "standard error of the mean",
                    "level": self.level,
                    "largest": names[largest],
                    "share": abs(float(traces[largest])) / total if total else 0.0,
                    "total": float(traces.sum()),
                    "layers": names,
                },
                arrays={
                    "traces": traces,
                    "errors": errors,
                    "sizes": lengths.astype(np.float64),
                    "per_parameter": traces / lengths,
                },
                figures=self._figures(tuple(names)),
            )
        ]

    def _traces(
        self, context: MeasureContext, shared: Shared, sizes: list[int], groups: list[list[int]]
    ) -> tuple[Any, Any, str, int]:
        """Return traces, errors, why it ended, and the number of products."""
        import numpy as np

        from llt_plugins.curvature.diagonal import block_traces, sums
        from llt_plugins.curvature.products import matrix

        total = self.deflation_steps + self.vectors
        if total >= shared.operator.size:
            diagonal = matrix(shared.operator, context.report).diagonal()
            stopped = "exact" if bool(diagonal.isfinite().all()) else "not_finite"
            traces = sums(diagonal, sizes, groups)
            return traces, np.zeros(len(groups)), stopped, shared.operator.size
        deflation = shared.deflation(
            self.deflation_steps, lambda done, _: context.report(done, total)
        )
        traces, errors, finite = block_traces(
            deflation, shared.probes(deflation), sizes, groups, self.vectors
        )
        products = deflation.count + self.vectors
        context.report(products, total)
        return traces, errors, "steps" if finite else "not_finite", products

    def _groups(self, context: MeasureContext) -> dict[str, list[int]]:
        """Return for each layer the positions of its parameters among the trainable ones."""
        from llt_plugins.curvature.operators.parameters import parameter_groups

        model = context.model
        order = [name for name, p in model.named_parameters() if p.requires_grad]
        blocks = context.probes() if self.level == "block" else []
        blocks = [b for b in blocks if not any(b.startswith(f"{other}.") for other in blocks)]
        named = parameter_groups(model, self.level, blocks)
        return {group: [order.index(name) for name in names] for group, names in named.items()}

    def _figures(self, names: tuple[str, ...]) -> tuple[Figure, ...]:
        def bars(array: str, title: str, label: str, band: tuple[str, ...]) -> Figure:
            return Figure(
                kind="bars", title=title, y=(array,), band=band, labels=names, y_label=label
            )

        return (
            bars("traces", f"Trace of each {self.level}", "trace (nats)", ("errors",)),
            bars("per_parameter", f"Mean curvature of each {self.level}", "trace/size (nats)", ()),
        )
