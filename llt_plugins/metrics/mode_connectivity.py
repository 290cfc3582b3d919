"""What lies on a trained curve between two models."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Self

from llt_core.interfaces import (
    Batch,
    MeasureContext,
    Measurement,
    TaskDescription,
    parameter,
)
from llt_plugins.metrics.connectivity import Connectivity
from llt_plugins.metrics.connectivity_results import quantities
from llt_plugins.metrics.statuses import nothing

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from llt_plugins.curvature.types import WeightedLoss
    from llt_plugins.paths.curves import Path
    from llt_plugins.paths.training import TrainedPath


class ModeConnectivity(Connectivity):
    """Mode connectivity: error along a curve between two models that was trained to be low.

    A quadratic Bézier curve γ between the models (Garipov et al. 2018) is trained by SGD on
    the loss at random points of it. With L the train error in percent and E the mean of L
    over the two ends, ``mc = E − L(γ(t*))``, where t* is the point farthest from E (Yang et
    al. 2021, section 2). mc < 0: even a trained curve has a barrier, the pair is poorly
    connected. mc ≈ 0: well connected. mc > 0: the curve finds lower error than its ends, which
    have not converged. The same is given for the train loss and on the test split, with
    barrier, dip and peak: mc alone jumps in sign where two extremes are about equally far
    from E, and the ends count as points, so that between unequal ends it is never nearer to
    zero than half their difference (negative where the path stays between them).

    On the train split the numbers are exact for this curve. On the test split the standard
    error is that of paired differences over examples, unknown where these are all equal.
    Neither contains the randomness of curve training, the choice of t*, or that ``points``
    is a grid: measure several pairs for that. Of texts, loss and error are means over target
    tokens, given the true ones before them, and the error of the differences counts sentences.
    With ``translated``, BLEU of greedy translations at each point is in the array ``test_bleu``,
    with its bootstrap error (Koehn 2004) in ``test_bleu_se``.

    Cost: ``epochs`` of training, then two passes over the data for each point. A barrier is
    an upper bound: longer training or more ``bends`` may remove it, and at a fixed number of
    epochs a smaller training split gets fewer steps (the reference takes
    ``int(10/s) · 5`` epochs for a fraction s of the data). ``bend_init = "random"`` is what
    the paper's code does; it starts far from the ends and needs more training than the
    straight line. Batch-norm statistics are estimated anew at each point, the ends included,
    so ``details`` gives the ends as stored and as re-estimated. Batch norm and dropout are in
    training mode while the curve is trained.

    The inner control points are kept in the array ``bends``, float32 of shape
    ``(bends − 2, P)`` in the order of ``named_parameters()``;
    ``llt_plugins.paths.curves.Path(first, second, bends)`` is the curve again (with
    ``align``, the second model permuted by ``llt_plugins.paths.alignment.align``).
    """

    summary = "Error along a trained Bézier curve between two models, against its ends"
    name = "mode_connectivity"
    returns = quantities("mode_connectivity")

    points: int = parameter(
        5, ge=3, description="Number of evenly spaced points, both ends included", unit="points"
    )
    curve: Literal["bezier", "polygon"] = parameter(
        "bezier", description="Bézier curve or polygonal chain through the control points"
    )
    bends: int = parameter(
        3,
        ge=2,
        description="Number of control points, the two fixed ends included; 2 is the "
        "untrained straight line",
        unit="points",
    )
    bend_init: Literal["linear", "random"] = parameter(
        "linear",
        description="Where the inner control points start: evenly on the straight line, or at "
        "random initialisations of the architecture, as in the paper's code",
    )
    epochs: int = parameter(
        50, ge=1, description="Passes over the training split that train the curve", unit="epochs"
    )
    learning_rate: float = parameter(
        0.01,
        gt=0,
        description="Learning rate until half of the epochs; then it falls linearly to a "
        "hundredth at 90 % of them",
    )
    momentum: float = parameter(0.9, ge=0, lt=1, description="Momentum of curve training")
    weight_decay: float = parameter(
        5e-4, ge=0, description="Curve training adds half of this times ‖γ(t)‖² to the loss"
    )

    @classmethod
    def minimal(cls) -> Self:
        """Return an instance that takes a moment: 1 epoch, 3 points."""
        return cls(epochs=1, points=3, batch_norm=1)

    def cost(self, task: TaskDescription) -> float:
        """Return the passes over the training split, a step of training counted as three."""
        trained = 3.0 * self.epochs if self.bends > 2 else 0.0
        return trained + self.points * (1.2 if self.batch_norm == "none" else 2.2)

    def measure(self, context: MeasureContext) -> list[Measurement]:
        """Return all quantities; loss and error at every point are arrays of the first one."""
        import numpy as np

        from llt_plugins.paths.curves import Path

        if (without := self.without_path(context)) is not None:
            return without
        path = Path(*self.ends(context), kind=self.curve)
        details: dict[str, Any] = {"curve": self.curve, "bends": self.bends}
        arrays: dict[str, Any] = {}
        done, total = 0, self.points
        if self.bends > 2:
            # An epoch of training costs about as much as the two passes of a point.
            done, total = self.epochs, self.epochs + self.points
            trained = self._train(context, path, total)
            if trained.stopped == "not_finite":
                return nothing(
                    self.returns,
                    "not_finite",
                    f"curve training gave a loss that is not finite in epoch {len(trained.losses)}",
                )
            path = trained.path
            arrays = {
                "bends": path.inner.float().cpu().numpy(),
                "epoch": np.arange(1, len(trained.losses) + 1, dtype=float),
                "training_loss": trained.losses,
            }
            details |= {"bend_init": self.bend_init, "epochs": self.epochs}

        def report(point: int, points: int) -> None:
            context.report(done + point, total)

        return self.evaluated(context, path, details, arrays, report)

    def _train(self, context: MeasureContext, path: Path, total: int) -> TrainedPath:
        from llt_plugins.paths.initial import random_points
        from llt_plugins.paths.training import train_path

        generator = context.generator()
        if self.bend_init == "random":
            inner = random_points(context.models[0], self.bends - 2, generator)
        else:
            inner = path.straight(self.bends)
        return train_path(
            path.through(inner),
            partial(self._epoch, context),
            generator,
            epochs=self.epochs,
            learning_rate=self.learning_rate,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            report=lambda epoch, epochs: context.report(epoch, total),
        )

    def _epoch(self, context: MeasureContext, generator: torch.Generator) -> Iterator[WeightedLoss]:
        def loss(model: nn.Module, batch: Batch) -> Tensor:
            return context.loss(model, batch)

        for batch in self.minibatches(context, generator):
            yield float(batch.weight), partial(loss, batch=batch)
