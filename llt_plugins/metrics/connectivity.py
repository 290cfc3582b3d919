"""What the metrics of connectivity share: points of a path, their scores, and the summary."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from llt_core.interfaces import (
    Batch,
    Figure,
    MeasureContext,
    Measurement,
    Metric,
    Needs,
    Quantity,
    Scope,
    forward,
    parameter,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from torch import Tensor, nn

    from llt_plugins.paths.batchnorm import Pass
    from llt_plugins.paths.curves import Path
    from llt_plugins.paths.evaluation import Estimate, Score, SplitScores

SPLITS = ("train", "test")
UNITS = {"error": "percent", "loss": "nats"}
SUMMARIES = {
    "": (
        "connectivity",
        "Mean {what} of the ends minus that of the point farthest from it",
        "none",
    ),
    "_barrier": ("barrier", "Largest {what} between the ends, minus their mean", "lower"),
    "_dip": ("dip", "Mean {what} of the ends minus the smallest between them", "none"),
    "_peak": ("peak", "Minus the largest {what} between the ends", "higher"),
}
"""Suffix of a quantity → field of the summary, description, direction."""


def quantities(name: str) -> tuple[Quantity, ...]:
    """Return what the metric of connectivity called ``name`` returns, the main one first."""
    summed = [
        Quantity(
            name=prefix(name, split, kind) + suffix,
            unit=unit,
            description=text.format(what=f"{split} {kind}"),
            direction=direction,
        )
        for split in SPLITS
        for kind, unit in UNITS.items()
        for suffix, (_, text, direction) in SUMMARIES.items()
    ]
    return (
        *summed,
        Quantity(
            name=f"{name}_t",
            unit="",
            description="Where on the path, from 0 to 1, the train error is farthest from its ends",
        ),
        Quantity(
            name=f"{name}_length",
            unit="",
            description="Length of the path in the space of trainable parameters",
        ),
    )


def prefix(name: str, split: str, kind: str) -> str:
    """Return the name of the connectivity in one score; in train error it is the metric's."""
    return name if (split, kind) == ("train", "error") else f"{name}_{split}_{kind}"


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

    def ts(self) -> tuple[float, ...]:
        """Return the points of the path, evenly spaced from 0 to 1."""
        return tuple(index / (self.points - 1) for index in range(self.points))

    def evaluated(
        self,
        context: MeasureContext,
        path: Path,
        ts: tuple[float, ...],
        details: dict[str, Any],
        arrays: dict[str, Any],
        report: Callable[[int, int], None],
    ) -> list[Measurement]:
        """Score ``path`` at ``ts`` and return all measurements."""
        import numpy as np

        from llt_plugins.paths.evaluation import evaluate, standard_errors, summarise

        stored = [self._stored(context, index) for index in range(2)]
        known = {float(index): self._recalibrated(context, index) for index in range(2)}
        values = evaluate(
            path,
            ts,
            {split: partial(self._scores, context, split) for split in SPLITS},
            self._passes(context),
            known=known,
            report=report,
        )
        summaries = {}
        arrays = {"t": np.asarray(ts)} | arrays
        for split in SPLITS:
            for kind, scores in values[split].items():
                sampled = self._sampled(context, split)
                summaries[split, kind] = summarise(ts, scores, sampled=sampled)
                arrays[f"{split}_{kind}"] = scores.mean(dim=1).numpy()
                arrays[f"{split}_{kind}_stored"] = np.asarray(
                    [float(end[split][kind].mean()) for end in stored]
                )
                if sampled:
                    arrays[f"{split}_{kind}_error"] = standard_errors(scores)
        details |= {
            "points": len(ts),
            "batch_norm": self.batch_norm,
            "align": self.align,
            "length_over_distance": _finite(path.length() / max(path.distance(), 1e-300)),
            "ends": _ends(arrays),
        }
        results = []
        for split in SPLITS:
            for kind in UNITS:
                summary = summaries.get((split, kind))
                results += [
                    self._measurement(
                        context,
                        split,
                        kind,
                        suffix,
                        None if summary is None else getattr(summary, attribute),
                        details | ({} if summary is None else {"t": _finite(summary.t)}),
                    )
                    for suffix, (attribute, _, _) in SUMMARIES.items()
                ]
        star = summaries[
            ("train", "error") if ("train", "error") in summaries else ("train", "loss")
        ]
        results += [
            self.plain(f"{self.name}_t", star.t, len(ts), "points"),
            self.plain(f"{self.name}_length", path.length(), path.bends, "bends"),
        ]
        first = results[0].model_copy(update={"arrays": arrays, "figures": _figures(arrays)})
        return [first, *results[1:]]

    def nothing(self, status: Literal["undefined", "not_finite"], reason: str) -> list[Measurement]:
        """Return every quantity without a value."""
        return [
            Measurement(
                name=q.name, value=None, unit=q.unit, status=status, details={"reason": reason}
            )
            for q in self.returns
        ]

    def ends(self, context: MeasureContext) -> tuple[nn.Module, nn.Module] | None:
        """Return both models, the second one aligned if asked; None if nothing is trainable."""
        first, second = context.models
        if not any(p.requires_grad for p in first.parameters()):
            return None
        if self.align == "weights":
            from llt_plugins.paths.alignment import align

            aligned = align(first, second).model
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

    def plain(self, name: str, value: float, n: int, counted: str) -> Measurement:
        """Return a measurement that carries no statistical error."""
        finite = math.isfinite(value)
        return Measurement(
            name=name, value=value, standard_error=0.0 if finite else None, n=n, counted=counted
        )

    def _measurement(
        self,
        context: MeasureContext,
        split: str,
        kind: str,
        suffix: str,
        estimate: Estimate | None,
        details: dict[str, Any],
    ) -> Measurement:
        name, unit = prefix(self.name, split, kind) + suffix, UNITS[kind]
        if estimate is None:
            return Measurement(
                name=name,
                value=None,
                unit=unit,
                status="undefined",
                details={"reason": f"the task gives no {kind}"},
            )
        sampled = self._sampled(context, split)
        return Measurement(
            name=name,
            value=estimate.value,
            standard_error=estimate.error,
            unit=unit,
            n=len(context.examples(split, self.samples)),
            details={
                "split": split,
                "error_kind": "sampling of the split (paired)"
                if sampled
                else "exact over the split",
            }
            | details,
        )

    def _sampled(self, context: MeasureContext, split: str) -> bool:
        """Say whether the examples are a sample: always for test, for train where a part is."""
        count = len(context.examples(split, self.samples))
        return split == "test" or count < len(context.examples(split))

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
        """Yield the training split once in random order, ready for a network in training mode.

        A last minibatch of one example has no variance and is left out.
        """
        examples = context.examples("train")
        for index in examples.slices(self.batch_size, generator=generator):
            if len(index) > 1:
                yield _ready(examples.batch(index), context)

    def _scores(self, context: MeasureContext, split: str) -> Iterator[Score]:
        examples = context.examples(split, self.samples)
        for index in examples.slices(512):
            yield partial(_score, context, _ready(examples.batch(index), context))


def _score(context: MeasureContext, batch: Batch, model: nn.Module) -> Mapping[str, Tensor]:
    return _kinds(context.task.evaluate(forward(model, batch), batch))


def _kinds(scores: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return loss in nats and, where the task gives it, error in percent."""
    loss = scores["loss"].double()
    kinds = {"loss": loss}
    if "correct" in scores:
        error = 100.0 * (1.0 - scores["correct"].double())
        # Outputs full of NaN still have an argmax: judged alone, their error would look fine.
        kinds["error"] = error.masked_fill(loss.isnan(), math.nan)
    return kinds


def _ready(batch: Batch, context: MeasureContext) -> Batch:
    """Return the batch on the device, images channels-last: convolutions run faster so."""
    import torch

    batch = batch.to(context.device, context.dtype)
    if isinstance(batch.inputs, torch.Tensor) and batch.inputs.ndim == 4:
        inputs = batch.inputs.contiguous(memory_format=torch.channels_last)
        return Batch(inputs, batch.targets, batch.weight, batch.extra)
    return batch


def _ends(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Return the scores of both ends, as stored and as re-estimated along the path."""
    return {
        f"{split}_{kind}": {
            "stored": [_finite(value) for value in arrays[f"{split}_{kind}_stored"]],
            "recalibrated": [_finite(value) for value in arrays[f"{split}_{kind}"][[0, -1]]],
        }
        for split in SPLITS
        for kind in UNITS
        if f"{split}_{kind}" in arrays
    }


def _figures(arrays: Mapping[str, Any]) -> tuple[Figure, ...]:
    """Return one figure of error, one of loss along the path, and one of curve training."""
    figures = []
    for kind, unit in UNITS.items():
        drawn = [split for split in SPLITS if f"{split}_{kind}" in arrays]
        bands = [f"{split}_{kind}_error" for split in drawn]
        if drawn:
            figures.append(
                Figure(
                    kind="line",
                    title=f"{kind.capitalize()} along the path",
                    x="t",
                    y=tuple(f"{split}_{kind}" for split in drawn),
                    band=tuple(band if band in arrays else None for band in bands),
                    labels=tuple(drawn),
                    x_label="position t on the path",
                    y_label=f"{kind} ({unit})",
                )
            )
    if "training_loss" in arrays:
        figures.append(
            Figure(
                kind="line",
                title="Curve training",
                x="epoch",
                y=("training_loss",),
                x_label="epoch",
                y_label="mean loss at random t (nats)",
            )
        )
    return tuple(figures)


def _finite(value: float) -> float | None:
    """Return a number that JSON can hold."""
    return float(value) if math.isfinite(value) else None
