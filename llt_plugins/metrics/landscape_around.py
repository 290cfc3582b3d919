"""What lines and planes through one model share: the directions they go in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import field_validator

from llt_core.interfaces import MeasureContext, Measurement, Needs, Status, parameter
from llt_plugins.metrics.landscape import Landscape
from llt_plugins.metrics.second_order import SecondOrder

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Chosen:
    """Directions as rows ``(D, P)``, and for eigenvectors their eigenvalues ``(D,)``."""

    vectors: Tensor
    eigenvalues: list[float] = field(default_factory=list)
    status: Status = "ok"


class AroundModel(Landscape, SecondOrder):
    """A metric of the loss along directions from one model: random ones or eigenvectors.

    Eigenvectors come of the same operator and Lanczos steps as the metrics of second order.
    """

    needs: ClassVar[Needs] = Landscape.needs

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

    def choose(self, context: MeasureContext, count: int) -> Chosen | list[Measurement]:
        """Return ``count`` directions, or the answer where there are none."""
        import torch

        from llt_plugins.surfaces.directions import leading_eigenvectors, random_direction

        if self.directions == "hessian":
            krylov = self.shared(context).krylov(count)
            found = leading_eigenvectors(krylov, count, report=context.report)
            if found.stopped == "not_finite":
                return self.nothing("not_finite", "the Hessian has products that are not finite")
            status: Status = "limit" if found.stopped == "limit" else "ok"
            return Chosen(found.vectors, found.values.tolist(), status)
        generator = context.generator()
        kind = "none" if self.directions == "random" else self.directions
        draws = [
            random_direction(context.model, generator, normalisation=kind, biases=self.biases)
            for _ in range(count)
        ]
        vectors = torch.stack(draws)
        if not vectors.any(dim=1).all():
            reason = (
                f"the {self.directions} directions have length zero: no weight that is not zero"
            )
            return self.nothing("undefined", f"{reason} would move")
        return Chosen(vectors)

    def facts(self, context: MeasureContext) -> dict[str, Any]:
        """Return the details that all measurements give."""
        return super().facts(context) | {"directions": self.directions, "radius": self.radius}
