"""How alike the predictions of two models are."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Self

from llt_core.interfaces import (
    MeasureContext,
    Measurement,
    Metric,
    Needs,
    Quantity,
    Scope,
    TaskDescription,
    parameter,
)
from llt_plugins.metrics.outputs import (
    SAMPLES,
    broken_outputs,
    compared,
    correct_of,
    mean_over,
    outputs,
)
from llt_plugins.metrics.statuses import nothing

if TYPE_CHECKING:
    from torch import Tensor


class _PairOfPredictions(Metric):
    """The mean over a whole split of a term that compares the outputs of two models.

    On the training split the mean is exact. Any other split is a sample of the population:
    the standard error is that of a mean of independent terms, unknown where all are equal. The
    terms of texts are target tokens, each predicted from the true ones before it; the error
    then counts sentences (:func:`llt_plugins.means.standard_error`).
    """

    scope: ClassVar[Scope] = "pair"
    needs: ClassVar[Needs] = Needs(splits=("test",))

    split: str = parameter("test", description="Split whose examples are predicted")
    samples: int | None = parameter(None, ge=2, description=SAMPLES, unit="samples")

    def splits(self) -> tuple[str, ...]:
        """Return the one split that ``split`` names."""
        return (self.split,)

    def cost(self, task: TaskDescription) -> float:
        """Return two passes over a split; predictions are shared between metrics and pairs."""
        return 2.0 if self.split == "train" else 0.4

    @abstractmethod
    def terms(self, context: MeasureContext, first: Tensor, second: Tensor) -> Tensor:
        """Return the terms to average, float64; NaN entries make the mean undefined."""

    def facts(self, context: MeasureContext, first: Tensor, second: Tensor) -> dict[str, Any]:
        """Return more details to store."""
        return {}

    counted: ClassVar[str | None] = None
    """What the terms are, where they are not those of the loss."""

    def measure(self, context: MeasureContext) -> list[Measurement]:
        """Return the mean; every model is run once, however many pairs it is part of."""
        samples = compared(context, self.split, self.samples)
        first, second = (outputs(context, self.split, index, samples) for index in (0, 1))
        if (reason := broken_outputs(context, self.split, samples)) is not None:
            return nothing(self.returns, "not_finite", reason, split=self.split)
        terms = self.terms(context, first, second)
        if terms.isnan().any():
            reason = "the outputs of a model are all zero"
            return nothing(self.returns, "undefined", reason, split=self.split)
        found = mean_over(context, self.split, terms, samples, self.counted)
        found["details"] |= self.facts(context, first, second)
        (quantity,) = self.returns
        return [Measurement(name=quantity.name, unit=quantity.unit, **found)]


class Agreement(_PairOfPredictions):
    """Percent of examples for which two models predict the same class.

    100 means that the two decide alike everywhere, right or wrong. Two models with
    accuracies a and b agree on at least a + b − 1 of all examples, so agreement rises with
    accuracy alone; compare models of similar accuracy, or look at `prediction_churn`, which
    counts only what changes between right and wrong. On the training split of models that
    fit it, agreement is near 100 whatever the models are.

    The models are compared as stored, example by example; ties go to the lower class. The
    standard error on a test split is binomial, `√(p(1−p)/(n−1))`, and unknown at 0 and 100; on
    the training split the value is exact. Cost: one pass over the split per model. Used as a
    measure of global landscape structure by Yang et al. (2021); the rate of *dis*agreement is
    called churn by Milani Fard et al. (2016).
    """

    summary = "Percent of examples for which two models predict the same class"
    returns = (
        Quantity(
            name="agreement",
            unit="percent",
            description="Share of examples that both models give the same class",
            direction="higher",
        ),
    )

    def terms(self, context: MeasureContext, first: Tensor, second: Tensor) -> Tensor:
        """Return 100 where the predicted classes are the same, else 0."""
        from llt_plugins.similarity.predictions import agreement

        return 100.0 * agreement(first, second)


class JsDivergence(_PairOfPredictions):
    """Jensen–Shannon divergence of the softmax outputs of two models, in nats.

    `½ KL(p‖m) + ½ KL(q‖m)` with the mixture `m = ½(p + q)` clamped at 1e-7 (Lin 1991; Yang
    et al. 2021), averaged over the examples of a split. 0: equal outputs; ln 2 = .693: the
    two are certain of different classes everywhere. Unlike agreement it sees confidence, so
    two models that agree on every class still differ when one is more certain; temperature
    scaling changes it. On data the models fit it is close to zero and dominated by few
    examples; the standard error `s/√n` then rests on these few.

    Cost: one pass over the split per model.
    """

    summary = "Jensen-Shannon divergence of the softmax outputs of two models, in nats"
    returns = (
        Quantity(
            name="js_divergence",
            unit="nats",
            description="Mean Jensen–Shannon divergence of the two softmax outputs, 0 to ln 2",
            direction="lower",
        ),
    )

    def terms(self, context: MeasureContext, first: Tensor, second: Tensor) -> Tensor:
        """Return the divergence of each example."""
        from llt_plugins.similarity.predictions import js_divergence

        return js_divergence(first, second)


class LogitCosine(_PairOfPredictions):
    """Cosine of the logits of two models, flattened over a batch, averaged over batches.

    The logits of one batch, `(B, C)`, are read as one vector of each model; the value is
    the mean over consecutive batches of their cosine (Yang et al. 2021), in [−1, 1]. A last
    batch that is not full is left out. Undefined if a model gives only zeros.

    Pitfalls: adding a constant to all logits of an example changes no prediction but does
    change the cosine; examples with large logits count most; and the value depends weakly
    on the batch size. The standard error on a test split is that of a mean over batches
    (`n` counts these), unknown when there is only one. Of texts a batch is 128 target tokens,
    one sentence after the other. Cost: one pass over the split per model.
    """

    summary = "Cosine of the logits of two models, flattened per batch"
    counted = "batches"
    returns = (
        Quantity(
            name="logit_cosine",
            unit="",
            description="Mean over batches of the cosine of the flattened logits, −1 to 1",
            direction="higher",
        ),
    )

    batch_size: int = parameter(
        128, ge=1, description="Examples whose logits make up one vector", unit="samples"
    )

    @classmethod
    def minimal(cls) -> Self:
        """Return an instance with several batches in a tiny split."""
        return cls(batch_size=4)

    def terms(self, context: MeasureContext, first: Tensor, second: Tensor) -> Tensor:
        """Return the cosine of each batch."""
        from llt_plugins.similarity.predictions import logit_cosine

        return logit_cosine(first, second, self.batch_size)

    def facts(self, context: MeasureContext, first: Tensor, second: Tensor) -> dict[str, Any]:
        """Return the batch size that was used: the whole split when that is smaller."""
        return {"batch_size": min(self.batch_size, len(first))}


class PredictionChurn(_PairOfPredictions):
    """Percent of examples that exactly one of two models gets right.

    Milani Fard, Cormier, Canini and Gupta (2016) call churn the share of examples on which
    two models disagree; that is 100 − `agreement`. What a user of either model feels is the
    part that changes between right and wrong, their "wins" plus "losses": that is measured
    here. It is symmetric and never exceeds the disagreement; two models that are wrong in
    different ways disagree without churn. `details` give both accuracies and the churn that
    two models of these accuracies would have if they erred independently: compare with it
    before reading a low churn as similarity, since where both are nearly always right, or
    nearly always wrong, little can change.

    With label noise the training labels are the noisy ones. The standard error on a test
    split is binomial, and unknown at 0 and 100; on the training split the value is exact.
    Cost: one pass over the split per model.
    """

    summary = "Percent of examples that exactly one of two models gets right"
    returns = (
        Quantity(
            name="prediction_churn",
            unit="percent",
            description="Share of examples that one model gets right and the other wrong",
            direction="lower",
        ),
    )

    def terms(self, context: MeasureContext, first: Tensor, second: Tensor) -> Tensor:
        """Return 100 where exactly one is right, else 0."""
        from llt_plugins.similarity.predictions import changed_correctness

        return 100.0 * changed_correctness(*self._correct(context))

    def facts(self, context: MeasureContext, first: Tensor, second: Tensor) -> dict[str, Any]:
        """Return the two accuracies, and the churn they would have by chance."""
        a, b = (float(right.mean()) for right in self._correct(context))
        by_chance = a * (1.0 - b) + b * (1.0 - a)
        return {"accuracies": [100.0 * a, 100.0 * b], "if_independent": 100.0 * by_chance}

    def _correct(self, context: MeasureContext) -> list[Tensor]:
        samples = compared(context, self.split, self.samples)
        return [correct_of(context, self.split, index, samples) for index in (0, 1)]
