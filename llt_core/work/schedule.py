"""Learning-rate factors and the early-stop rule: plain functions of the recipe."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from llt_core.spec import TrainingRecipe


def rate_factor(recipe: TrainingRecipe, epoch: float) -> float:
    """Return the factor on the peak learning rate at ``epoch`` (0 ≤ epoch < epochs).

    Warm-up is linear from zero; ``step`` drops by ``gamma`` at each milestone; ``cosine``
    falls to zero over the epochs that follow the warm-up (Loshchilov and Hutter 2017).
    """
    if epoch < recipe.warmup_epochs:
        return epoch / recipe.warmup_epochs
    match recipe.schedule:
        case "constant":
            return 1.0
        case "step":
            # 0.55 · 100 is a little more than 55 in floats: compare with some slack.
            passed = sum(epoch > f * recipe.epochs - 1e-6 for f in recipe.milestones)
            return recipe.gamma**passed
        case "cosine":
            rest = max(recipe.epochs - recipe.warmup_epochs, 1e-12)
            progress = (epoch - recipe.warmup_epochs) / rest
            return 0.5 * (1.0 + math.cos(math.pi * progress))


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
