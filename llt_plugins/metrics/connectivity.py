"""What the metrics of connectivity share: the points of a path and their scores."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from llt_core.interfaces import (
    Batch,
    MeasureContext,
    Measurement,
    Metric,
    Needs,
    RequestError,
    Scope,
    TaskDescription,
    forward,
    parameter,
)
from llt_plugins.metrics.connectivity_results import SPLITS, Terms, measurements
from llt_plugins.metrics.recalibration import mixed_minibatches
from llt_plugins.metrics.statuses import broken_weights, nothing

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from torch import Tensor, nn

    from llt_plugins.paths.batchnorm import Pass
    from llt_plugins.paths.curves import Path
    from llt_plugins.paths.evaluation import Score, SplitScores


_REPLICATES = 500
"""Resamples behind the error of BLEU."""


class Connectivity(Metric):
    """A metric of what lies between two models.

    At each of some evenly spaced points of a path the statistics of batch normalisation are
    estimated anew, then loss and error are taken on both splits. The ends are scored in the
    same way, and also as they are stored.
    """

    scope: ClassVar[Scope] = "pair"
    needs: ClassVar[Needs] = Needs(splits=SPLITS)
    name: ClassVar[str]
    points: int

    samples: int | None = parameter(
        None,
        ge=2,
        description="Evaluate on this many seeded examples of each split; null for all",
        unit="samples",
    )
    batch_norm: Literal["full", "none"] | Annotated[int, Field(ge=1)] = parameter(
        "full",
        description="Re-estimate batch-norm statistics at each point from the full training "
        "split or from this many minibatches; none interpolates those of the ends",
    )
    batch_size: int = parameter(
        128,
        ge=2,
        description="Size of the minibatches that train the curve and estimate the statistics",
        unit="samples",
    )
    align: Literal["none", "weights"] = parameter(
        "none",
        description="Permute the units of the second model by weight matching first",
    )

    translated: int = parameter(
        0,
        ge=0,
        description="Of texts, translate this many seeded test sentences at each point too, "
        "greedily, and keep their BLEU; 0 for none",
        unit="sentences",
    )

    def refuses(self, task: TaskDescription) -> str | None:
        """Refuse to translate what is no text."""
        if self.translated and task.modality != "text":
            return f"it is to translate {self.translated} sentences, but the task gives none"
        return super().refuses(task)

    def evaluated(
        self,
        context: MeasureContext,
        path: Path,
        details: dict[str, Any],
        arrays: dict[str, Any],
        report: Callable[[int, int], None],
    ) -> list[Measurement]:
        """Score ``path`` and return all measurements."""
        from llt_plugins.paths.evaluation import evaluate

        ts = tuple(index / (self.points - 1) for index in range(self.points))
        values = evaluate(
            path,
            ts,
            {split: partial(self._scores, context, split) for split in SPLITS},
            self._passes(context),
            known={float(index): self._recalibrated(context, index) for index in range(2)},
            report=report,
        )
        if self.translated:
            more, facts = self._translated(context, path, ts)
            arrays, details = arrays | more, details | facts
        return measurements(
            self.name,
            path,
            ts,
            values,
            [self._stored(context, index) for index in range(2)],
            {split: self._terms(context, split) for split in SPLITS},
            {"batch_norm": self.batch_norm, "align": self.align} | details,
            arrays,
        )

    def _translated(
        self, context: MeasureContext, path: Path, ts: tuple[float, ...]
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return BLEU on test sentences at each point and its error, ``(T,)``, and details."""
        import numpy as np

        from llt_plugins.metrics.translations import Texts
        from llt_plugins.paths.evaluation import along
        from llt_plugins.translation.bleu import bleu

        texts = Texts(context, "test", self.translated)
        scores, errors, signature = [], [], None
        for model in along(path, ts, self._passes(context)):
            try:
                words = texts.words(texts.translations(model))
            except FloatingPointError:
                scores.append(math.nan)
                errors.append(math.nan)
                continue
            found = bleu(words, texts.references)
            scores.append(found.score)
            signature = found.signature
            # The same sentences are drawn at every point.
            spread = found.bootstrap(context.sample_generator("bleu along paths"), _REPLICATES)
            errors.append(spread.score or math.nan)
        arrays = {"test_bleu": np.asarray(scores), "test_bleu_se": np.asarray(errors)}
        facts = {"translated": len(texts.references), "bleu_signature": signature}
        return arrays, facts

    def without_path(self, context: MeasureContext) -> list[Measurement] | None:
        """Return the answer for models that nothing leads between; None if a path does.

        Raises
        ------
        ValueError
            If the two are not of one architecture.
        """
        from llt_plugins.paths.vectors import refuse_mismatch

        first, second = context.models
        refuse_mismatch(first, second)
        if not any(p.requires_grad for p in first.parameters()):
            return nothing(self.returns, "undefined", "the models have no trainable parameter")
        if (broken := broken_weights(context)) is not None:
            return nothing(self.returns, "not_finite", broken)
        return None

    def ends(self, context: MeasureContext) -> tuple[nn.Module, nn.Module]:
        """Return both models, the second one aligned if asked.

        Raises
        ------
        RequestError
            The units of the models cannot be followed.
        """
        first, second = context.models
        if self.align == "weights":
            from llt_plugins.paths.alignment import align

            try:
                aligned = align(first, second).model
            except ValueError as error:
                raise RequestError(
                    str(error),
                    expected="a chain of layers or a residual network",
                    next_step="measure with align = none",
                ) from error
            self._refuse_other_function(context, second, aligned)
            second = aligned
        return first, second

    def _refuse_other_function(
        self, context: MeasureContext, model: nn.Module, aligned: nn.Module
    ) -> None:
        """Make sure on one minibatch that alignment changed the parameters only."""
        import copy

        import torch

        score = next(self._scores(context, "test"))
        with torch.no_grad():
            before, after = (score(copy.deepcopy(m).eval())["loss"] for m in (model, aligned))
        tolerance = 1e-3 * (1.0 + before.abs().max())
        if before.isfinite().all() and (before - after).abs().max() > tolerance:
            raise ValueError(
                "the permuted second model computes something else, so its layers were not "
                "followed rightly; measure with align = 'none'"
            )

    def _terms(self, context: MeasureContext, split: str) -> Terms:
        """Say what is scored: always a sample for test, for train where a part of it is."""
        count = len(context.examples(split, self.samples))
        sampled = split == "test" or count < len(context.examples(split))
        return Terms(sampled, context.owners(split, self.samples), context.counted)

    def _stored(self, context: MeasureContext, index: int) -> SplitScores:
        """Return the scores of one model as it is."""
        if self.samples is None:
            return {split: _kinds(context.scores(split, index)) for split in SPLITS}
        return self._end(context, index, "none")

    def _recalibrated(self, context: MeasureContext, index: int) -> SplitScores:
        """Return the scores of one model with its statistics estimated as along the path."""
        from llt_plugins.paths.batchnorm import normalisations

        if self.batch_norm == "none" or not normalisations(context.models[index]):
            return self._stored(context, index)
        return self._end(context, index, self.batch_norm)

    def _end(self, context: MeasureContext, index: int, batch_norm: str | int) -> SplitScores:
        """Score one model, once for all pairs it is part of."""
        import copy

        from llt_plugins.paths.batchnorm import recalibrate
        from llt_plugins.paths.evaluation import score

        def compute() -> SplitScores:
            model = copy.deepcopy(context.models[index]).eval()
            passes = self._passes(context)
            if batch_norm != "none" and passes is not None:
                recalibrate(model, passes())
            return score(model, {split: partial(self._scores, context, split) for split in SPLITS})

        size = None if batch_norm == "none" else self.batch_size
        return context.remember(("path end", batch_norm, size, self.samples), compute, index)

    def _passes(self, context: MeasureContext) -> Callable[[], Iterator[Pass]] | None:
        """Return the minibatches that batch normalisation is estimated from: always the same."""
        if self.batch_norm == "none":
            return None
        most = None if self.batch_norm == "full" else int(self.batch_norm)

        def passes() -> Iterator[Pass]:
            generator = context.sample_generator("batch norm of paths")
            for done, batch in enumerate(self.minibatches(context, generator)):
                if done == most:
                    return
                yield batch.weight, partial(forward, batch=batch)

        return passes

    def minibatches(self, context: MeasureContext, generator: torch.Generator) -> Iterator[Batch]:
        """Yield the training split once in random order, ready for a network in training mode."""
        yield from map(_channels_last, mixed_minibatches(context, None, self.batch_size, generator))

    def _scores(self, context: MeasureContext, split: str) -> Iterator[Score]:
        for batch in context.chunks(split, self.samples):
            yield partial(_score, context, _channels_last(batch))


def _score(context: MeasureContext, batch: Batch, model: nn.Module) -> Mapping[str, Tensor]:
    return _kinds(context.task.evaluate(forward(model, batch), batch))


def _kinds(scores: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return loss in nats and, where the task gives it, error in percent."""
    loss = scores["loss"].detach().cpu().double()
    kinds = {"loss": loss}
    if "correct" in scores:
        error = 100.0 * (1.0 - scores["correct"].detach().cpu().double())
        # Outputs full of NaN still have an argmax: judged alone, their error would look fine.
        kinds["error"] = error.masked_fill(loss.isnan(), math.nan)
    return kinds


def _channels_last(batch: Batch) -> Batch:
    """Return the batch with images channels-last: convolutions run faster so."""
    import torch

    if isinstance(batch.inputs, torch.Tensor) and batch.inputs.ndim == 4:
        inputs = batch.inputs.contiguous(memory_format=torch.channels_last)
        return Batch(inputs, batch.targets, batch.weight, batch.extra)
    return batch
