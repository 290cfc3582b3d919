"""Every label random."""

from __future__ import annotations

from typing import ClassVar, Self

from llt_core.interfaces import parameter
from llt_plugins.perturbations.label_noise import LabelNoise


class RandomLabels(LabelNoise):
    """Give every training example a uniformly random label (Zhang et al. 2017).

    What can be learnt then is noise: test accuracy stays at chance however well the training
    split is fitted, which makes it the control of every measure of generalisation. It is
    ``label_noise`` with p = 1, drawn by a seed of its own; a smaller fraction leaves the rest
    of the labels as they are.
    """

    summary: ClassVar[str] = "Give every training example a uniformly random label"

    fraction: float = parameter(
        1.0, ge=0, le=1, description="Fraction p of the examples that get a random label"
    )

    @classmethod
    def minimal(cls) -> Self:
        """Return random labels for all training examples."""
        return cls()
