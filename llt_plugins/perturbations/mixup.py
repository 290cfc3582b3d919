"""Mixtures of two images, and of the losses of their labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from llt_core.interfaces import Batch, MixedBatch, Modality, TrainingPerturbation, parameter
from llt_plugins.perturbations.batches import images_of

if TYPE_CHECKING:
    import torch


class Mixup(TrainingPerturbation):
    """Mix every image of a batch with another one, and the losses alike (Zhang et al. 2018).

    One λ ~ Beta(α, α) is drawn for each batch, and a permutation of it: inputs become
    ``λ x + (1 − λ) x'`` and the loss ``λ · loss(y) + (1 − λ) · loss(y')``, which for
    cross-entropy is the loss of mixed targets. The larger share is called λ, which changes
    nothing but who of the two is named first; training accuracy counts its label.
    """

    summary: ClassVar[str] = "Train on mixtures of two images, with the losses mixed alike"
    accepts: ClassVar[frozenset[Modality]] = frozenset({"image"})

    alpha: float = parameter(
        1.0, ge=0, description="α of the Beta distribution; 1 is uniform, large ones halve"
    )

    @property
    def strength(self) -> float:
        """Return α; 0 means that no image is mixed."""
        return self.alpha

    def apply(self, subject: Batch, generator: torch.Generator) -> Batch:
        """Return the batch with mixed images and two targets for each."""
        import numpy as np
        import torch

        if self.alpha == 0:
            return subject
        images = images_of(subject)
        # torch draws no Beta variable from a given generator. RandomState is frozen: the same
        # numbers in every version of NumPy.
        seed = int(torch.randint(2**32, (), generator=generator))
        drawn = float(np.random.RandomState(seed).beta(self.alpha, self.alpha))
        share = max(drawn, 1.0 - drawn)
        partners = torch.randperm(len(images), generator=generator).to(images.device)
        before = subject.mixture if isinstance(subject, MixedBatch) else ((1.0, subject.targets),)
        mixture = [(share * part, targets) for part, targets in before]
        mixture += [((1.0 - share) * part, targets[partners]) for part, targets in before]
        return MixedBatch(
            torch.lerp(images, images[partners], 1.0 - share),
            subject.targets,
            subject.weight,
            subject.extra,
            tuple(mixture),
        )
