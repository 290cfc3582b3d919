"""What is in each file of the published results: readings, one a model or pair."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np

from llt_core.analysis.table import Floats
from llt_core.analysis.untrusted import DamagedError, read_arrays, read_pickle

Status = Literal["ok", "not_finite", "missing"]
Models = tuple[int, ...]

PERCENT, NATS = "percent", "nats"
_CURVE = "mode_connectivity"
_SCORES = {
    (split, kind): _CURVE if (split, kind) == ("train", "error") else f"{_CURVE}_{split}_{kind}"
    for split in ("train", "test")
    for kind in ("error", "loss")
}
# The loss that a curve was trained with holds a penalty; the negative log-likelihood does not.
_ARRAYS = {
    ("train", "error"): "tr_err",
    ("train", "loss"): "tr_nll",
    ("test", "error"): "te_err",
    ("test", "loss"): "te_nll",
}
_SUMS: dict[str, Callable[[Floats, float], float]] = {
    "": lambda values, ends: ends - values[np.argmax(np.abs(values - ends))],
    "_barrier": lambda values, ends: values[1:-1].max() - ends,
    "_dip": lambda values, ends: ends - values[1:-1].min(),
    "_peak": lambda values, ends: -values[1:-1].max(),
}
"""Connectivity, and the other sums of a curve (paper: Yang et al. 2021, section 2)."""
MOST_POINTS, MOST_MODELS = 1001, 32
"""Of a curve, and of a cell: the published code has 5 to 61, and 5."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One number of a file, or why there is none.

    Attributes
    ----------
    name, metric, unit
        As llt's own results call them.
    models
        The models it is of, by number.
    n
        How many stored numbers it is the mean of.
    reason
        Why there is no value.
    """

    name: str
    metric: str
    unit: str
    models: Models
    value: float | None
    status: Status = "ok"
    n: int = 1
    reason: str = ""


@dataclass(frozen=True)
class Quantity:
    """What a file gives: its name, the metric, the unit, and how many models a reading is of."""

    name: str
    metric: str
    unit: str
    models: int = 1

    def reading(self, models: Models, numbers: Callable[[], Sequence[float]]) -> Reading:
        """Return the mean of what ``numbers`` finds, or the reason why it finds none."""
        try:
            found = numbers()
        except DamagedError as error:
            return self.missing(models, str(error))
        value = sum(number / len(found) for number in found)
        if not math.isfinite(value):
            said = ", ".join(f"{number:g}" for number in found)
            return self._nothing(models, "not_finite", f"the file says {said}")
        return Reading(self.name, self.metric, self.unit, models, value, n=len(found))

    def missing(self, models: Models, reason: str) -> Reading:
        """Return a reading without a value."""
        return self._nothing(models, "missing", reason)

    def _nothing(self, models: Models, status: Status, reason: str) -> Reading:
        return Reading(self.name, self.metric, self.unit, models, None, status, 0, reason)


def _scores(split: str) -> tuple[Quantity, ...]:
    return (
        Quantity(f"{split}_loss", f"{split}_loss", NATS),
        Quantity(f"{split}_accuracy", f"{split}_accuracy", PERCENT),
    )


_HESSIAN = (
    Quantity("hessian_top_eigenvalue", "hessian_top_eigenvalue", NATS),
    Quantity("hessian_trace", "hessian_trace", NATS),
)
_CKA = (Quantity("cka", "cka", "", 2), Quantity("cka_logits", "cka", "", 2))
_DISTANCE = (Quantity("l2_distance", "l2_distance", "", 2),)
_CONNECTIVITY = (
    Quantity(_CURVE, _CURVE, PERCENT, 2),
    Quantity(f"{_CURVE}_peak", _CURVE, PERCENT, 2),
    Quantity(f"{_CURVE}_test_error", _CURVE, PERCENT, 2),
)
FILES: dict[str, tuple[Quantity, ...]] = {
    "loss_acc.pkl": _scores("train"),
    "loss_acc_test.pkl": _scores("test"),
    "hessian.pkl": _HESSIAN,
    "CKA_mixup_alpha_16.0.pkl": _CKA,
    "model_dist.pkl": _DISTANCE,
    "curve_test.npz": _CONNECTIVITY,
}
"""The files of a cell, and what is said to be missing where one is. A curve gives more."""
CURVE_FILES = ("curve_test.npz", "curve.npz")


def read_file(data: bytes, file: str, source: str, pair: Models = ()) -> list[Reading]:
    """Return all readings of one file.

    Parameters
    ----------
    data, file
        What is in it, and its name: one of :data:`FILES`, or of :data:`CURVE_FILES`.
    source
        Its whole name, for errors.
    pair
        The models a curve lies between.

    Raises
    ------
    DamagedError
        It has none of what it should have.
    RequestError
        It is refused: see :mod:`llt_core.analysis.untrusted`.
    """
    if file in CURVE_FILES:
        return _curve(read_arrays(data, source, {"ts", *_ARRAYS.values()}), pair or (0, 1))
    document = read_pickle(data, source)
    if file.startswith("loss_acc"):
        paths = (("loss",), ("accuracy",))
        return _per_model(document, FILES[file], paths)
    if file == "hessian.pkl":
        return _per_model(document, FILES[file], (("top_eigenvalue", 0), ("trace",)))
    if file == "model_dist.pkl":
        return _per_pair(_entry(document, "model_distance"), FILES[file], (("dist",),))
    # The last layer that was compared is the softmax, the one before the logits.
    layers = _entry(document, "representation_similarity")
    return _per_pair(layers, FILES[file], ((-1,), (-2,)))


def _per_model(
    document: Any, quantities: Iterable[Quantity], paths: Iterable[tuple[Any, ...]]
) -> list[Reading]:
    return [
        quantity.reading((model,), partial(_numbers, document, [(model, *path)]))
        for quantity, path in zip(quantities, paths, strict=True)
        for model in _models(document)
    ]


def _per_pair(
    matrix: Any, quantities: Iterable[Quantity], paths: Iterable[tuple[Any, ...]]
) -> list[Reading]:
    """Return a reading for each two models: the mean of both orders, which differ for CKA."""
    return [
        quantity.reading((i, j), partial(_numbers, matrix, [(i, j, *path), (j, i, *path)]))
        for quantity, path in zip(quantities, paths, strict=True)
        for i, j in itertools.combinations(_models(matrix), 2)
    ]


def _curve(arrays: dict[str, Floats], pair: Models) -> list[Reading]:
    """Return what lies on a curve: its sums, then the errors at each point."""
    ts = _points(arrays)
    readings: list[Reading] = []
    for (split, kind), name in _SCORES.items():
        values = arrays.get(_ARRAYS[split, kind])
        unit = PERCENT if kind == "error" else NATS
        for suffix, compute in _SUMS.items():
            quantity = Quantity(name + suffix, _CURVE, unit, 2)
            readings.append(quantity.reading(pair, partial(_sum, values, len(ts), compute)))
    for split, prefix in (("train", "curve"), ("test", "curve_test")):
        values = arrays.get(_ARRAYS[split, "error"])
        for place, t in enumerate(ts):
            quantity = Quantity(f"{_CURVE}_{prefix}_t{t:.3g}", _CURVE, PERCENT, 2)
            readings.append(quantity.reading(pair, partial(_at, values, len(ts), place)))
    return readings


def _points(arrays: dict[str, Floats]) -> Floats:
    ts = arrays.get("ts")
    if ts is None or ts.ndim != 1 or not 3 <= len(ts) <= MOST_POINTS:
        raise DamagedError("has no points of a curve ('ts')")
    if ts[0] != 0 or ts[-1] != 1 or not (np.diff(ts) > 0).all():
        raise DamagedError("has points that do not run from 0 to 1")
    return ts


def _checked(values: Floats | None, points: int) -> Floats:
    if values is None or values.shape != (points,):
        raise DamagedError("has no value for each point of the curve")
    return values


def _at(values: Floats | None, points: int, place: int) -> list[float]:
    return [float(_checked(values, points)[place])]


def _sum(
    values: Floats | None, points: int, compute: Callable[[Floats, float], float]
) -> list[float]:
    """Return what ``compute`` says of T values and the mean of the outer two."""
    held = _checked(values, points)
    if not np.isfinite(held).all():
        return [math.nan]
    return [float(compute(held, float(held[0] + held[-1]) / 2))]


def _models(document: Any) -> list[int]:
    """Return the numbers of the models in a mapping."""
    if not isinstance(document, dict):
        raise DamagedError("is no mapping of models")
    models = sorted(key for key in document if type(key) is int)
    if not models or models[0] < 0 or models[-1] >= MOST_MODELS:
        raise DamagedError(f"has no models numbered from 0 to at most {MOST_MODELS - 1}")
    return models


def _entry(document: Any, key: Any) -> Any:
    """Return what a mapping or list has at ``key``."""
    try:
        if isinstance(document, dict | list):
            return document[key]
    except LookupError:
        pass
    raise DamagedError(f"has no {key!r}")


def _numbers(document: Any, paths: Iterable[tuple[Any, ...]]) -> list[float]:
    return [_number(document, *path) for path in paths]


def _number(document: Any, *path: Any) -> float:
    """Return the number at the end of a path of keys."""
    for depth, key in enumerate(path):
        try:
            document = _entry(document, key)
        except DamagedError:
            where = " of ".join(repr(key) for key in path[: depth + 1][::-1])
            raise DamagedError(f"has no {where}") from None
    if isinstance(document, bool) or not isinstance(document, int | float):
        raise DamagedError(f"has no number at {', '.join(map(repr, path))}")
    try:
        return float(document)
    except OverflowError:
        return math.inf
