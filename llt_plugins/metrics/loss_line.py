"""The loss along straight lines through a model."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Self

from llt_core.interfaces import (
    Figure,
    MeasureContext,
    Measurement,
    Quantity,
    TaskDescription,
    parameter,
)
from llt_plugins.metrics.landscape_around import AroundModel, Chosen

if TYPE_CHECKING:
    from torch import Tensor


class LossLine(AroundModel):
    """Loss along lines ``θ + a·d`` through a model, a from −radius to radius.

    **Definition.** ``loss_line_rise`` is ``½(L(θ + r d) + L(θ − r d)) − L(θ)`` at the radius
    r, and ``loss_line_curvature`` the second difference ``(L(h) − 2 L(0) + L(−h)) / h²`` of
    the points next to the model, both averaged over the directions. Directions are Gaussian,
    every filter scaled to the norm of the same filter of θ, biases and the parameters of
    normalisations kept (Li, Xu, Taylor, Studer and Goldstein 2018): a = 1 then moves every
    filter by its own length, and models of different scale can be compared. ``random`` leaves
    the scaling out, so a = 1 moves every weight by about 1. ``hessian`` is the leading
    eigenvector, of unit length, of the Hessian of the same loss (its sign is a convention:
    the largest entry is positive).

    **Error.** With several directions, the standard error of the mean over them, for these
    samples; with one, that of the choice of samples, for this direction.

    **Arrays.** ``position`` (N,), ``loss`` and ``error_percent`` (N,) averaged over
    directions, ``loss_error`` (N,), and ``losses`` (D, N) of every direction.

    **Cost.** ``points · directions_count`` forward passes over the samples; with ``hessian``
    about 15 products of the Hessian more.

    **Pitfalls.** A random direction is nearly orthogonal to the few directions in which the
    loss curves most: lines look flatter than the top eigenvalue says. Where all weights that
    a direction scales with are zero, it has no length and the value is undefined. With the stored
    statistics of batch norm much of the rise at radius 1 is activations that no longer fit
    them. The curvature is that of a finite step: for a smaller one take a smaller radius or
    more points, and float64 where the loss is nearly flat.
    """

    summary = "Loss along random or Hessian directions: rise at a radius, curvature, curve"
    version = 2
    returns = (
        Quantity(
            name="loss_line_rise",
            unit="nats",
            description="Mean rise of the loss from the model to both ends of a line",
            direction="lower",
        ),
        Quantity(
            name="loss_line_curvature",
            unit="nats",
            description="Second difference of the loss along a line at the model",
            direction="lower",
        ),
    )

    directions_count: int = parameter(
        5,
        ge=1,
        description="How many random directions; hessian takes the leading eigenvector alone",
        unit="directions",
    )

    @classmethod
    def minimal(cls) -> Self:
        """Return an instance that takes a moment: 16 samples, 2 directions, 3 points."""
        return cls(samples=16, directions_count=2, points=3)

    def cost(self, task: TaskDescription) -> float:
        """Return the cost of all points."""
        eigenvectors = int(self.directions == "hessian")
        return self.points_cost(1 + self._count * (self.points - 1), eigenvectors)

    @property
    def _count(self) -> int:
        return 1 if self.directions == "hessian" else self.directions_count

    def compute(self, context: MeasureContext) -> list[Measurement]:
        """Return rise and curvature; the curves lie beside the rise."""
        import torch

        from llt_plugins.surfaces.evaluation import steps
        from llt_plugins.surfaces.parameters import flatten

        model = context.model
        if isinstance(chosen := self.choose(context, self._count), list):
            return chosen
        count = len(chosen.vectors)
        position = steps(self.radius, self.points)
        half = self.points // 2
        moved = torch.cat([position[:half], position[half + 1 :]])
        # The model itself lies on every line, but is evaluated once.
        coordinates = torch.cat(
            [torch.zeros(1, count), torch.kron(torch.eye(count), moved[:, None])]
        ).double()
        places = torch.arange(1, len(coordinates)).view(count, -1)
        places = torch.cat([places[:, :half], places.new_zeros(count, 1), places[:, half:]], dim=1)
        contrasts = self._stencils(position)[:, None].expand(-1, count, -1)
        contrasts = torch.zeros(2, count, len(coordinates), dtype=torch.float64).scatter(
            2, places.expand(2, -1, -1), contrasts
        )
        found = self.cut(
            context, model, flatten(model), chosen.vectors, coordinates, contrasts.flatten(0, 1)
        )
        terms = found.contrasts[:, 0].view(2, count, -1)
        return self._results(context, position, found.means[places], terms, chosen)

    def _stencils(self, position: Tensor) -> Tensor:
        """Return how the points of a line weigh in its rise and in its curvature: ``(2, N)``."""
        half = self.points // 2
        rise, bend = stencils = position.new_zeros(2, self.points)
        rise[0] = rise[-1] = 0.5
        rise[half] = -1.0
        bend[half - 1 : half + 2] = position.new_tensor([1.0, -2.0, 1.0]) / position[half + 1] ** 2
        return stencils

    def _results(
        self,
        context: MeasureContext,
        position: Tensor,
        lines: Tensor,
        contrasts: Tensor,
        chosen: Chosen,
    ) -> list[Measurement]:
        """Return the measurements of ``lines`` ``(D, N, 2)`` and ``contrasts`` ``(2, D, T)``."""
        count, curves = len(lines), lines[..., 0]
        arrays = {
            "position": position.numpy(),
            "loss": curves.mean(dim=0).numpy(),
            "error_percent": lines[..., 1].mean(dim=0).numpy(),
            "losses": curves.numpy().copy(),
        }
        if count > 1:
            arrays["loss_error"] = curves.std(dim=0).numpy() / count**0.5
        more = {"eigenvalue": chosen.eigenvalues[0]} if chosen.eigenvalues else {}
        results = []
        for quantity, terms in zip(self.returns, contrasts, strict=True):
            error, kind = self._error(context, terms)
            value = float(terms.mean())
            results.append(
                Measurement(
                    name=quantity.name,
                    value=value,
                    standard_error=error,
                    unit=quantity.unit,
                    n=count,
                    counted="directions",
                    status=chosen.status if math.isfinite(value) else "not_finite",
                    details=self.facts(context)
                    | {"error_kind": kind}
                    | more
                    | self.why_not(value, curves.flatten()),
                    arrays=arrays if quantity is self.returns[0] else {},
                    figures=self._figures("loss_error" in arrays)
                    if quantity is self.returns[0]
                    else (),
                )
            )
        return results

    def _error(self, context: MeasureContext, terms: Tensor) -> tuple[float | None, str]:
        """Return the standard error of the mean of ``terms`` ``(D, T)``."""
        from llt_plugins.means import standard_error

        if len(terms) == 1:
            return self.sampling_error(terms[0], context)
        error = standard_error(terms.mean(dim=1))
        return error, "unknown" if error is None else "standard error over directions"

    def _figures(self, banded: bool) -> tuple[Figure, ...]:
        x_label = f"distance in units of the {self.directions} direction"
        return (
            Figure(
                kind="line",
                title="Loss along lines through the model",
                x="position",
                y=("loss",),
                band=("loss_error",) if banded else (),
                x_label=x_label,
                y_label=f"{self.split} loss (nats)",
            ),
            Figure(
                kind="line",
                title="Error along lines through the model",
                x="position",
                y=("error_percent",),
                x_label=x_label,
                y_label=f"{self.split} error (percent)",
            ),
        )
