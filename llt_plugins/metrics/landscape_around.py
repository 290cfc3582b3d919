"""What lines and planes through one model share: the directions they go in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from pydantic import field_validator

from llt_core.interfaces import MeasureContext, Status, parameter
from llt_plugins.metrics.landscape import Landscape

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Chosen:
    """Directions as rows ``(D, P)``, and for eigenvectors their eigenvalues ``(D,)``."""

    vectors: Tensor
    eigenvalues: list[float] = field(default_factory=list)
    status: Status = "ok"


class AroundModel(Landscape):
    """A metric of the loss along directions from one model: random ones or eigenvectors."""

    directions: Literal["filter", "layer", "random", "hessian"] = parameter(
        "filter",
        description="Gaussian directions with each filter or each layer scaled to its norm in "
        "the model, or unscaled; or leading eigenvectors of the Hessian",
    )
    biases: bool = parameter(
        False, description="Move biases and parameters of normalisations too (random directions)"
    )
    radius: float = parameter(
        1.0, gt=0, description="How far to go, in units of the direction's length"
    )
    points: int = parameter(
        21, ge=3, description="Points along each axis, an odd number", unit="points"
    )

    @field_validator("points")
    @classmethod
    def _odd(cls, points: int) -> int:
        if points % 2 == 0:
            raise ValueError("points must be odd, so that the one in the middle is the model")
        return points

    def second_order(self) -> bool:
        """Whether eigenvectors of the Hessian are asked for."""
        return self.directions == "hessian"

    def choose(self, context: MeasureContext, count: int) -> Chosen | None:
        """Return ``count`` directions; None if products of the Hessian are not finite."""
        import torch

        from llt_plugins.surfaces.directions import random_direction

        if self.directions == "hessian":
            found = self.eigenvectors(context, count)
            if found.stopped == "not_finite":
                return None
            status: Status = "limit" if found.stopped == "limit" else "ok"
            return Chosen(found.vectors, found.values.tolist(), status)
        generator = context.generator()
        kind = "none" if self.directions == "random" else self.directions
        draws = [
            random_direction(context.model, generator, normalisation=kind, biases=self.biases)
            for _ in range(count)
        ]
        return Chosen(torch.stack(draws))

    def facts(self, context: MeasureContext) -> dict[str, Any]:
        """Return the details that all measurements give."""
        return super().facts(context) | {"directions": self.directions, "radius": self.radius}
