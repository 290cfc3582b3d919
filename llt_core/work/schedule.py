"""Learning-rate factors and the early-stop rule: plain functions of the recipe."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from llt_core.spec import TrainingRecipe


def rate_factor(
    recipe: TrainingRecipe, epoch: float, *, step: int = 0, length: float | None = None
) -> float:
    """Return the factor on the peak learning rate at ``epoch`` (0 ≤ epoch < length).

    Warm-up is linear from zero, by epochs or by steps; ``step`` drops by ``gamma`` at each
    milestone; ``cosine`` falls to zero over the epochs that follow the warm-up (Loshchilov
    and Hutter 2017); ``inverse_sqrt`` is 1 at the end of the warm-up and falls as one over
    the square root of the number of steps (Vaswani et al. 2017).

    Parameters
    ----------
    epoch
        Epochs passed, fractions included.
    step
        Number of this step, counted from 1; only ``warmup_steps`` reads it.
    length
        Epochs of the whole training; None for those of the recipe.
    """
    length = recipe.epochs if length is None else length
    if epoch < recipe.warmup_epochs:
        return epoch / recipe.warmup_epochs
    warmth = step / recipe.warmup_steps if step < recipe.warmup_steps else 1.0
    match recipe.schedule:
        case "constant":
            return warmth
        case "step":
            # 0.55 · 100 is a little more than 55 in floats: compare with some slack.
            passed = sum(epoch > f * length - 1e-6 for f in recipe.milestones)
            return warmth * recipe.gamma**passed
        case "cosine":
            rest = max(length - recipe.warmup_epochs, 1e-12)
            progress = (epoch - recipe.warmup_epochs) / rest
            return warmth * 0.5 * (1.0 + math.cos(math.pi * progress))
        case "inverse_sqrt":
            return warmth * math.sqrt(recipe.warmup_steps / max(step, recipe.warmup_steps))


def should_stop(recipe: TrainingRecipe, losses: Sequence[float]) -> bool:
    """Whether training ends early after these epoch losses: low enough, or settled."""
    low = recipe.stop_at_loss
    return (low is not None and losses[-1] <= low) or has_settled(recipe, losses)


def has_settled(recipe: TrainingRecipe, losses: Sequence[float]) -> bool:
    """Whether the early-stop rule of Yang et al. (2021) holds after these epoch losses.

    At least ``early_stop_after`` epochs have run, and each of the last
    ``early_stop_window`` changes from epoch to epoch lies within the tolerance.
    """
    window = recipe.early_stop_window
    if not recipe.early_stop or len(losses) < max(recipe.early_stop_after, window + 1):
        return False
    recent = losses[-window - 1 :]
    changes = (abs(b - a) for a, b in pairwise(recent))
    return all(change <= recipe.early_stop_tolerance for change in changes)
