"""How far apart the weights of two models are."""

from __future__ import annotations

import math
from typing import Any

from llt_core.interfaces import (
    Figure,
    MeasureContext,
    Measurement,
    Metric,
    Quantity,
    TaskDescription,
)
from llt_plugins.metrics.statuses import broken_weights, nothing


class L2Distance(Metric):
    """Euclidean distance of the trainable parameters of two models: `‖θ − θ'‖₂`.

    The distance of Yang et al. (2021) is not normalised; it grows with the number of
    parameters and with their size, so compare it within one architecture and width, or read
    `l2_distance_normalised`, `2‖θ − θ'‖ / (‖θ‖ + ‖θ'‖)`, which lies in [0, 2] and is about
    √2 for independent vectors of equal length. Batch-norm weights and biases count; running
    statistics and frozen parameters do not; tied parameters count once. `arrays` give both
    numbers for each module that owns parameters.

    It is exact, and costs no forward pass. When it misleads: networks that compute the same
    function can be far apart (neurons permuted; weights before batch norm scaled), so a
    large distance says little, while a small one does mean a similar function. Weight decay
    and learning rate set the scale of weights before batch norm, and with it this value.
    """

    summary = "Euclidean distance of the weights of two models, absolute and normalised"
    scope = "pair"
    returns = (
        Quantity(
            name="l2_distance",
            unit="",
            description="Euclidean distance of the trainable parameters",
        ),
        Quantity(
            name="l2_distance_normalised",
            unit="",
            description="Distance divided by the mean of the two norms, 0 to 2",
        ),
    )

    def cost(self, task: TaskDescription) -> float:
        """Return zero: no example is read."""
        return 0.0

    def measure(self, context: MeasureContext) -> list[Measurement]:
        """Return both numbers, and both by layer."""
        from llt_plugins.similarity.weights import l2_distance

        distance = l2_distance(*context.models)
        if not distance.layers:
            return nothing(self.returns, "undefined", "the models have no trainable parameter")
        if not math.isfinite(sum(distance.norms)):
            reason = broken_weights(context) or "the norm of the weights is beyond float64"
            return nothing(self.returns, "not_finite", reason)
        parameters = sum(p.numel() for p in context.models[0].parameters() if p.requires_grad)
        details: dict[str, Any] = {
            "norms": list(distance.norms),
            "parameters": parameters,
            "layers": list(distance.layers),
            "error_kind": "exact",
        }
        both_zero = sum(distance.norms) == 0.0
        note = {"reason": "all weights of both models are zero"} if both_zero else {}
        return [
            Measurement(
                name="l2_distance",
                value=distance.total,
                standard_error=0.0,
                n=parameters,
                counted="parameters",
                details=details,
                arrays={"by_layer": distance.by_layer.numpy()},
                figures=(_bars("by_layer", distance.layers, "Distance of weights"),),
            ),
            Measurement(
                name="l2_distance_normalised",
                value=None if both_zero else distance.normalised,
                standard_error=None if both_zero else 0.0,
                status="undefined" if both_zero else "ok",
                n=parameters,
                counted="parameters",
                details=details | note,
                arrays={"by_layer": distance.by_layer_normalised.numpy()},
                figures=(_bars("by_layer", distance.layers, "Normalised distance of weights"),),
            ),
        ]


def _bars(array: str, layers: tuple[str, ...], title: str) -> Figure:
    return Figure(
        kind="bars", title=title, y=(array,), labels=layers, x_label="layer", y_label="distance"
    )
