"""Random labels for a fraction of the examples."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

from llt_core.interfaces import (
    DataPerturbation,
    Modality,
    RequestError,
    Splits,
    TaskDescription,
    TensorExamples,
    parameter,
)
from llt_plugins.perturbations.splits import draw_base, missing_split, split_generator

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class LabelNoise(DataPerturbation):
    """Give a fraction p of the examples a uniformly random label (Yang et al. 2021, section 2).

    An example is hit where ``rand ≤ p``; its new label is uniform over all classes,
    *including the true one*, so that about p·(1 − 1/classes) of the labels change. For one
    seed the hit examples of a smaller p are among those of a larger p, and the new label of
    an example does not depend on p. The noise of a split does not depend on which other
    splits are changed.
    """

    summary: ClassVar[str] = "Give a fraction of the training examples a uniformly random label"
    accepts: ClassVar[frozenset[Modality]] = frozenset({"image"})

    fraction: float = parameter(
        ge=0, le=1, description="Fraction p of the examples that get a random label"
    )
    splits: tuple[str, ...] = parameter(
        ("train",), min_length=1, description="Splits whose labels are changed"
    )

    @property
    def strength(self) -> float:
        """Return the fraction p."""
        return self.fraction

    @classmethod
    def minimal(cls) -> Self:
        """Return noise on half of the training examples."""
        return cls(fraction=0.5)

    def refuses(self, task: TaskDescription) -> str | None:
        """Refuse splits that the task does not have."""
        return missing_split(self.splits, task) or super().refuses(task)

    def apply(self, subject: Splits, generator: torch.Generator) -> Splits:
        """Return the splits with new label tensors; inputs are shared with ``subject``."""
        base = draw_base(generator)
        changed = dict(subject)
        for split in self.splits:
            examples = subject.get(split)
            if not isinstance(examples, TensorExamples) or examples.classes < 1:
                raise RequestError(
                    f"the labels of the split {split!r} cannot be changed",
                    expected="a split with class labels and a known number of classes",
                )
            if self.fraction > 0:  # rand can be exactly 0, and 0 means no change
                noisy = self._noisy(examples, split_generator(base, split))
                changed[split] = examples.with_targets(noisy)
        return changed

    def _noisy(self, examples: TensorExamples, generator: torch.Generator) -> Tensor:
        """Return labels of shape ``(N,)``, drawn in full whatever the fraction is."""
        import torch

        n, targets = len(examples), examples.targets
        hit = torch.rand(n, generator=generator, dtype=torch.float64) <= self.fraction
        labels = torch.randint(examples.classes, (n,), generator=generator, dtype=targets.dtype)
        return torch.where(hit.to(targets.device), labels.to(targets.device), targets)
