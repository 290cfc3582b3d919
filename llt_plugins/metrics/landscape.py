"""What metrics of the loss surface share: which function is cut, and at which points."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from llt_core.interfaces import (
    Batch,
    MeasureContext,
    Measurement,
    forward,
    parameter,
)
from llt_plugins.metrics.costs import TYPICAL_SPLIT
from llt_plugins.metrics.recalibration import mixed_minibatches
from llt_plugins.metrics.sampled import SampledLoss
from llt_plugins.metrics.statuses import nothing

if TYPE_CHECKING:
    from torch import Tensor, nn

    from llt_plugins.surfaces.evaluation import Evaluated

_FORWARDS_PER_EIGENVECTOR = 15 * 8.0
"""About 15 Lanczos steps of about 8 forward passes each."""


class Landscape(SampledLoss):
    """A metric of the mean loss at many points of parameter space.

    The function is the mean loss over seeded samples of a split, the same for all models of
    a cell, in eval mode. Every point is evaluated on a copy by ``torch.func.functional_call``.
    """

    samples: int | None = parameter(
        500,
        ge=1,
        description="How many seeded samples of the split; null for the whole split",
        unit="samples",
    )
    batch_size: int = parameter(
        250,
        ge=1,
        description="Size of a micro-batch: it bounds memory; statistics of batch norm "
        "that are re-estimated depend on it a little",
        unit="samples",
    )
    batch_norm: Literal["stored", "recalibrate"] = parameter(
        "stored",
        description="Statistics of batch norm away from the model: those it has stored, or "
        "re-estimated from the training split at every point",
    )
    recalibration_samples: int | None = parameter(
        1000,
        ge=2,
        description="How many seeded samples of the training split re-estimate batch norm; "
        "null for the whole split",
        unit="samples",
    )

    def splits(self) -> tuple[str, ...]:
        """Return the split that ``split`` names, and train where batch norm asks for it."""
        more = ("train",) if self.batch_norm == "recalibrate" else ()
        return tuple(dict.fromkeys((self.split, *more)))

    def points_cost(self, points: int, eigenvectors: int = 0) -> float:
        """Return the cost of ``points`` in passes over a typical training split."""
        samples = TYPICAL_SPLIT if self.samples is None else self.samples
        every = points * samples + eigenvectors * _FORWARDS_PER_EIGENVECTOR * samples
        if self.batch_norm == "recalibrate":
            every += points * (self.recalibration_samples or TYPICAL_SPLIT)
        return every / TYPICAL_SPLIT

    def cut(
        self,
        context: MeasureContext,
        model: nn.Module,
        origin: Tensor,
        directions: Tensor,
        coordinates: Tensor,
        contrasts: Tensor | None = None,
        *,
        recalibrated: bool = True,
    ) -> Evaluated:
        """Return loss (nats) and error (percent) at ``origin + coordinates · directions``."""
        from llt_plugins.surfaces.evaluation import evaluate

        return evaluate(
            model,
            [self._score(context, batch) for batch in self.batches(context)],
            origin,
            directions,
            coordinates,
            contrasts=contrasts,
            dtype=self.torch_dtype(),
            passes=self._passes(context, model) if recalibrated else (),
            report=context.report,
        )

    def sampling_error(self, terms: Tensor, context: MeasureContext) -> tuple[float | None, str]:
        """Return the standard error of the mean of ``terms`` ``(T,)``, and what it is about."""
        from llt_plugins.means import standard_error

        if not math.isfinite(terms.sum()):
            return None, "unknown"
        whole = len(context.examples(self.split, self.samples)) == len(context.splits[self.split])
        if whole and self.split == "train":
            return 0.0, "exact over the split"
        owners = context.owners(self.split, self.samples)
        error = standard_error(terms, owners)
        return error, "unknown" if error is None else "sampling of the examples"

    def facts(self, context: MeasureContext) -> dict[str, Any]:
        """Return the details that all measurements give."""
        recalibrated = {"recalibration_samples": self.recalibration_samples}
        return {
            "split": self.split,
            "samples": len(context.examples(self.split, self.samples)),
            "batch_norm": self.batch_norm,
            "dtype": self.dtype,
        } | (recalibrated if self.batch_norm == "recalibrate" else {})

    def nothing(self, status: Literal["undefined", "not_finite"], reason: str) -> list[Measurement]:
        """Return the answer where there is no surface to look at."""
        return nothing(self.returns, status, reason, split=self.split)

    @staticmethod
    def why_not(value: float, losses: Any) -> dict[str, str]:
        """Return the reason, as a detail, if ``value`` of points with these losses is no number."""
        if math.isfinite(value):
            return {}
        broken = sum(not math.isfinite(loss) for loss in losses)
        return {"reason": f"the loss is not finite at {broken} of {len(losses)} points"}

    def _score(self, context: MeasureContext, batch: Batch) -> Any:
        import torch

        def score(model: nn.Module) -> Tensor:
            scored = context.task.evaluate(forward(model, batch), batch)
            loss, error = scored["loss"], 100.0 * (1.0 - scored["correct"])
            # Outputs that are NaN still have an argmax; their errors are no errors.
            return torch.stack([loss, error.where(loss.isfinite(), math.nan)])

        return score

    def _passes(self, context: MeasureContext, model: nn.Module) -> list[Any]:
        from llt_plugins.paths.batchnorm import normalisations

        if self.batch_norm == "stored" or not normalisations(model):
            return []
        generator = context.sample_generator("batch norm of surfaces")
        batches = mixed_minibatches(
            context, self.recalibration_samples, max(2, self.batch_size), generator
        )
        return [
            (batch.weight, partial(forward, batch=batch.to(dtype=self.torch_dtype())))
            for batch in batches
        ]
