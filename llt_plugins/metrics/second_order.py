"""What metrics of the second derivative share: the work done once for all of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from llt_core.interfaces import Batch, MeasureContext, Needs, forward
from llt_plugins.metrics.sampled import SampledLoss

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    from llt_plugins.curvature.deflated import Deflation
    from llt_plugins.curvature.krylov import Krylov
    from llt_plugins.curvature.operators.micro_batches import MicroBatchOperator
    from llt_plugins.curvature.probes import Probes

_FORWARDS_PER_PRODUCT = 6.0
"""A gradient costs about 3 forward passes, a product with a kept graph 1.4 to 2 gradients."""

Which = Literal["hessian", "gauss_newton"]


class SecondOrder(SampledLoss):
    """A metric of the second derivative of the mean loss.

    Metrics measured together on one model share the operator with its graph, the Lanczos
    vectors and the random products: each of them is made once. These start from numbers that
    are the same for all models of a cell and do not depend on what else is measured.
    """

    needs: ClassVar[Needs] = Needs(splits=("train",), second_order=True)

    def products_cost(self, products: float) -> float:
        """Return the cost of ``products`` in passes over a typical training split."""
        return products * _FORWARDS_PER_PRODUCT * self.share_of_split()

    def shared(self, context: MeasureContext, matrix: Which = "hessian") -> Shared:
        """Return the operator of this function, and what was already computed with it.

        Only the operator of a model that was asked for last keeps its graphs.
        """
        build = self._hessian if matrix == "hessian" else self._gauss_newton
        key = ("curvature", matrix, self.split, self.samples, self.batch_size, self.dtype)
        operator = context.remember((*key, "operator"), lambda: build(context))
        # One memory budget for all of a model: whoever is asked again builds its graphs anew.
        last: list[MicroBatchOperator] = context.remember(("curvature", "last"), list)
        for other in last:
            if other is not operator:
                other.close()
        last[:] = [operator]
        return Shared(context, key, operator)

    def _hessian(self, context: MeasureContext) -> MicroBatchOperator:
        from llt_plugins.curvature.operators.hessian import HessianOperator

        return HessianOperator(*self.function(context))

    def _gauss_newton(self, context: MeasureContext) -> MicroBatchOperator:
        from llt_plugins.curvature.operators.copies import evaluation_copy
        from llt_plugins.curvature.operators.gauss_newton import GaussNewtonOperator

        def outputs(model: nn.Module, batch: Batch) -> Any:
            return forward(model, batch)

        def loss(answer: Any, batch: Batch) -> Tensor:
            return context.task.loss(answer, batch)

        return GaussNewtonOperator(
            evaluation_copy(context.model, self.torch_dtype()),
            [
                (float(batch.weight), partial(outputs, batch=batch), partial(loss, batch=batch))
                for batch in self.batches(context)
            ],
        )


@dataclass(frozen=True)
class Shared:
    """The operator of one function of one model, and sequences that all metrics read.

    Attributes
    ----------
    context, key
        Where they are remembered, and under which name.
    operator
        Its products are exact; its graph is kept while the model is in memory.
    """

    context: MeasureContext
    key: tuple[Any, ...]
    operator: MicroBatchOperator

    def krylov(self, block_size: int = 1) -> Krylov:
        """Return the Lanczos vectors, as far as any reader extended them."""
        from llt_plugins.curvature.krylov import Krylov

        def start() -> Krylov:
            generator = self.context.sample_generator("lanczos")
            return Krylov(self.operator, generator, block_size=block_size)

        return self.context.remember((*self.key, "lanczos", block_size), start)

    def deflation(self, steps: int, report: Callable[[int, int], None]) -> Deflation:
        """Return what ``steps`` Lanczos steps say exactly."""
        from llt_plugins.curvature.deflated import deflate

        return deflate(self.krylov(), steps, report)

    def probes(self, deflation: Deflation) -> Probes:
        """Return the random products with what ``deflation`` leaves of the operator."""
        return self.context.remember(
            (*self.key, "probes", deflation.steps),
            lambda: deflation.probes(self.context.sample_generator("probes"), self.sizes()),
        )

    def facts(self) -> dict[str, Any]:
        """Return, as details, whose products these are, and why not the fast ones if so."""
        plain = self.operator.plain
        return {"backend": "llt"} | ({} if plain is None else {"plain_products": plain})

    def sizes(self) -> list[int]:
        """Return the number of entries of each trainable parameter, in the model's order."""
        return [p.numel() for p in self.context.model.parameters() if p.requires_grad]
