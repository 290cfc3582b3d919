"""What the metrics of connectivity return: quantities, their errors, arrays and figures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from llt_core.interfaces import Figure, Measurement, Quantity

if TYPE_CHECKING:
    from torch import Tensor

    from llt_plugins.paths.curves import Path
    from llt_plugins.paths.evaluation import Estimate, SplitScores, Summary

SPLITS = ("train", "test")
UNITS = {"error": "percent", "loss": "nats"}
_Direction = Literal["lower", "higher", "none"]
_SUMMARIES: dict[str, tuple[str, str, _Direction]] = {
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


@dataclass(frozen=True)
class Terms:
    """What the scores of a split are scores of.

    Attributes
    ----------
    sampled
        Whether its examples are a sample of what the numbers are about.
    owners
        The example of each term, ``(N,)``; None where each is one.
    counted
        What the terms are called.
    """

    sampled: bool
    owners: Tensor | None = None
    counted: str = "samples"


def quantities(name: str) -> tuple[Quantity, ...]:
    """Return what the metric of connectivity called ``name`` returns, the main one first."""
    summed = [
        Quantity(
            name=_prefix(name, split, kind) + suffix,
            unit=unit,
            description=text.format(what=f"{split} {kind}"),
            direction=direction,
        )
        for split in SPLITS
        for kind, unit in UNITS.items()
        for suffix, (_, text, direction) in _SUMMARIES.items()
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


def measurements(
    name: str,
    path: Path,
    ts: Sequence[float],
    values: Mapping[str, Mapping[str, Tensor]],
    stored: Sequence[SplitScores],
    terms: Mapping[str, Terms],
    details: dict[str, Any],
    arrays: dict[str, Any],
) -> list[Measurement]:
    """Return all quantities; the first one carries ``details``, the arrays and the figures.

    Parameters
    ----------
    name
        Name of the metric.
    values
        Split → kind → float64, shape ``(len(ts), N)``; a kind the task does not give is missing.
    stored
        Scores of the two ends as they are stored.
    terms
        Split → what its scores are scores of.
    """
    from llt_plugins.paths.evaluation import summarise

    results: list[Measurement] = []
    summaries: dict[tuple[str, str], Summary] = {}
    for split in SPLITS:
        for kind in UNITS:
            if kind in values[split]:
                rows = values[split][kind]
                of = terms[split]
                summary = summarise(ts, rows, sampled=of.sampled, owners=of.owners)
                summaries[split, kind] = summary
                results += _summed(name, split, kind, ts, rows, summary, of)
            else:
                results += _undefined(name, split, kind)
    star = summaries.get(("train", "error")) or summaries["train", "loss"]
    results += [
        _plain(f"{name}_t", star.t, len(ts), "points"),
        _plain(f"{name}_length", path.length(), path.bends, "bends"),
    ]
    arrays = _arrays(ts, values, stored, terms) | arrays
    own = {"points": len(ts), "distance": _finite(path.distance()), "ends": _ends(arrays)}
    first = results[0].model_copy(
        update={
            "details": results[0].details | details | own,
            "arrays": arrays,
            "figures": _figures(arrays),
        }
    )
    return [first, *results[1:]]


def _prefix(name: str, split: str, kind: str) -> str:
    """Return the name of the connectivity in one score; in train error it is the metric's."""
    return name if (split, kind) == ("train", "error") else f"{name}_{split}_{kind}"


def _summed(
    name: str,
    split: str,
    kind: str,
    ts: Sequence[float],
    rows: Tensor,
    summary: Summary,
    terms: Terms,
) -> list[Measurement]:
    shared: dict[str, Any] = {"split": split}
    broken = [
        t for t, mean in zip(ts, rows.mean(dim=1).tolist(), strict=True) if _finite(mean) is None
    ]
    if broken:
        places = ", ".join(f"{t:.3g}" for t in broken)
        shared["reason"] = f"the {split} {kind} is not finite at t = {places}"
    results = []
    for suffix, (attribute, _, _) in _SUMMARIES.items():
        estimate: Estimate = getattr(summary, attribute)
        details = shared | {"error_kind": _error_kind(estimate.error, terms)}
        results.append(
            Measurement(
                name=_prefix(name, split, kind) + suffix,
                value=estimate.value,
                standard_error=estimate.error,
                unit=UNITS[kind],
                n=rows.shape[1],
                counted=terms.counted,
                details=details | ({} if suffix else {"t": _finite(summary.t)}),
            )
        )
    return results


def _error_kind(error: float | None, terms: Terms) -> str:
    if not terms.sampled:
        return "exact over the split"
    how = "paired" if terms.owners is None else "paired, by example"
    return f"sampling of the split ({how})" if error is not None else "unknown"


def _undefined(name: str, split: str, kind: str) -> list[Measurement]:
    return [
        Measurement(
            name=_prefix(name, split, kind) + suffix,
            value=None,
            unit=UNITS[kind],
            status="undefined",
            details={"reason": f"the task gives no {kind}"},
        )
        for suffix in _SUMMARIES
    ]


def _plain(name: str, value: float, n: int, counted: str) -> Measurement:
    """Return a measurement without statistical error."""
    error = 0.0 if math.isfinite(value) else None
    return Measurement(name=name, value=value, standard_error=error, n=n, counted=counted)


def _arrays(
    ts: Sequence[float],
    values: Mapping[str, Mapping[str, Tensor]],
    stored: Sequence[SplitScores],
    terms: Mapping[str, Terms],
) -> dict[str, Any]:
    """Return the mean scores along the path, their standard errors, and the stored ends."""
    import numpy as np

    from llt_plugins.paths.evaluation import standard_errors

    arrays: dict[str, Any] = {"t": np.asarray(ts)}
    for split in SPLITS:
        for kind, rows in values[split].items():
            ends = [float(end[split][kind].mean()) for end in stored]
            arrays[f"{split}_{kind}"] = rows.mean(dim=1).numpy()
            arrays[f"{split}_{kind}_stored"] = np.asarray(ends)
            if terms[split].sampled:
                arrays[f"{split}_{kind}_se"] = standard_errors(rows, terms[split].owners)
    return arrays


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
        bands = [f"{split}_{kind}_se" for split in drawn]
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
    if "test_bleu" in arrays:
        figures.append(
            Figure(
                kind="line",
                title="BLEU along the path",
                x="t",
                y=("test_bleu",),
                band=("test_bleu_se",),
                labels=("test",),
                x_label="position t on the path",
                y_label="BLEU (percent)",
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
