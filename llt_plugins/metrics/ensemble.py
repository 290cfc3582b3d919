"""What K models know together that each alone does not."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

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
    judge,
    mean_over,
    outputs,
)
from llt_plugins.metrics.statuses import nothing

if TYPE_CHECKING:
    from torch import Tensor


class _Ensemble(Metric):
    """A mean over a split of a term of K models and of the mean of their softmax outputs."""

    scope: ClassVar[Scope] = "set"
    needs: ClassVar[Needs] = Needs(splits=("test",))
    gain: ClassVar[bool]

    split: str = parameter("test", description="Split whose examples are predicted")
    samples: int | None = parameter(None, ge=2, description=SAMPLES, unit="samples")

    def splits(self) -> tuple[str, ...]:
        """Return the one split that ``split`` names."""
        return (self.split,)

    def cost(self, task: TaskDescription) -> float:
        """Return passes of five models over a split; they are shared between metrics."""
        return 5.0 if self.split == "train" else 1.0

    def measure(self, context: MeasureContext) -> list[Measurement]:
        """Return the mean over the split, with the accuracy of every member in details."""
        samples, count = compared(context, self.split, self.samples), len(context.models)
        logits = [outputs(context, self.split, index, samples) for index in range(count)]
        if (reason := broken_outputs(context, self.split, samples)) is not None:
            return nothing(self.returns, "not_finite", reason, split=self.split)
        together, alone = self._correct(context, logits, samples)
        terms = together - alone.mean(0) if self.gain else together
        found = mean_over(context, self.split, 100.0 * terms, samples)
        found["details"] |= {
            "models": len(logits),
            "accuracies": (100.0 * alone.mean(1)).tolist(),
        }
        (quantity,) = self.returns
        return [Measurement(name=quantity.name, unit=quantity.unit, **found)]

    def _correct(
        self, context: MeasureContext, logits: list[Tensor], samples: int | None
    ) -> tuple[Tensor, Tensor]:
        """Return 0/1 correctness of the ensemble, ``(T,)``, and of its members, ``(K, T)``."""
        import torch

        from llt_plugins.similarity.predictions import mean_probabilities

        # The logarithm of the mean has its softmax, so the task can score it like any logits.
        together = judge(context, self.split, mean_probabilities(logits).log(), samples)
        alone = [correct_of(context, self.split, index, samples) for index in range(len(logits))]
        return together, torch.stack(alone)


class EnsembleAccuracy(_Ensemble):
    """Accuracy of the mean of the K softmax outputs, in percent.

    The deep ensemble of the models of one cell (Lakshminarayanan et al. 2017; Yang et al.
    2021). It needs no weights in common, so it says what the models know together, not
    whether they lie in one basin. It grows with K, so compare only equal K. The standard
    error on a test split is binomial and says how far the *test examples* could move the
    value, not other models; on the training split the value is exact. Of texts it is the share
    of target tokens that are right given the true ones before them, and the error counts
    sentences. Cost: one pass over the split per model, shared with the other metrics of
    predictions.
    """

    summary = "Accuracy of the mean of the softmax outputs of all models of a cell"
    gain = False
    returns = (
        Quantity(
            name="ensemble_accuracy",
            unit="percent",
            description="Share of the split that the mean of the softmax outputs gets right",
            direction="higher",
        ),
    )


class EnsembleGain(_Ensemble):
    """Accuracy of the ensemble minus the mean accuracy of its members, in percentage points.

    Positive where models err differently enough for the mean of their softmax outputs to
    correct single mistakes; near zero where they all compute the same function, and where
    they are always right. It may be negative: a confident wrong member can outvote right
    ones. The standard error is paired: that of the mean over test examples of (ensemble
    right) − (share of members right), far smaller than that of either accuracy. Low
    accuracy leaves more room for gain, so read it beside `test_accuracy`. Cost: as
    `ensemble_accuracy` (Lakshminarayanan et al. 2017).
    """

    summary = "Accuracy of the ensemble minus the mean accuracy of its members"
    gain = True
    returns = (
        Quantity(
            name="ensemble_gain",
            unit="percent",
            description="Accuracy of the ensemble minus the mean accuracy of its members",
            direction="higher",
        ),
    )
