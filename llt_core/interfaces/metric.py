"""The contract of a metric."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from llt_core.interfaces.component import Component
from llt_core.interfaces.context import MeasureContext
from llt_core.interfaces.description import Modality, TaskDescription
from llt_core.interfaces.values import Measurement, Quantity
from llt_core.kinds import Kind

Scope = Literal["model", "pair", "set"]
"""How many trained models one measurement reads: one, two, or all K of a cell."""


class Needs(BaseModel):
    """What a metric needs from its surroundings.

    Attributes
    ----------
    splits
        Splits it reads; empty when it looks at weights alone.
    second_order
        Whether it differentiates twice (rules out some kernels).
    modalities
        Kinds of task it works on; None for any.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    splits: tuple[str, ...] = ()
    second_order: bool = False
    modalities: frozenset[Modality] | None = None


class Metric(Component):
    """A number (or a few) computed from trained models.

    A metric leaves parameters, buffers, training mode, gradients and the global random
    state as it found them, and writes no files: curves and spectra go into
    ``Measurement.arrays``. Of one that leaves a model changed no measurement is
    kept. Randomness comes from ``context.generator()``.

    Examples
    --------
    >>> class WeightNorm(Metric):
    ...     summary = "Euclidean norm of all trainable parameters"
    ...     scope = "model"
    ...     returns = (Quantity(name="weight_norm", unit="", description="‖θ‖₂"),)
    ...
    ...     def measure(self, context):
    ...         weights = [p.detach().double() for p in context.model.parameters()]
    ...         squares = sum(float(p.square().sum()) for p in weights)
    ...         return [Measurement(name="weight_norm", value=squares**0.5, standard_error=0.0)]
    """

    kind: ClassVar[Kind] = "metric"
    scope: ClassVar[Scope] = "model"
    needs: ClassVar[Needs] = Needs()
    returns: ClassVar[tuple[Quantity, ...]]

    @abstractmethod
    def measure(self, context: MeasureContext) -> list[Measurement]:
        """Measure ``context.models`` and return one :class:`Measurement` per quantity."""

    def cost(self, task: TaskDescription) -> float:
        """Return a rough cost, in forward passes over the whole training split."""
        return 1.0

    def splits(self) -> tuple[str, ...]:
        """Return the splits this instance reads; override when a parameter chooses."""
        return self.needs.splits

    def second_order(self) -> bool:
        """Whether this instance differentiates twice; override when a parameter chooses."""
        return self.needs.second_order

    def refuses(self, task: TaskDescription) -> str | None:
        """Refuse modalities outside ``needs.modalities`` and splits the task lacks."""
        if self.needs.modalities is not None and task.modality not in self.needs.modalities:
            return (
                f"it measures {' or '.join(sorted(self.needs.modalities))} tasks, "
                f"but the task gives {task.modality}"
            )
        for split in self.splits():
            if split not in task.splits:
                return f"it reads the split {split!r}, but the task has {', '.join(task.splits)}"
        return None
