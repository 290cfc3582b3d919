"""Results without a value: which model is to blame, and what to say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from llt_core.interfaces import MeasureContext, Measurement, Quantity

if TYPE_CHECKING:
    from torch import nn


def nothing(
    returns: Sequence[Quantity],
    status: Literal["undefined", "not_finite"],
    reason: str,
    **details: object,
) -> list[Measurement]:
    """Return every quantity without a value, and the reason."""
    return [
        Measurement(
            name=quantity.name,
            value=None,
            unit=quantity.unit,
            status=status,
            details=details | {"reason": reason},
        )
        for quantity in returns
    ]


def name_of(context: MeasureContext, index: int) -> str:
    """Return how to speak of one of the models that are measured."""
    if len(context.models) == 1:
        return "the model"
    if len(context.models) == 2:
        return f"the {('first', 'second')[index]} model"
    return f"model {index} (counted from 0)"


def broken_weights(context: MeasureContext, indices: Sequence[int] | None = None) -> str | None:
    """Say which of the models (all of them if None) has parameters that are not finite."""
    for index in range(len(context.models)) if indices is None else indices:
        if (name := _first_broken(context.models[index])) is not None:
            return f"{name_of(context, index)} has NaN or infinite entries in {name!r}"
    return None


def _first_broken(model: nn.Module) -> str | None:
    named = model.named_parameters()
    return next((name for name, p in named if not bool(p.isfinite().all())), None)
