"""Training recipes: every setting that changes what a trained model is."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from llt_core.errors import RequestError


class TrainingRecipe(BaseModel):
    """How a model is trained. Part of the identity of a train cell, so it is frozen.

    The learning rate of step t (counted in epochs, fractions included) is
    ``learning_rate × warm-up(t) × schedule(t)``.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False
    )

    version: ClassVar[int] = 1

    optimizer: Literal["sgd", "adamw"] = Field("sgd", description="Optimiser")
    learning_rate: float = Field(0.05, gt=0, description="Peak learning rate")
    momentum: float = Field(0.9, ge=0, lt=1, description="Momentum of SGD, without Nesterov")
    weight_decay: float = Field(5e-4, ge=0, description="L2 penalty (sgd) or decoupled (adamw)")
    batch_size: int = Field(128, ge=1, description="Examples in a training batch")
    epochs: int = Field(150, ge=1, description="Passes over the training split, at most")
    schedule: Literal["constant", "step", "cosine"] = Field(
        "constant", description="How the learning rate falls over the epochs"
    )
    milestones: tuple[float, ...] = Field(
        (0.75,), description="Step schedule: fractions of the epochs at which the rate drops"
    )
    gamma: float = Field(0.1, gt=0, le=1, description="Step schedule: factor of each drop")
    warmup_epochs: float = Field(0.0, ge=0, description="Epochs of linear warm-up from zero")
    early_stop: bool = Field(
        False, description="Stop when the last changes of the training loss are all small"
    )
    early_stop_after: int = Field(30, ge=1, description="Early stop: epochs to run at least")
    early_stop_window: int = Field(5, ge=1, description="Early stop: changes looked at")
    early_stop_tolerance: float = Field(
        1e-4, gt=0, description="Early stop: largest change (nats) that counts as none"
    )
    checkpoint: Literal["last", "best_train_loss"] = Field(
        "last", description="Which epoch's weights are the model"
    )
    drop_last: bool = Field(True, description="Skip the incomplete last batch of an epoch")
    dtype: Literal["float32", "bfloat16"] = Field(
        "float32", description="Arithmetic of the forward pass; bfloat16 means autocast"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not all(0 < fraction < 1 for fraction in self.milestones):
            raise ValueError("milestones are fractions of the epochs, between 0 and 1")
        if self.warmup_epochs > self.epochs:
            raise ValueError(f"warm-up of {self.warmup_epochs} epochs in a run of {self.epochs}")
        return self

    def non_defaults(self) -> dict[str, Any]:
        """Return the settings that differ from their defaults, as JSON values."""
        return self.model_dump(mode="json", exclude_defaults=True)


RECIPES: Mapping[str, Mapping[str, Any]] = {
    # Yang et al. 2021: constant rate, stopped once the training loss has settled.
    "standard": {"early_stop": True},
    # Yang et al. 2021: one drop at three quarters, the best epoch is the model.
    "lr_decay": {
        "learning_rate": 0.1,
        "epochs": 100,
        "schedule": "step",
        "checkpoint": "best_train_loss",
    },
    # Ours, not the paper's: a usable model within minutes on a laptop, for tens of
    # thousands of examples,
    "quick": {
        "learning_rate": 0.1,
        "epochs": 4,
        "schedule": "cosine",
        "warmup_epochs": 0.5,
    },
    # and for a few thousand, which give fewer steps in an epoch.
    "quick_small": {
        "learning_rate": 0.1,
        "epochs": 15,
        "batch_size": 64,
        "schedule": "cosine",
        "warmup_epochs": 1.0,
    },
}
"""Named recipes, each as its differences from the defaults of :class:`TrainingRecipe`."""


def resolve_recipe(settings: Mapping[str, Any], default: str = "standard") -> TrainingRecipe:
    """Build a recipe from ``settings``: an optional ``recipe`` name and overrides.

    Raises
    ------
    RequestError
        Unknown recipe or field, or a value out of range.

    Examples
    --------
    >>> resolve_recipe({"recipe": "lr_decay", "epochs": 10}).learning_rate
    0.1
    """
    overrides = dict(settings)
    name = overrides.pop("recipe", default)
    if name not in RECIPES:
        near = difflib.get_close_matches(str(name), RECIPES, n=1)
        raise RequestError(
            f"no training recipe is called {name!r}",
            expected=f"did you mean {near[0]}?" if near else f"one of {', '.join(RECIPES)}",
            next_step=f"--set train.recipe={near[0] if near else default}",
        )
    try:
        return TrainingRecipe.model_validate({**RECIPES[name], **overrides})
    except ValidationError as error:
        raise _wrong_setting(error) from error


def _wrong_setting(error: ValidationError) -> RequestError:
    first = error.errors(include_url=False)[0]
    name = ".".join(str(part) for part in first["loc"])
    fields = TrainingRecipe.model_fields
    if first["type"] == "extra_forbidden":
        near = difflib.get_close_matches(name, fields, n=1, cutoff=0.4)
        hint = f"did you mean train.{near[0]}? " if near else ""
        return RequestError(
            f"training has no setting {name!r}",
            expected=f"{hint}settings: recipe, {', '.join(fields)}",
            next_step="llt run --help",
        )
    subject = f"train.{name} = {first['input']!r}" if name else "these training settings"
    return RequestError(f"cannot train with {subject}", expected=first["msg"])
