"""Perturbations at work: those of one stage, in their order, each with its own generator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from llt_core.interfaces import Batch, MixedBatch, Perturbation, Stage, Task
from llt_core.interfaces.contracts import perturbed_by
from llt_core.work.seeding import seed_from

Subject = TypeVar("Subject")

NamedPerturbation = tuple[str, Perturbation]
"""A perturbation with its qualified name, which seeds it."""


def at_stage(stage: Stage, perturbations: Sequence[NamedPerturbation]) -> list[NamedPerturbation]:
    """Return those that act at ``stage``, in the order given."""
    return [named for named in perturbations if named[1].stage == stage]


def perturbed(
    stage: Stage, perturbations: Sequence[NamedPerturbation], subject: Subject
) -> Subject:
    """Apply those of ``stage`` to ``subject``, once, in the order given.

    The generator of each follows from its name and its own seed alone, so that all models
    and all strengths see nested versions of one draw.
    """
    for name, perturbation in at_stage(stage, perturbations):
        seed = seed_from("perturbation", name, perturbation.seed)
        result = perturbation.apply(subject, torch.Generator().manual_seed(seed))
        subject = perturbed_by(perturbation, subject, result)
    return subject


@dataclass(frozen=True)
class BatchChange:
    """What one perturbation does to the batches of one training; each call draws anew."""

    perturbation: Perturbation
    generator: torch.Generator

    def __call__(self, batch: Batch) -> Batch:
        """Return the changed batch."""
        result = self.perturbation.apply(batch, self.generator)
        changed: Batch = perturbed_by(self.perturbation, batch, result)
        return changed


def batch_changes(perturbations: Sequence[NamedPerturbation], seed: int) -> list[BatchChange]:
    """Return what those of the training stage do to a batch; each call draws anew.

    ``seed`` is that of the model's training: batches come in another order for each model, so
    there is nothing to share between them.
    """
    changes = []
    for place, (name, perturbation) in enumerate(at_stage("training", perturbations)):
        own = seed_from("perturbation", name, perturbation.seed, seed, place)
        changes.append(BatchChange(perturbation, torch.Generator().manual_seed(own)))
    return changes


def mixed_loss(task: Task, outputs: Any, batch: Batch) -> Tensor:
    """Return the loss of ``batch``, mixed where its examples have several targets."""
    if not isinstance(batch, MixedBatch):
        return task.loss(outputs, batch)
    losses = [
        share * task.loss(outputs, replace(batch, targets=targets))
        for share, targets in batch.mixture
    ]
    return torch.stack(losses).sum()
