"""The contract of a perturbation: a seeded change of the data, of each batch, or of the weights."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from llt_core.interfaces.component import Component, parameter
from llt_core.interfaces.description import Modality, TaskDescription
from llt_core.interfaces.examples import Examples
from llt_core.interfaces.values import Batch
from llt_core.kinds import Kind

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

Stage = Literal["data", "training", "weights"]
"""When a perturbation acts: once on the splits before training, on every training batch, or
once on the trained model."""

Splits = Mapping[str, Examples]


class Perturbation(Component):
    """A change whose *strength* is an axis of a sweep; subclass the class of its stage.

    :class:`DataPerturbation` changes the splits, :class:`TrainingPerturbation` every training
    batch, :class:`WeightPerturbation` the trained model. ``apply`` never changes its subject in
    place, and strength zero means no change. Within a stage, perturbations compose in the order
    in which they are given.

    The generator depends on the perturbation's name and its own ``seed``, never on the
    strength, so that changes of different strengths can be nested. All models of a cell see the
    same perturbed data and the same change of their weights; the batches of each are perturbed
    by draws of its own, because they come in an order of its own.
    """

    kind: ClassVar[Kind] = "perturbation"
    stage: ClassVar[Stage]
    accepts: ClassVar[frozenset[Modality]] = frozenset({"image"})
    """The modalities it works on: images, unless it says otherwise."""
    axis: ClassVar[Literal["load", "temperature"]]
    """Whether strength works like load (how much the model must carry, and with how much) or
    like temperature (how noisy training, or its result, is)."""

    seed: int = parameter(0, ge=0, description="Seed of the perturbation, shared by all models")

    @property
    @abstractmethod
    def strength(self) -> float:
        """How strong the change is; 0 means none."""

    @abstractmethod
    def apply(self, subject: Any, generator: torch.Generator) -> Any:
        """Return the perturbed subject; ``subject`` itself stays as it was.

        Draw from ``generator``, which lives on the CPU, and from nothing else.
        """

    def refuses(self, task: TaskDescription) -> str | None:
        """Refuse modalities that are not accepted."""
        if task.modality not in self.accepts:
            return (
                f"it works on {' or '.join(sorted(self.accepts))} tasks, "
                f"but this is one of {task.modality}"
            )
        return None


class DataPerturbation(Perturbation):
    """Changes the splits, once, before training; metrics see the changed splits too."""

    stage: ClassVar[Stage] = "data"
    axis: ClassVar[Literal["load", "temperature"]] = "load"

    @abstractmethod
    def apply(self, subject: Splits, generator: torch.Generator) -> Splits:
        """Return the perturbed splits, under the same names."""


class TrainingPerturbation(Perturbation):
    """Changes every training batch; the splits that metrics read stay as they are."""

    stage: ClassVar[Stage] = "training"
    axis: ClassVar[Literal["load", "temperature"]] = "temperature"

    @abstractmethod
    def apply(self, subject: Batch, generator: torch.Generator) -> Batch:
        """Return the perturbed batch, called anew for each step of training.

        Use :func:`dataclasses.replace`, which keeps what other perturbations have added.
        Inputs are those of :meth:`Examples.batch`, normalised; a tensor of images is
        ``(B, C, H, W)`` and may be on any device.
        """


class WeightPerturbation(Perturbation):
    """Changes the trained model, once; the changed model is the result of the cell."""

    stage: ClassVar[Stage] = "weights"
    axis: ClassVar[Literal["load", "temperature"]] = "load"
    accepts: ClassVar[frozenset[Modality]] = frozenset({"image", "text"})

    @abstractmethod
    def apply(self, subject: nn.Module, generator: torch.Generator) -> nn.Module:
        """Return a changed copy of the model (on the CPU), with the same parameters by name."""


@dataclass(frozen=True, slots=True)
class MixedBatch(Batch):
    """A training batch of which every example has several targets, each with a share.

    Attributes
    ----------
    mixture
        Shares λ, adding up to one, and targets. The loss is ``Σ λ · task.loss(outputs, batch)``
        over the batch with each of the targets: mixed losses, so that a task needs no soft
        targets (and the same number where its loss is linear in them, as cross-entropy is).
    targets
        Those of the largest share: what counts as correct in the training history.
    """

    mixture: tuple[tuple[float, Tensor], ...] = ()
