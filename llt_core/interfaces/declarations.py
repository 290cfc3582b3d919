"""What the class of a plugin says about itself, checked once, where it is loaded."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, get_args

from llt_core.interfaces.architecture import Architecture
from llt_core.interfaces.component import Component
from llt_core.interfaces.description import Modality
from llt_core.interfaces.metric import Metric, Needs, Scope
from llt_core.interfaces.perturbation import Perturbation, Stage
from llt_core.interfaces.values import Quantity


def misdeclared(cls: type[Component]) -> str:
    """Say what the class declares wrongly, or not at all; empty if nothing.

    >>> from llt_core.interfaces import Architecture
    >>> class Net(Architecture):
    ...     accepts = "image"
    >>> misdeclared(Net)
    "Net.accepts is 'image'; expected a frozenset of image and text"
    """
    return next(_faults(cls), "")


def _faults(cls: type[Component]) -> Iterator[str]:
    version: object = cls.version
    if type(version) is not int or version < 1:
        yield _fault(cls, "version", "a whole number from 1")
    if issubclass(cls, Metric):
        yield from _of_metric(cls)
    if issubclass(cls, Architecture | Perturbation) and not _modalities(cls.accepts):
        yield _fault(cls, "accepts", f"a frozenset of {' and '.join(get_args(Modality))}")
    if issubclass(cls, Architecture) and cls.load_field not in (None, *cls.model_fields):
        yield _fault(cls, "load_field", "the name of one of its parameters, or None")
    if issubclass(cls, Perturbation):
        if getattr(cls, "stage", None) not in get_args(Stage):
            yield (
                f"{cls.__name__} names no stage at which it acts; subclass DataPerturbation, "
                "TrainingPerturbation or WeightPerturbation"
            )
        if getattr(cls, "axis", None) not in ("load", "temperature"):
            yield _fault(cls, "axis", "'load' or 'temperature'")


def _of_metric(cls: type[Metric]) -> Iterator[str]:
    if cls.scope not in get_args(Scope):
        yield _fault(cls, "scope", "'model', 'pair' or 'set'")
    needs: object = cls.needs
    if not isinstance(needs, Needs):
        yield _fault(cls, "needs", "Needs(splits=…, second_order=…, modalities=…)")
    returns: object = getattr(cls, "returns", None)
    fine = isinstance(returns, tuple | list) and all(isinstance(q, Quantity) for q in returns)
    if not fine or not returns:
        yield _fault(
            cls, "returns", 'a tuple with a Quantity for each number: (Quantity(name="…"),)'
        )
    elif len({quantity.name for quantity in cls.returns}) < len(cls.returns):
        yield _fault(cls, "returns", "another name for each Quantity")


def _modalities(accepts: Any) -> bool:
    fine = isinstance(accepts, Collection) and not isinstance(accepts, str) and accepts
    return bool(fine) and set(accepts) <= set(get_args(Modality))


def _fault(cls: type[Component], name: str, expected: str) -> str:
    if not hasattr(cls, name):
        return f"{cls.__name__} declares no {name}; expected {expected}"
    return f"{cls.__name__}.{name} is {getattr(cls, name)!r}; expected {expected}"
