"""How phases, axes and metrics are shown: colours, directions, titles, transforms.

Pictures and the page share these facts. Importing this imports no drawing library.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from llt_core.analysis import Axis
from llt_core.analysis.table import AxisKind, Floats

PHASE_COLOURS = {
    "I": "#D55E00",
    "II": "#E69F00",
    "III": "#CC79A7",
    "IV-A": "#56B4E9",
    "IV-B": "#0072B2",
}
"""Told apart by colour-blind readers (Okabe & Ito 2008): warm where the loss is sharp, blue
where models are well connected."""
PHASE_INK = {"I": "white", "II": "black", "III": "black", "IV-A": "black", "IV-B": "white"}
"""Letters that can be read on these colours."""
PHASE_MARKERS = {"I": "v", "II": "^", "III": "s", "IV-A": "D", "IV-B": "o"}
"""Shapes of points, so that colour is never the only sign."""
UNDETERMINED_COLOUR = "#BBBBBB"
MISSING_COLOUR = "#EEEEEE"
SEQUENTIAL, DIVERGING = "viridis", "RdBu"
"""Names of colour maps that are even in lightness and told apart by colour-blind readers; the
second one is red below zero."""
PHASE_MEANING = {
    "I": "sharp, poorly connected",
    "II": "sharp, connected",
    "III": "flat, poorly connected",
    "IV-A": "flat, well connected, less similar",
    "IV-B": "flat, well connected, similar",
}

End = Literal["low", "high"]


@dataclass(frozen=True)
class AxisFacts:
    """How one varied field is shown.

    Attributes
    ----------
    kind
        Load, temperature, or neither.
    more
        The end at which load or temperature is larger; None where nobody said.
    """

    title: str
    kind: AxisKind = ""
    more: End | None = None


_AXES = {
    "width": AxisFacts("width", "load", "low"),
    "embedding_dim": AxisFacts("embedding dimension", "load", "low"),
    "growth": AxisFacts("growth rate", "load", "low"),
    "depth": AxisFacts("depth", "load", "low"),
    "data_subset.fraction": AxisFacts("fraction of the training data", "load", "high"),
    "data_tenths": AxisFacts("tenths of the training data", "load", "high"),
    "label_noise.fraction": AxisFacts("fraction of random labels", "load", "high"),
    "pixel_noise.magnitude": AxisFacts("magnitude of pixel noise", "load", "high"),
    "batch_size": AxisFacts("batch size", "temperature", "low"),
    "learning_rate": AxisFacts("learning rate", "temperature", "high"),
    "weight_decay": AxisFacts("weight decay", "temperature", "high"),
}


def axis_facts(axis: Axis) -> AxisFacts:
    """Return how an axis is shown: by its last two names, by the last one, else by its name.

    What the axis itself says of load and temperature counts more than what is known here.

    >>> axis_facts(Axis("train.batch_size", (16, 32)))
    AxisFacts(title='batch size', kind='temperature', more='low')
    """
    parts = axis.name.split(".")
    found = _AXES.get(".".join(parts[-2:])) or _AXES.get(parts[-1])
    if found is None:
        return AxisFacts(" ".join(parts[-2:]).replace("_", " "), axis.kind)
    if axis.kind and axis.kind != found.kind:
        return AxisFacts(found.title, axis.kind)
    return found


Transform = Literal["identity", "log"]


@dataclass(frozen=True)
class MetricFacts:
    """How one quantity is shown.

    Attributes
    ----------
    transform
        ``log``: the natural logarithm of the mean over models is shown.
    diverging
        Whether zero is a middle that means something; None: as the values say.
    better
        The end that is better for generalisation by common reading.
    """

    title: str
    transform: Transform = "identity"
    diverging: bool | None = None
    better: End | None = None

    def shown(self, values: Floats) -> Floats:
        """Return what is drawn of means over models; NaN where a logarithm does not exist."""
        if self.transform == "identity":
            return values
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(values > 0, np.log(values), np.nan)

    def errors(self, values: Floats, errors: Floats) -> Floats:
        """Return the standard errors of what is drawn, to first order."""
        if self.transform == "identity":
            return errors
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(values > 0, errors / values, np.nan)

    def label(self, unit: str) -> str:
        """Return title and unit, as on an axis or a colour bar.

        >>> metric_facts("hessian_trace").label("nats")
        'ln Hessian trace (of nats)'
        """
        if self.transform == "log":
            return f"ln {self.title}" + (f" (of {unit})" if unit else "")
        return f"{self.title} ({unit})" if unit else self.title

    def two_sided(self, values: Floats) -> bool:
        """Whether the colours of these values run two ways from zero."""
        if self.diverging is not None:
            return self.diverging
        return bool(np.any(values < 0) and np.any(values > 0))


_METRICS = {
    "train_loss": MetricFacts("training loss", diverging=False, better="low"),
    "test_loss": MetricFacts("test loss", diverging=False, better="low"),
    "train_accuracy": MetricFacts("training accuracy", diverging=False),
    "test_accuracy": MetricFacts("test accuracy", diverging=False, better="high"),
    "ensemble_accuracy": MetricFacts("ensemble accuracy", diverging=False, better="high"),
    "hessian_trace": MetricFacts("Hessian trace", "log", False, "low"),
    "hessian_top_eigenvalue": MetricFacts("top Hessian eigenvalue", "log", False, "low"),
    "mode_connectivity": MetricFacts("mode connectivity", diverging=True),
    "mode_connectivity_test_error": MetricFacts("mode connectivity in test error", diverging=True),
    "mode_connectivity_peak": MetricFacts("peak of mode connectivity"),
    "linear_connectivity": MetricFacts("linear connectivity", diverging=True),
    "cka": MetricFacts("CKA", diverging=False, better="high"),
    "l2_distance": MetricFacts("L2 distance", diverging=False),
    "bleu": MetricFacts("BLEU", diverging=False, better="high"),
}


def metric_facts(name: str) -> MetricFacts:
    """Return how a quantity is shown; what nobody described is shown as its values say.

    >>> metric_facts("weight_norm").title
    'weight norm'
    """
    return _METRICS.get(name) or MetricFacts(name.replace("_", " "))
