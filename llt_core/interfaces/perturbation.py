"""The contract of a perturbation: a seeded change of the data a model is trained on."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from llt_core.interfaces.component import Component, parameter
from llt_core.interfaces.description import Modality, TaskDescription
from llt_core.interfaces.examples import Examples
from llt_core.kinds import Kind

if TYPE_CHECKING:
    import torch

Stage = Literal["data"]
"""When a perturbation acts. ``data``: once, on the splits in memory, before training."""

Splits = Mapping[str, Examples]


class Perturbation(Component):
    """A change whose *strength* is an axis of a sweep.

    ``apply`` never changes its subject in place, and strength zero means no change.
    Perturbations compose in the order in which they are given. All models of a cell see
    the same perturbed data: the generator depends on the perturbation's name and its own
    ``seed``, not on the model's seed and not on the strength, so that subsets and noise
    masks of different strengths are nested.
    """

    kind: ClassVar[Kind] = "perturbation"
    stage: ClassVar[Stage] = "data"
    accepts: ClassVar[frozenset[Modality]]
    axis: ClassVar[Literal["load", "temperature"]] = "load"

    seed: int = parameter(0, ge=0, description="Seed of the perturbation, shared by all models")

    @property
    @abstractmethod
    def strength(self) -> float:
        """How strong the change is; 0 means none."""

    @abstractmethod
    def apply(self, subject: Splits, generator: torch.Generator) -> Splits:
        """Return the perturbed splits; the subject stays as it was."""

    def refuses(self, task: TaskDescription) -> str | None:
        """Refuse modalities that are not accepted."""
        if task.modality not in self.accepts:
            return (
                f"it changes {' or '.join(sorted(self.accepts))} data, "
                f"but the task gives {task.modality}"
            )
        return None
