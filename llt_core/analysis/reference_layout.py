"""What the folder names of the published results say: which cell is which."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llt_core.analysis.possible import impossible

KINDS: Mapping[str, str] = {
    "architecture.width": "load",
    "data_subset.fraction": "load",
    "label_noise.fraction": "load",
    "train.batch_size": "temperature",
    "train.learning_rate": "temperature",
    "train.weight_decay": "temperature",
}
"""What the paper calls each axis."""
RECIPES = {
    "normal": "standard",
    "lr_decay": "lr_decay",
    "small_wd": "small_wd",
    "lr_scaling": "lr_scaling",
}
"""What the published code calls a way of training, and what llt does."""
ARCHITECTURES = {"ResNet18": "resnet18", "VGG11": "vgg11"}
PUBLISHED = {
    "data_subset.fraction": 1.0,
    "label_noise.fraction": 0.0,
    "train.batch_size": 128,
    "train.learning_rate": 0.05,
    "train.weight_decay": 5e-4,
}
"""What holds where a folder names nothing else (Yang et al. 2021), and by the way of training:"""
PUBLISHED_BY_RECIPE: dict[str, dict[str, float]] = {
    "lr_decay": {"train.learning_rate": 0.1},
    "small_wd": {"train.weight_decay": 1e-4},
}
FIXED_NOISE = 0.1
"""Noise of the labels in subsets with noise; the published code has no other."""
_DATA = re.compile(r"different_knobs_(?P<kind>[a-z]\w*?)_(?P<amount>\d+)")
_TEMPERATURE = re.compile(r"(?P<kind>bs|lr|wd)_(?P<value>[\d.]+(?:e-?\d+)?)")
_MODEL = re.compile(r"(?P<name>[A-Za-z]+\d*)(?:_w(?P<width>\d{1,5}))?")
_CURVE = re.compile(r"connecting_(?P<first>\d{1,3})_(?P<second>\d{1,3})")
_CURVES_OF = "curve_fitting_"
_FIELDS = {"bs": "train.batch_size", "lr": "train.learning_rate", "wd": "train.weight_decay"}


class UnknownNameError(ValueError):
    """A folder name is not one the published code gives."""


@dataclass(frozen=True)
class Place:
    """Where a file belongs.

    Attributes
    ----------
    cell
        The folder of its cell, from the archive on.
    file
        Its name.
    pair
        The two models, of a file in a folder of curves; empty for others.
    """

    cell: str
    file: str
    pair: tuple[int, ...] = ()


def place(name: str) -> Place | None:
    """Return where a file belongs, by its name; None if that is no cell's folder.

    Examples
    --------
    >>> place("different_knobs_subset_10/bs_32/lr_decay/ResNet18_w4/metrics/hessian.pkl").cell
    'different_knobs_subset_10/bs_32/lr_decay/ResNet18_w4'
    >>> place("README.md") is None
    True
    """
    parts = name.split("/")
    if len(parts) < 6:
        return None
    *before, data, temperature, recipe, model, folder, file = parts
    curve = _CURVE.fullmatch(folder)
    pair: tuple[int, ...] = ()
    if data.startswith(_CURVES_OF) and curve:
        data = data.removeprefix(_CURVES_OF)
        pair = (int(curve["first"]), int(curve["second"]))
    elif folder != "metrics":
        return None
    if not data.startswith("different_knobs_"):
        return None
    return Place("/".join([*before, data, temperature, recipe, model]), file, pair)


def axes(cell: str) -> dict[str, Any]:
    """Return the fields that a cell's folder states, as results of llt call them.

    The task is CIFAR-10: the published code knows no other, and its folders name none. Of the
    other fields a folder states one or two; for the rest stand the published settings.

    Raises
    ------
    UnknownNameError
        A part of the name is not understood; the message says which.

    Examples
    --------
    >>> axes("different_knobs_subset_10/bs_32/lr_decay/ResNet18_w4")
    {'task': 'cifar10', 'architecture': 'resnet18', 'architecture.width': 4,
     'train.recipe': 'lr_decay', 'data_subset.fraction': 1.0, 'label_noise.fraction': 0.0,
     'train.batch_size': 32, 'train.learning_rate': 0.1, 'train.weight_decay': 0.0005}
    >>> axes("different_knobs_random_label_015/wd_5e-05/normal/ResNet18_w8")["label_noise.fraction"]
    0.15
    """
    data, temperature, recipe, model = cell.split("/")[-4:]
    if recipe not in RECIPES:
        raise UnknownNameError(f"the way of training {recipe!r}")
    settings = PUBLISHED | PUBLISHED_BY_RECIPE.get(recipe, {})
    settings |= _data(data) | _temperature(temperature)
    fields = {
        "task": "cifar10",
        **_model(model),
        "train.recipe": RECIPES[recipe],
        **settings,
    }
    for name, value in fields.items():
        if expected := impossible(name, value):
            raise UnknownNameError(f"{name} {value!r}, which should be {expected},")
    return fields


def _data(name: str) -> dict[str, Any]:
    found = _DATA.fullmatch(name)
    kind = found["kind"] if found else ""
    if found is None or kind not in ("subset", "subset_noisy", "random_label"):
        raise UnknownNameError(f"the data {name!r}")
    amount = _fraction(found["amount"])
    if kind == "random_label":
        return {"label_noise.fraction": amount}
    noise = {"label_noise.fraction": FIXED_NOISE} if kind == "subset_noisy" else {}
    return {"data_subset.fraction": amount, **noise}


def _fraction(digits: str) -> float:
    """Read a fraction whose point was left out behind its first digit; one digit is tenths.

    >>> [_fraction(text) for text in ("10", "01", "0", "0025", "7")]
    [1.0, 0.1, 0.0, 0.025, 0.7]
    """
    fraction = float(f"{digits[0]}.{digits[1:]}" if len(digits) > 1 else f"0.{digits}")
    if not 0 <= fraction <= 1:
        raise UnknownNameError(f"the fraction {digits!r}")
    return fraction


def _temperature(name: str) -> dict[str, Any]:
    found = _TEMPERATURE.fullmatch(name)
    if found is None:
        raise UnknownNameError(f"the temperature {name!r}")
    try:
        value = (int if found["kind"] == "bs" else float)(found["value"])
    except ValueError as error:
        raise UnknownNameError(f"the temperature {name!r}") from error
    return {_FIELDS[found["kind"]]: value}


def _model(name: str) -> dict[str, Any]:
    found = _MODEL.fullmatch(name)
    if found is None or found["name"] not in ARCHITECTURES:
        raise UnknownNameError(f"the architecture {name!r}")
    if found["width"] is None:
        raise UnknownNameError(f"the architecture {name!r}, which names no width,")
    return {
        "architecture": ARCHITECTURES[found["name"]],
        "architecture.width": int(found["width"]),
    }
