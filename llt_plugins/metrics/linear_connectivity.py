"""What lies on the straight line between two models."""

from __future__ import annotations

from typing import Self

from llt_core.interfaces import MeasureContext, Measurement, TaskDescription, parameter
from llt_plugins.metrics.connectivity import Connectivity
from llt_plugins.metrics.connectivity_results import quantities


class LinearConnectivity(Connectivity):
    """Connectivity along the straight line between two models, without any training.

    With L the train error in percent, ``(1 − t) θ + t θ'`` the line and E the mean of L over
    its two ends, the value is ``E − L(t*)``, t* the point where L is farthest from E (Yang et
    al. 2021, section 2, on the line instead of a curve). Negative: a barrier (Frankle et al.
    2020 call its size the error barrier or instability). About zero: linearly connected.
    Positive: the line passes through lower error than its ends. The same is given for the
    train loss and on the test split, with barrier, dip and peak, which unlike the main value
    do not jump when two extremes are about equally far from E.

    Models trained from different initialisations nearly always have a barrier here, part of
    it only because their units are ordered differently: ``align = "weights"`` permutes the
    units of the second model first (Ainsworth, Hayase and Srinivasa 2022). That works for
    chains of layers and residual networks, and finds a local optimum; networks whose layers
    cannot be followed are refused.

    On the train split the numbers are exact for that split. On the test split the standard
    error is that of paired differences over examples, unknown where these are all equal;
    neither the choice of t* nor the grid is part of it. Of texts, loss and error are means over
    target tokens, given the true ones before them, and the error of the differences counts
    sentences. A narrow barrier between two points is missed: take more ``points``. With
    ``translated``, BLEU of greedy translations at each point is in the array ``test_bleu``,
    with its bootstrap error (Koehn 2004) in ``test_bleu_se``.

    Cost: for each point a pass over the training split to estimate batch-norm statistics
    (none without batch norm) and one over both splits. The ends are computed once for all
    pairs a model is part of. Interpolated statistics (``batch_norm = "none"``) show barriers
    that are an artefact of batch norm; statistics estimated anew change the ends a little
    too, so ``details`` gives the ends as stored and as re-estimated.
    """

    summary = "Error along the straight line between two models, against its ends"
    name = "linear_connectivity"
    returns = quantities("linear_connectivity")

    points: int = parameter(
        11, ge=3, description="Number of evenly spaced points, both ends included", unit="points"
    )

    @classmethod
    def minimal(cls) -> Self:
        """Return an instance that takes a moment: 3 points, 1 minibatch for batch norm."""
        return cls(points=3, batch_norm=1)

    def cost(self, task: TaskDescription) -> float:
        """Return the passes over the training split, the test split counted as a fifth."""
        return self.points * (1.2 if self.batch_norm == "none" else 2.2)

    def measure(self, context: MeasureContext) -> list[Measurement]:
        """Return all quantities; loss and error at every point are arrays of the first one."""
        from llt_plugins.paths.curves import Path

        if (without := self.without_path(context)) is not None:
            return without
        return self.evaluated(context, Path(*self.ends(context)), {}, {}, context.report)
