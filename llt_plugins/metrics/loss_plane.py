"""The loss over the plane through three models."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import field_validator

from llt_core.interfaces import (
    MeasureContext,
    Measurement,
    Quantity,
    TaskDescription,
    parameter,
)
from llt_plugins.metrics.landscape import Landscape
from llt_plugins.metrics.loss_surface import surface_figures
from llt_plugins.metrics.statuses import broken_weights, name_of

if TYPE_CHECKING:
    from torch import Tensor, nn

    from llt_plugins.surfaces.plane import Plane


class LossPlane(Landscape):
    """Loss over the plane through three trained models (Garipov et al. 2018, figure 1).

    **Definition.** ``loss_plane_barrier`` is the loss at the centroid of the three models
    minus the mean of their losses: positive when they lie in separate basins, about zero
    when one basin holds them all. All parameters move, frozen ones that differ too. The
    statistics of batch norm are re-estimated at every point, the corners included, from
    the same samples; ``arrays["corner_loss_stored"]`` has the models as they were stored.

    **Error.** That of the choice of samples.

    **Arrays.** ``x`` (N,), ``y`` (N,) in units of Euclidean distance between parameters from
    the first model, ``loss`` and ``error_percent`` (N, N) with y down the rows, ``corners``
    (3, 2) the coordinates of the models, ``corner_loss`` and ``corner_loss_stored`` (3,).
    The grid reaches beyond the models by ``margin`` of the extent.

    **Cost.** ``points² + 7`` forward passes over the samples, each with one over the
    samples that re-estimate batch norm.

    **Pitfalls.** It needs a cell of three models or more and takes three of them.
    Permuting the hidden units of a model leaves its function and moves it elsewhere, so a
    barrier does not prove that basins are separate. With ``batch_norm="stored"`` the first
    model's statistics hold everywhere, and the other corners are not the models.
    """

    scope = "set"
    summary = "Loss over the plane through three models, and the barrier at their centroid"
    returns = (
        Quantity(
            name="loss_plane_barrier",
            unit="nats",
            description="Loss at the centroid of three models minus the mean of their losses",
            direction="lower",
        ),
    )

    batch_norm: Literal["stored", "recalibrate"] = parameter(
        "recalibrate",
        description="Statistics of batch norm: re-estimated from the training split at every "
        "point, or those the first model has stored",
    )
    models: tuple[int, int, int] = parameter(
        (0, 1, 2), description="Which models of the cell are the corners, counted from 0"
    )
    margin: float = parameter(
        0.25, ge=0, description="How far the grid reaches beyond the models, in its extents"
    )
    points: int = parameter(
        21, ge=2, description="Points along each of the two axes", unit="points"
    )

    @field_validator("models")
    @classmethod
    def _three_of_them(cls, models: tuple[int, int, int]) -> tuple[int, int, int]:
        if min(models) < 0 or any(a == b for a, b in pairwise(sorted(models))):
            raise ValueError(f"models is {list(models)}, expected three different numbers from 0")
        return models

    @classmethod
    def minimal(cls) -> Self:
        """Return an instance that takes a moment: 16 samples, 2 × 2 points."""
        return cls(samples=16, recalibration_samples=16, points=2)

    def cost(self, task: TaskDescription) -> float:
        """Return the cost of all points."""
        return self.points_cost(self.points**2 + 7)

    def compute(self, context: MeasureContext) -> list[Measurement]:
        """Return the barrier, with the surface in ``arrays["loss"]``."""
        from llt_plugins.surfaces.parameters import flatten
        from llt_plugins.surfaces.plane import plane_through

        copies = [self._movable(context.models[index]) for index in self.models]
        try:
            plane = plane_through(*map(flatten, copies))
        except ValueError as error:
            return self.nothing("undefined", str(error))
        return [self._result(context, copies, plane)]

    def unmeasurable(self, context: MeasureContext) -> list[Measurement] | None:
        """Return the answer for models that span no plane."""
        from llt_plugins.paths.vectors import refuse_mismatch

        if len(context.models) <= max(self.models):
            reason = (
                f"the cell has {len(context.models)} models, but model {max(self.models)} "
                "(counted from 0) is to be a corner of the plane"
            )
            return self.nothing("undefined", reason)
        first, *others = self.models
        for other in others:
            try:
                refuse_mismatch(
                    context.models[first],
                    context.models[other],
                    names=(name_of(context, first), name_of(context, other)),
                )
            except ValueError as error:
                return self.nothing("undefined", str(error))
        if (broken := broken_weights(context, self.models)) is not None:
            return self.nothing("not_finite", broken)
        if not any(True for _ in context.models[first].parameters()):
            return self.nothing("undefined", "the models have no parameters")
        return None

    def _movable(self, model: nn.Module) -> nn.Module:
        """Return a copy of which every parameter belongs to the plane."""
        from llt_plugins.curvature.operators.copies import evaluation_copy

        return evaluation_copy(model, self.torch_dtype()).requires_grad_()

    def _result(
        self, context: MeasureContext, copies: list[nn.Module], plane: Plane
    ) -> Measurement:
        import torch

        from llt_plugins.surfaces.evaluation import grid

        x, y = (self._axis(plane.corners[:, k]) for k in (0, 1))
        special = torch.cat([plane.corners.mean(dim=0, keepdim=True), plane.corners])
        points = torch.cat([special, grid(x, y)])
        contrast = points.new_zeros(1, len(points))
        contrast[0, :4] = points.new_tensor([1.0, -1 / 3, -1 / 3, -1 / 3])
        found = self.cut(context, copies[0], plane.origin, plane.directions, points, contrast)
        barrier = found.contrasts[0, 0]
        error, kind = self.sampling_error(barrier, context)
        losses = found.means[:, 0].numpy()
        means = found.means[4:].view(self.points, self.points, 2).numpy()
        quantity, value = self.returns[0], float(barrier.mean())
        return Measurement(
            name=quantity.name,
            value=value,
            standard_error=error,
            unit=quantity.unit,
            n=len(barrier),
            counted=context.counted,
            details=self.facts(context)
            | self.why_not(value, losses)
            | {"models": list(self.models), "error_kind": kind},
            arrays={
                "x": x.numpy(),
                "y": y.numpy(),
                "loss": means[..., 0].copy(),
                "error_percent": means[..., 1].copy(),
                "corners": plane.corners.numpy(),
                "corner_loss": losses[1:4].copy(),
                "corner_loss_stored": self._stored(context, copies, plane.directions),
            },
            figures=surface_figures(
                self.split, "distance towards the second model", "distance across"
            ),
        )

    def _axis(self, corners: Tensor) -> Tensor:
        """Return the coordinates of one axis, beyond ``corners`` ``(3,)`` on both sides."""
        import torch

        low, high = float(corners.min()), float(corners.max())
        beyond = self.margin * (high - low)
        return torch.linspace(low - beyond, high + beyond, self.points, dtype=torch.float64)

    def _stored(self, context: MeasureContext, copies: list[nn.Module], directions: Tensor) -> Any:
        """Return the losses of the three models with the statistics they came with."""
        import numpy as np
        import torch

        from llt_plugins.surfaces.parameters import flatten

        here = torch.zeros(1, 2, dtype=torch.float64)
        return np.asarray(
            [
                self.cut(
                    context, model, flatten(model), directions, here, recalibrated=False
                ).means[0, 0]
                for model in copies
            ]
        )
