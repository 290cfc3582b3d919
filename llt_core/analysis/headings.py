"""What the columns of a flat table mean: by well-known headings, and as the user says."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from llt_core.errors import RequestError

Transform = Literal["", "log", "log10", "fraction", "tenths", "percent"]
Role = Literal["axis", "value", "std", "standard_error", "models", "ignored"]
TRANSFORMS: dict[Transform, str] = {
    "log": "the column holds natural logarithms",
    "log10": "the column holds decimal logarithms",
    "fraction": "the column holds parts of one, and shall be percent",
    "percent": "the column holds percent, and shall be parts of one",
    "tenths": "the column holds tenths, and shall be parts of one",
}
AXIS_WORDS = ("axis", "load", "temperature")


@dataclass(frozen=True)
class Meaning:
    """What one column is.

    Attributes
    ----------
    role
        ``axis``, ``value``, ``std`` (over models), ``standard_error`` of a value, ``models``
        (how many there are), or ``ignored``.
    name
        The field of an axis, or the quantity.
    kind
        Of an axis: ``load``, ``temperature``, or empty.
    """

    role: Role
    name: str = ""
    kind: str = ""
    unit: str = ""
    transform: Transform = ""


_AXES = {
    "architecture.width": ("load", "width", "w"),
    "architecture.depth": ("load", "depth"),
    "architecture.embedding_dim": ("load", "embedding_dim", "embedding"),
    "train.batch_size": ("temperature", "batch_size", "batch", "bs"),
    "train.learning_rate": ("temperature", "learning_rate", "lr"),
    "train.weight_decay": ("temperature", "weight_decay", "wd"),
    "perturbation.data_subset.fraction": ("load", "data_fraction", "data_tenths", "data_subset"),
    "perturbation.label_noise.fraction": ("load", "label_noise", "noise_fraction", "random_labels"),
    "perturbation.pixel_noise.magnitude": ("load", "pixel_noise"),
}
_VALUES = {
    "train_loss": ("nats", "training_loss"),
    "test_loss": ("nats",),
    "train_accuracy": ("percent", "train_acc", "training_accuracy"),
    "test_accuracy": ("percent", "test_acc"),
    "hessian_trace": ("nats", "trace"),
    "hessian_top_eigenvalue": ("nats", "top_eigenvalue", "top_eig"),
    "mode_connectivity": ("percent", "mc", "mc_train_err", "mc_train_error"),
    "mode_connectivity_peak": ("percent", "mc_peak"),
    "mode_connectivity_test_error": ("percent", "mc_test_err", "mc_test_error"),
    "linear_connectivity": ("percent",),
    "cka": ("", "cka_softmax"),
    "cka_logits": ("",),
    "l2_distance": ("", "l2"),
    "ensemble_accuracy": ("percent",),
    "bleu": ("percent",),
}
_AXIS_OF = {
    word: (field, kind) for field, (kind, *words) in _AXES.items() for word in (field, *words)
}
_VALUE_OF = {
    word: (name, unit) for name, (unit, *words) in _VALUES.items() for word in (name, *words)
}
_ENDINGS: dict[str, Role] = {
    "_std": "std",
    "_standard_error": "standard_error",
    "_sem": "standard_error",
}
_ERRORS: dict[str, Role] = {"std": "std", "standard_error": "standard_error"}
_MODELS = ("n_models", "models", "num_models")


def meaning(heading: str) -> Meaning | None:
    """Return what a well-known heading means, None for any other.

    >>> meaning("Test_Acc_Mean").name, meaning("log_trace").transform, meaning("loss of hope")
    ('test_accuracy', 'log', None)
    """
    word = re.sub(r"[\s\-]+", "_", heading.strip().lower())
    if word in _MODELS:
        return Meaning("models")
    if word in _AXIS_OF:
        field, kind = _AXIS_OF[word]
        return Meaning("axis", field, kind, transform="tenths" if word.endswith("_tenths") else "")
    role: Role = "value"
    for ending, other in _ENDINGS.items():
        if word.endswith(ending):
            word, role = word.removesuffix(ending), other
    word = word.removesuffix("_mean")
    logarithm = word.startswith("log_") and word not in _VALUE_OF
    word = word.removeprefix("log_") if logarithm else word
    if word not in _VALUE_OF:
        return None
    name, unit = _VALUE_OF[word]
    return Meaning(role, name, unit=unit, transform="log" if logarithm else "")


def parse_mapping(assignments: Sequence[str]) -> dict[str, Meaning]:
    """Return what a user says of columns: ``COLUMN=NAME``, ``COLUMN=FIELD:load``, ``COLUMN=-``.

    After the name may stand, with colons between, ``axis``, ``load`` or ``temperature`` for a
    varied field, ``std`` or ``standard_error``, and a transform.

    Raises
    ------
    RequestError
        A word is unknown.

    >>> parse_mapping(["k=architecture.width:load"])["k"].kind
    'load'
    """
    return dict(map(_parse, assignments))


def _parse(assignment: str) -> tuple[str, Meaning]:
    column, equals, rest = assignment.partition("=")
    name, *words = rest.strip().split(":")
    if not equals or not column.strip() or not name:
        raise _wrong(assignment, "is no COLUMN=NAME")
    column = column.strip()
    if name == "-":
        return column, Meaning("ignored")
    if name == "models":
        return column, Meaning("models")
    known = meaning(name)
    role: Role = "axis" if known is not None and known.role == "axis" else "value"
    kind = known.kind if known is not None else ""
    unit = known.unit if known is not None else ""
    if known is not None and known.name:
        name = known.name
    transform: Transform = ""
    for word in words:
        if word in AXIS_WORDS:
            role, kind = "axis", word if word != "axis" else kind
        elif word in _ERRORS:
            role = _ERRORS[word]
        else:
            transform = _transform(assignment, word)
    return column, Meaning(role, name, kind, unit, transform)


def _transform(assignment: str, word: str) -> Transform:
    for known in TRANSFORMS:
        if known == word:
            return known
    raise _wrong(assignment, f"has the unknown word {word!r}")


def _wrong(assignment: str, what: str) -> RequestError:
    words = ", ".join((*AXIS_WORDS, "std", "standard_error", *TRANSFORMS))
    return RequestError(
        f"--map {assignment} {what}",
        expected=f"COLUMN=NAME, COLUMN=NAME:WORD with one of {words}, or COLUMN=- to leave it out",
        next_step="--map width=architecture.width:load --map trace=hessian_trace:log",
    )


def meanings(
    headings: Sequence[str], said: Mapping[str, Meaning], where: str
) -> dict[str, Meaning]:
    """Return what each column means; one nobody knows is a value called as its heading.

    Raises
    ------
    RequestError
        A column that was spoken of is not there, two mean the same, or none is an axis.
    """
    for column in said:
        if column not in headings:
            raise RequestError(
                f"there is no column {column!r}",
                where=where,
                expected=f"one of {', '.join(headings)}",
            )
    found = {h: said.get(h) or meaning(h) or Meaning("value", h) for h in headings}
    seen: dict[tuple[str, str], str] = {}
    for heading, one in found.items():
        if one.role == "ignored":
            continue
        first = seen.setdefault((one.role, one.name), heading)
        if first != heading:
            raise RequestError(
                f"the columns {first!r} and {heading!r} both mean {one.name or one.role}",
                where=where,
                next_step=f"llt import table FILE --map {heading}=- leaves one out",
            )
    if not any(one.role == "axis" for one in found.values()):
        raise RequestError(
            "no column is a varied field that llt knows",
            where=where,
            expected=f"such as {', '.join(words[1] for words in _AXES.values())}",
            next_step="llt import table FILE --map COLUMN=architecture.width:load",
        )
    return found
