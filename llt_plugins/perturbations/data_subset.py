"""Less training data."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar, Self

from llt_core.interfaces import DataPerturbation, Modality, RequestError, Splits, parameter

if TYPE_CHECKING:
    import torch


class DataSubset(DataPerturbation):
    """Train on the first ⌊N·s⌋ examples of one fixed order (Yang et al. 2021, section 2).

    The order is a seeded permutation of all N training examples, the same for every s, so
    that a smaller subset lies inside a larger one. Other splits stay whole.
    """

    summary = "Train on a fraction of the data; smaller subsets lie inside larger ones"
    accepts: ClassVar[frozenset[Modality]] = frozenset({"image", "text"})

    fraction: float = parameter(
        gt=0, le=1, description="Fraction s of the training examples that are kept"
    )

    @property
    def strength(self) -> float:
        """Return the fraction 1 − s that is left out."""
        return 1.0 - self.fraction

    @classmethod
    def minimal(cls) -> Self:
        """Return the subset of half the examples."""
        return cls(fraction=0.5)

    def apply(self, subject: Splits, generator: torch.Generator) -> Splits:
        """Return the splits with a smaller ``train``, in the fixed order."""
        import torch

        if "train" not in subject:
            raise RequestError(
                "data_subset keeps a part of the split 'train', which is not there",
                expected=f"one of {', '.join(subject)}",
            )
        train = subject["train"]
        kept = self._kept(len(train))
        if kept == len(train):
            return dict(subject)
        order = torch.randperm(len(train), generator=generator)
        return {**subject, "train": train.subset(order[:kept])}

    def _kept(self, n: int) -> int:
        """Return ⌊n·s⌋, where 100 · 0.29 is 29 although the product of floats is less."""
        kept = math.floor(n * self.fraction + 1e-9)
        if kept < 1:
            raise RequestError(
                f"data_subset with fraction {self.fraction:g} keeps none of {n} examples",
                expected=f"a fraction of at least {1 / max(n, 1):.3g}",
            )
        return kept
