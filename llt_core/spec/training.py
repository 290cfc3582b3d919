"""Training recipes: every setting that changes what a trained model is."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from llt_core.errors import RequestError, wanted


class TrainingRecipe(BaseModel):
    """How a model is trained. Part of the identity of a train cell, so it is frozen.

    The learning rate of step t (counted in epochs, fractions included) is
    ``learning_rate × warm-up(t) × schedule(t)``; with ``lr_scaling`` times batch_size / 128.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False
    )

    version: ClassVar[int] = 1

    optimizer: Literal["sgd", "adam", "adamw"] = Field("sgd", description="Optimiser")
    learning_rate: float = Field(0.05, gt=0, description="Peak learning rate")
    lr_scaling: bool = Field(
        False, description="Multiply the learning rate by batch_size / 128 (Goyal et al. 2017)"
    )
    momentum: float = Field(0.9, ge=0, lt=1, description="Momentum of SGD, without Nesterov")
    betas: tuple[float, float] = Field(
        (0.9, 0.999), description="Adam and AdamW: decay of the running mean and square"
    )
    epsilon: float = Field(1e-8, gt=0, description="Adam and AdamW: added to the denominator")
    weight_decay: float = Field(
        5e-4, ge=0, description="L2 penalty (sgd, adam) or decoupled (adamw)"
    )
    gradient_clip: float | None = Field(
        None, gt=0, description="Largest norm of a step's gradient; longer ones are shortened"
    )
    sam_radius: float = Field(
        0.0, ge=0, description="Radius of sharpness-aware minimisation (Foret et al. 2021); 0: off"
    )
    batch_size: int = Field(128, ge=1, description="Examples, or tokens, in a training batch")
    batch_unit: Literal["examples", "tokens"] = Field(
        "examples", description="What batch_size counts; tokens exist in text only"
    )
    epochs: int = Field(150, ge=1, description="Passes over the training split, at most")
    max_steps: int | None = Field(
        None, ge=1, description="Steps of training, at most, if they are fewer than the epochs have"
    )
    schedule: Literal["constant", "step", "cosine", "inverse_sqrt"] = Field(
        "constant", description="How the learning rate falls over the training"
    )
    milestones: tuple[float, ...] = Field(
        (0.75,), description="Step schedule: fractions of the training at which the rate drops"
    )
    gamma: float = Field(0.1, gt=0, le=1, description="Step schedule: factor of each drop")
    warmup_epochs: float = Field(0.0, ge=0, description="Epochs of linear warm-up from zero")
    warmup_steps: int = Field(
        0, ge=0, description="Steps of linear warm-up; inverse_sqrt falls from there on"
    )
    early_stop: bool = Field(
        False, description="Stop when the last changes of the training loss are all small"
    )
    early_stop_after: int = Field(30, ge=1, description="Early stop: epochs to run at least")
    early_stop_window: int = Field(5, ge=1, description="Early stop: changes looked at")
    early_stop_tolerance: float = Field(
        1e-4, gt=0, description="Early stop: largest change (nats) that counts as none"
    )
    stop_at_loss: float | None = Field(
        None, ge=0, description="Stop after an epoch whose mean training loss (nats) is no larger"
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
            raise ValueError("milestones are fractions of the training, between 0 and 1")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError("betas are at least 0 and less than 1")
        if self.warmup_epochs > self.epochs:
            raise ValueError(f"warm-up of {self.warmup_epochs} epochs in a run of {self.epochs}")
        if self.warmup_epochs and self.warmup_steps:
            raise ValueError("warmup_epochs and warmup_steps are two ways to say one thing")
        if self.schedule == "inverse_sqrt" and not self.warmup_steps:
            raise ValueError("the schedule inverse_sqrt needs warmup_steps, from which it falls")
        if self.lr_scaling and self.batch_unit != "examples":
            raise ValueError("lr_scaling goes by examples: it needs batch_unit = examples")
        return self

    @property
    def peak_rate(self) -> float:
        """The learning rate after scaling with the batch size, before warm-up and schedule."""
        scale = self.batch_size / 128 if self.lr_scaling else 1.0
        return self.learning_rate * scale

    def non_defaults(self) -> dict[str, Any]:
        """Return the settings that differ from their defaults, as JSON values."""
        return self.model_dump(mode="json", exclude_defaults=True)


_LR_DECAY = {
    "learning_rate": 0.1,
    "epochs": 100,
    "schedule": "step",
    "checkpoint": "best_train_loss",
}
_TRANSFORMER = {
    "optimizer": "adam",
    "betas": (0.9, 0.98),
    "epsilon": 1e-9,
    "weight_decay": 0.0,
    "gradient_clip": 1.0,
    "batch_unit": "tokens",
    "batch_size": 1500,
    "drop_last": False,
}

RECIPES: Mapping[str, Mapping[str, Any]] = {
    # Yang et al. 2021: constant rate, stopped once the training loss has settled.
    "standard": {"early_stop": True},
    # Yang et al. 2021: one drop at three quarters, the best epoch is the model.
    "lr_decay": _LR_DECAY,
    # Yang et al. 2021: a drop at one half and another at three quarters.
    "two_decays": {**_LR_DECAY, "milestones": (0.5, 0.75)},
    # Yang et al. 2021: less weight decay.
    "small_wd": {"early_stop": True, "weight_decay": 1e-4},
    # Yang et al. 2021: the rate grows with the batch (0.05 at 128).
    "lr_scaling": {"early_stop": True, "lr_scaling": True},
    # Yang et al. 2021 train to zero loss; how is ours: no weight decay, which would keep the
    # loss away from zero, and zero is a mean of a thousandth of a nat over an epoch.
    "zero_loss": {"epochs": 500, "weight_decay": 0.0, "stop_at_loss": 1e-3},
    # Yang et al. 2021 go to large batches; the values are ours, after Goyal et al. 2017.
    "large_batch": {
        "early_stop": True,
        "batch_size": 2048,
        "lr_scaling": True,
        "warmup_epochs": 5.0,
    },
    # Ours: `standard` with the radius that Foret et al. 2021 use for CIFAR-10.
    "sharpness_aware": {"early_stop": True, "sam_radius": 0.05},
    # Yang et al. 2021 say Adam and its constants, 4000 steps of warm-up and 1500 tokens; the
    # peak is that of Vaswani et al. 2017 for dimension 512, (512 · 4000)^-1/2. Clipping and
    # the number of epochs are ours.
    "transformer": {
        **_TRANSFORMER,
        "learning_rate": 7e-4,
        "schedule": "inverse_sqrt",
        "warmup_steps": 4000,
        "epochs": 150,
    },
    # Yang et al. 2021 say a constant rate; which one is ours.
    "transformer_constant": {**_TRANSFORMER, "learning_rate": 1e-4, "epochs": 150},
    # Ours, not the paper's: a usable model within minutes on a laptop, for tens of
    # thousands of examples,
    "quick": {
        "learning_rate": 0.1,
        "epochs": 4,
        "schedule": "cosine",
        "warmup_epochs": 0.5,
    },
    # for a few thousand, which give fewer steps in an epoch (at 0.1 narrow networks without
    # normalisation fall back to chance),
    "quick_small": {
        "learning_rate": 0.05,
        "epochs": 15,
        "batch_size": 64,
        "schedule": "cosine",
        "warmup_epochs": 1.0,
    },
    # and for a few thousand pairs of short sentences.
    "quick_text": {
        **_TRANSFORMER,
        "learning_rate": 3e-3,
        "schedule": "inverse_sqrt",
        "warmup_steps": 200,
        "epochs": 16,
    },
}
"""Named recipes, each as its differences from the defaults of :class:`TrainingRecipe`."""

SHORT_FORMS: Mapping[str, str] = {
    **dict.fromkeys(("lr", "rate"), "learning_rate"),
    **dict.fromkeys(("bs", "batch"), "batch_size"),
    **dict.fromkeys(("wd", "decay", "l2"), "weight_decay"),
    **dict.fromkeys(("n_epochs", "num_epochs", "max_epochs"), "epochs"),
    **dict.fromkeys(("steps", "iterations"), "max_steps"),
    **dict.fromkeys(("warmup", "warm_up"), "warmup_epochs"),
    **dict.fromkeys(("lr_schedule", "scheduler"), "schedule"),
    **dict.fromkeys(("sam", "rho"), "sam_radius"),
    **dict.fromkeys(("clip", "grad_clip", "clip_grad"), "gradient_clip"),
    **dict.fromkeys(("opt", "optim"), "optimizer"),
    **dict.fromkeys(("precision", "amp"), "dtype"),
}
"""What people call settings elsewhere, where no edit leads from one name to the other."""


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
        close = difflib.get_close_matches(name, fields, n=1, cutoff=0.4)
        near = SHORT_FORMS.get(name.lower()) or next(iter(close), "")
        hint = f"did you mean train.{near}? " if near else ""
        return RequestError(
            f"training has no setting {name!r}",
            expected=f"{hint}settings: recipe, {', '.join(fields)}",
            next_step="llt show train",
        )
    subject = f"train.{name} = {first['input']!r}" if name else "these training settings"
    return RequestError(f"cannot train with {subject}", expected=wanted(first))
