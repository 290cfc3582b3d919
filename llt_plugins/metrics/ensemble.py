"""What K models know together that each alone does not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

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
from llt_plugins.metrics.outputs import all_finite, correct_of, judge, outputs

if TYPE_CHECKING:
    from torch import Tensor


class _Ensemble(Metric):
    """A mean over a split of a term of K models and of the mean of their softmax outputs."""

    scope: ClassVar[Scope] = "set"
    needs: ClassVar[Needs] = Needs(splits=("test",), modalities=frozenset({"image"}))
    gain: ClassVar[bool]

    split: str = parameter("test", description="Split whose examples are predicted")

    def splits(self) -> tuple[str, ...]:
        """Return the one split that ``split`` names."""
        return (self.split,)

    def cost(self, task: TaskDescription) -> float:
        """Return passes of five models over a split; they are shared between metrics."""
        return 5.0 if self.split == "train" else 1.0

    def measure(self, context: MeasureContext) -> list[Measurement]:
        """Return the mean over the split, with the accuracy of every member in details."""
        from llt_plugins.similarity.predictions import mean_and_error

        logits = [outputs(context, self.split, index) for index in range(len(context.models))]
        quantity = self.returns[0]
        exact = self.split == "train"
        details: dict[str, Any] = {
            "split": self.split,
            "models": len(logits),
            "error_kind": "exact over the split" if exact else "sampling of the split",
        }
        shared: dict[str, Any] = {"name": quantity.name, "unit": quantity.unit}
        if not all_finite(*logits):
            return [Measurement(value=None, status="not_finite", details=details, **shared)]
        together, alone = self._correct(context, logits)
        terms = together - alone.mean(0) if self.gain else together
        value, error = mean_and_error(100.0 * terms)
        details["accuracies"] = (100.0 * alone.mean(1)).tolist()
        return [
            Measurement(
                value=value,
                standard_error=0.0 if exact else error,
                n=len(terms),
                details=details,
                **shared,
            )
        ]

    def _correct(self, context: MeasureContext, logits: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Return 0/1 correctness of the ensemble, ``(N,)``, and of its members, ``(K, N)``."""
        import torch

        from llt_plugins.similarity.predictions import mean_probabilities

        # The logarithm of the mean has its softmax, so the task can score it like any logits.
        together = judge(context, self.split, mean_probabilities(logits).log())
        alone = [correct_of(context, self.split, index) for index in range(len(logits))]
        return together, torch.stack(alone)


class EnsembleAccuracy(_Ensemble):
    """Accuracy of the mean of the K softmax outputs, in percent.

    The deep ensemble of the models of one cell (Lakshminarayanan et al. 2017; Yang et al.
    2021). It needs no weights in common, so it says what the models know together, not
    whether they lie in one basin. It grows with K, so compare only equal K. The standard
    error on a test split is binomial and says how far the *test examples* could move the
    value, not other models; on the training split the value is exact. Cost: one pass over
    the split per model, shared with the other metrics of predictions.
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
