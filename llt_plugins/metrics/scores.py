"""Loss and accuracy over a whole split."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal

from llt_core.interfaces import MeasureContext, Measurement, Metric, Needs, Quantity
from llt_plugins.metrics.outputs import mean_over
from llt_plugins.metrics.statuses import nothing


class _Score(Metric):
    """Mean of a per-term score over a whole split, in eval mode.

    On the training split the estimand is the mean over that very split (a perturbed one as
    it was perturbed), so the value is exact. The test split is a sample of the population,
    so the standard error there is that of a mean of n independent terms: ``s/√n`` with
    n − 1 in s², unknown where all terms are equal. Of texts the terms are target tokens, each
    given the true ones before it, and the error counts sentences: see
    :func:`llt_plugins.means.standard_error`.

    Subclasses say which split and which score of ``Task.evaluate``.
    """

    split: ClassVar[Literal["train", "test"]]
    score: ClassVar[Literal["loss", "correct"]]

    def measure(self, context: MeasureContext) -> list[Measurement]:
        """Return the mean score; the pass over the split is shared with other metrics."""
        scores = context.scores(self.split)
        quantity = self.returns[0]
        terms = scores[self.score] * (100.0 if quantity.unit == "percent" else 1.0)
        # NaN outputs still have an argmax: judged alone, accuracy would look fine.
        if scores["loss"].isnan().any() or not math.isfinite(terms.mean()):
            reason = f"the loss is not finite on all of {self.split!r}"
            return nothing(self.returns, "not_finite", reason, split=self.split)
        found = mean_over(context, self.split, terms)
        return [Measurement(name=quantity.name, unit=quantity.unit, **found)]


def _loss(name: str, split: str) -> dict[str, Any]:
    """Describe a mean loss."""
    description = f"Mean loss over the {split} split"
    return {"name": name, "unit": "nats", "description": description, "direction": "lower"}


def _accuracy(name: str, split: str) -> dict[str, Any]:
    """Describe an accuracy."""
    description = f"Share of the {split} split that is classified correctly"
    return {"name": name, "unit": "percent", "description": description, "direction": "higher"}


class TrainLoss(_Score):
    """Mean loss over the training split, against the labels the model was trained on."""

    summary = "Mean loss over the training split, in nats"
    split = "train"
    score = "loss"
    needs = Needs(splits=("train",))
    returns = (Quantity(**_loss("train_loss", "training")),)


class TrainAccuracy(_Score):
    """Percent correct on the training split, against the labels the model was trained on."""

    summary = "Percent of the training split that is classified correctly"
    split = "train"
    score = "correct"
    needs = Needs(splits=("train",))
    returns = (Quantity(**_accuracy("train_accuracy", "training")),)


class TestLoss(_Score):
    """Mean loss over the test split.

    Of texts it is the mean over target tokens, each predicted from the true ones before it;
    the standard error is robust to the likeness of the tokens of one sentence.
    """

    __test__ = False  # not a pytest class

    summary = "Mean loss over the test split, in nats"
    split = "test"
    score = "loss"
    needs = Needs(splits=("test",))
    returns = (Quantity(**_loss("test_loss", "test")),)


class TestAccuracy(_Score):
    """Percent correct on the test split.

    Of texts it is the share of target tokens that are predicted from the true ones before
    them, with a standard error that is robust to the likeness of the tokens of one sentence;
    `bleu` judges whole translations.
    """

    __test__ = False  # not a pytest class

    summary = "Percent of the test split that is classified correctly"
    split = "test"
    score = "correct"
    needs = Needs(splits=("test",))
    returns = (Quantity(**_accuracy("test_accuracy", "test")),)
