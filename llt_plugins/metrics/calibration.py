"""How well a model knows how often it is right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from llt_core.interfaces import (
    Figure,
    MeasureContext,
    Measurement,
    Metric,
    Needs,
    Quantity,
    TaskDescription,
    parameter,
)
from llt_plugins.metrics.outputs import (
    SAMPLES,
    broken_outputs,
    compared,
    correct_of,
    error_over,
    mean_over,
    outputs,
)
from llt_plugins.metrics.statuses import nothing

if TYPE_CHECKING:
    from llt_plugins.similarity.calibration import Calibration


class CalibrationError(Metric):
    """Expected calibration error: the mean gap between confidence and accuracy, in percent.

    Predictions are sorted into bins by confidence (the largest softmax output); the value
    is the mean of |accuracy − mean confidence| over bins, weighted by their examples (Guo
    et al. 2017, eq. 3: 15 bins of equal width). `calibration_error_adaptive` uses bins of
    equally many examples (Nguyen and O'Connor 2015), which depends less on where the
    confidences crowd. `calibration_error_overconfidence` is mean confidence minus accuracy:
    signed, unbiased, without bins. `arrays` hold the reliability diagram.

    Pitfalls: the absolute value makes both binned errors biased upward, the more so the
    fewer examples; `details["floor"]` is the value that a perfectly calibrated model with
    the same confidences would show by chance. Between models whose values are near that
    floor nothing can be told. The standard error (delta method over examples) covers
    sampling, not this bias, and is unknown where all examples say the same. On a training
    split that is fitted, confidence and accuracy both approach 100 and the error vanishes
    without meaning much. Of texts the predictions are those of target tokens given the true
    ones before them; errors count sentences, but `floor` takes tokens for independent. Cost:
    one pass over the split.
    """

    summary = "Expected calibration error: mean gap between confidence and accuracy"
    needs = Needs(splits=("test",))
    returns = (
        Quantity(
            name="calibration_error",
            unit="percent",
            description="Expected calibration error over bins of equal width",
            direction="lower",
        ),
        Quantity(
            name="calibration_error_adaptive",
            unit="percent",
            description="Expected calibration error over bins of equally many examples",
            direction="lower",
        ),
        Quantity(
            name="calibration_error_overconfidence",
            unit="percent",
            description="Mean confidence minus accuracy",
        ),
    )

    split: str = parameter("test", description="Split whose examples are predicted")
    samples: int | None = parameter(None, ge=2, description=SAMPLES, unit="samples")
    bins: int = parameter(15, ge=1, description="Number of bins of confidence", unit="bins")

    @classmethod
    def minimal(cls) -> Self:
        """Return an instance with few bins."""
        return cls(bins=3)

    def splits(self) -> tuple[str, ...]:
        """Return the one split that ``split`` names."""
        return (self.split,)

    def cost(self, task: TaskDescription) -> float:
        """Return one pass over a split."""
        return 1.0 if self.split == "train" else 0.2

    def measure(self, context: MeasureContext) -> list[Measurement]:
        """Return the three errors, the binned ones with their reliability diagrams."""
        from llt_plugins.similarity.calibration import calibration
        from llt_plugins.similarity.predictions import confidences

        samples = compared(context, self.split, self.samples)
        if (reason := broken_outputs(context, self.split, samples)) is not None:
            return nothing(self.returns, "not_finite", reason, split=self.split)
        confidence = confidences(outputs(context, self.split, samples=samples))
        correct = correct_of(context, self.split, samples=samples)
        options: dict[str, Any] = {
            "bins": self.bins,
            "owners": context.owners(self.split, samples),
        }
        by_width = calibration(confidence, correct, binning="width", **options)
        by_mass = calibration(confidence, correct, binning="mass", **options)
        gap = 100.0 * (confidence - correct)
        excess: dict[str, Any] = mean_over(context, self.split, gap, samples)
        excess["details"] |= {
            "confidence": 100.0 * float(confidence.mean()),
            "accuracy": 100.0 * float(correct.mean()),
        }
        return [
            self._binned(context, "calibration_error", "width", by_width, samples),
            self._binned(context, "calibration_error_adaptive", "counts", by_mass, samples),
            Measurement(name="calibration_error_overconfidence", unit="percent", **excess),
        ]

    def _binned(
        self,
        context: MeasureContext,
        name: str,
        equal: str,
        found: Calibration,
        samples: int | None,
    ) -> Measurement:
        """Return the error of one way to bin, with its reliability diagram.

        ``equal`` says what the bins have in common.
        """
        filled = found.count > 0
        spread = None if found.spread is None else 100.0 * found.spread
        error = error_over(context, self.split, spread, samples)
        error["details"] |= {"bins": self.bins, "floor": 100.0 * found.floor}
        return Measurement(
            name=name,
            value=100.0 * found.error,
            unit="percent",
            n=int(found.count.sum()),
            counted=context.counted,
            arrays={
                "confidence": 100.0 * found.confidence[filled].numpy(),
                "accuracy": 100.0 * found.accuracy[filled].numpy(),
                "accuracy_error": 100.0 * found.accuracy_error[filled].numpy(),
                "count": found.count[filled].numpy(),
            },
            figures=(
                Figure(
                    kind="line",
                    title=f"Reliability diagram, bins of equal {equal}",
                    x="confidence",
                    y=("accuracy", "confidence"),
                    band=("accuracy_error", None),
                    labels=("accuracy", "perfectly calibrated"),
                    x_label="confidence (percent)",
                    y_label="accuracy (percent)",
                ),
            ),
            **error,
        )
