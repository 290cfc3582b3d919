"""What unmeasured cells are likely to be: a process for each quantity that the rule reads.

A quantity is bent first (:class:`Bend`), so that its order and its thresholds stay and what is
far from them weighs little: between a barrier of 20 % and one of 30 % there is no boundary.

Where training begins to succeed all else changes, often at once. So the training loss comes
first, and what its process expects is one more axis for each of the others whose measured values
it makes more probable. Given that, the processes are independent, and a phase is a set of boxes
between thresholds; so its probability is a sum of products of normal probabilities, exact and
without draws.

A measurement may tell no phase: training diverged, say. How likely it is to tell one is learnt by
one more process, as soon as one of the measured cells has none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from llt_core.analysis.phases import PHASES, UNDETERMINED, PhaseRule
from llt_core.analysis.process import Posterior, fit, scored
from llt_core.analysis.table import Axis, Floats, Mask

QUANTITIES = ("train_loss", "log_trace", "connectivity", "cka")
"""What a rule reads, the arguments of :meth:`PhaseRule.codes`."""
ENOUGH = 4
"""Flat cells from which CKA is learnt from them alone."""
ALONG = 0.3
"""Distance, in widths of the grid, that one deviation of the bent training loss counts as."""
FARTHEST = 8.0
"""Where bent values end; those of infinities lie here."""


def unit_cube(axes: Sequence[Axis]) -> Floats:
    """Return the rows' places, shape (N, d), each axis from 0 to 1.

    Numbers lie as on a plot, by their logarithms where the axis is logarithmic: 45 is no
    nearer to 64 for levels between being left out. Values that are no numbers, and those
    missing, lie in the order of the levels. Axes with one value are left out, unless all are.
    """
    columns = [column for column in map(_scaled, axes) if np.ptp(column) > 0]
    rows = len(axes[0].values) if axes else 0
    return np.stack(columns, axis=1) if columns else np.full((rows, 1), 0.5)


def _scaled(axis: Axis) -> Floats:
    numbers = axis.numbers
    if not np.isfinite(numbers).all():
        place = {value: index for index, value in enumerate(axis.levels)}
        numbers = np.array([place.get(value, -1) for value in axis.values], dtype=np.float64)
    elif axis.logarithmic:
        numbers = np.log(numbers)
    if not numbers.size:
        return numbers
    return np.asarray((numbers - numbers.min()) / (np.ptp(numbers) or 1.0))


@dataclass(frozen=True)
class Bend:
    """A monotone change of scale: asinh of the distance from the middle threshold, standardised.

    Attributes
    ----------
    logarithm
        Whether logarithms are taken first.
    middle, scale
        Where the change is steepest, and over what distance.
    mean, deviation
        Of the measured values after it; taken out.
    """

    logarithm: bool
    middle: float
    scale: float
    mean: float = 0.0
    deviation: float = 1.0

    @classmethod
    def of(cls, values: Floats, cuts: Floats, logarithm: bool) -> Bend:
        """Return the bend for measured ``values`` and the thresholds ``cuts``.

        The scale is half the distance of the outer thresholds where there are several, and
        the median distance of the values from a single one.
        """
        plain = cls(logarithm, 0.0, 1.0)
        edges, straight = plain._straight(cuts), plain._straight(values)
        middle = float(edges[len(edges) // 2])
        scale = float(np.ptp(edges)) / 2
        finite = straight[np.isfinite(straight)]
        if not scale and finite.size:
            scale = float(np.median(np.abs(finite - middle)))
        raw = cls(logarithm, middle, scale or 1.0)
        bent = raw(values)
        if not bent.size:
            return raw
        deviation = float(np.std(bent))
        return cls(
            logarithm, middle, scale or 1.0, float(np.mean(bent)),
            deviation if deviation > 1e-6 else 1.0,
        )  # fmt: skip

    def __call__(self, values: Floats) -> Floats:
        """Return the values on the new scale, whatever their shape."""
        bent = np.arcsinh((self._straight(values) - self.middle) / self.scale)
        return np.asarray((np.clip(bent, -FARTHEST, FARTHEST) - self.mean) / self.deviation)

    def _straight(self, values: Floats) -> Floats:
        if not self.logarithm:
            return values
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(np.where(values > 0, np.log(values), -np.inf))


@dataclass(frozen=True)
class Boxes:
    """The boxes between thresholds and the phase of each.

    Attributes
    ----------
    cuts
        The thresholds of each of the four quantities.
    phases
        For each box, one number a phase, 1 for its own: shape (boxes, 5). Boxes run over the
        intervals of the quantities as an array in C order does.
    """

    cuts: tuple[Floats, ...]
    phases: Floats

    @classmethod
    def of(cls, rule: PhaseRule) -> Boxes:
        """Return the boxes of a rule, every threshold of which is a number."""
        connectivity = (rule.poorly_connected, rule.sharp_connectivity, rule.unconverged)
        every = ((rule.train_loss,), (rule.log_trace,), connectivity, (rule.cka,))
        cuts = tuple(np.unique(np.array(values, dtype=np.float64)) for values in every)
        inside = [np.r_[c[0] - 1, (c[1:] + c[:-1]) / 2, c[-1] + 1] for c in cuts]
        codes = rule.codes(*np.meshgrid(*inside, indexing="ij")).ravel()
        return cls(cuts, (codes[:, None] == np.arange(len(PHASES))).astype(np.float64))

    def probabilities(
        self, means: Sequence[Floats], variances: Sequence[Floats], cuts: Sequence[Floats]
    ) -> Floats:
        """Return how likely each phase is, shape (…, 5).

        Means and variances are those of each quantity, shape (…), on the scale of ``cuts``;
        the variances may be of a shape that is broadcast to it.
        """
        boxes = np.ones((1, *means[0].shape))
        for mean, spread, edges in zip(means, variances, cuts, strict=True):
            parts = _intervals(mean, np.sqrt(spread), edges)
            boxes = (boxes[:, None] * parts).reshape(-1, *mean.shape)
        return np.moveaxis(np.tensordot(self.phases, boxes, (0, 0)), 0, -1)


def _intervals(mean: Floats, deviation: Floats, edges: Floats) -> Floats:
    """Return the probability of each interval between ``edges`` (k,), shape (k + 1, …)."""
    from scipy.special import ndtr

    below = ndtr((edges.reshape(-1, *[1] * mean.ndim) - mean) / deviation)
    return np.diff(below, axis=0, prepend=0.0, append=1.0)


@dataclass(frozen=True)
class Surrogate:
    """Four processes given the measured cells, over all N cells of a grid.

    Attributes
    ----------
    places
        Of all cells, for each quantity: shape (N, d), or (N, d + 1) if it follows the loss.
    marginals
        Mean and variance of each quantity at all cells, shape (N,) each.
    answers
        How likely a measurement of each cell is to tell a phase, shape (N,).
    cuts
        The thresholds of each quantity on its bent scale.
    """

    places: tuple[Floats, ...]
    boxes: Boxes
    bends: tuple[Bend, ...]
    posteriors: tuple[Posterior, ...]
    marginals: tuple[tuple[Floats, Floats], ...]
    answers: Floats
    cuts: tuple[Floats, ...]

    @classmethod
    def given(
        cls,
        places: Floats,
        facts: Mapping[str, Floats],
        measured: Mask,
        rule: PhaseRule | None = None,
    ) -> Surrogate:
        """Fit the processes to the measured cells.

        Parameters
        ----------
        facts
            The arguments of :meth:`PhaseRule.codes`, shape (N,) each. Only those of
            ``measured`` cells, shape (N,), are looked at, and of those the numbers.
        """
        seen = {name: facts[name][measured] for name in QUANTITIES}
        rule = (rule or PhaseRule()).resolved(seen)
        boxes = Boxes.of(rule)
        flat = (seen["train_loss"] < rule.train_loss) & (seen["log_trace"] < rule.log_trace)
        bends: list[Bend] = []
        posteriors: list[Posterior] = []
        marginals: list[tuple[Floats, Floats]] = []
        where: list[Floats] = []
        ways = [places]  # the second: along the training loss too
        for index, name in enumerate(QUANTITIES):
            known = ~np.isnan(seen[name])
            if name == "cka" and (known & flat).sum() >= ENOUGH:
                # It jumps where training begins to succeed, and is not asked for beyond.
                known &= flat
            values = seen[name][known]
            bend = Bend.of(values, boxes.cuts[index], logarithm=name == "train_loss")
            scores = [scored(at[measured][known], bend(values)) for at in ways]
            best = min(range(len(ways)), key=lambda way: scores[way][0])
            at, hyper = ways[best], scores[best][1]
            bends.append(bend)
            where.append(at)
            posteriors.append(Posterior(at[measured][known], bend(values), hyper))
            marginals.append(posteriors[-1].marginal(at))
            if index == 0:
                followed, _ = marginals[0]
                ways.append(np.column_stack([places, 0.5 + ALONG * followed]))
        cuts = tuple(bend(cut) for bend, cut in zip(bends, boxes.cuts, strict=True))
        answers = _answers(places, measured, rule.codes(**seen) != UNDETERMINED)
        return cls(
            tuple(where), boxes, tuple(bends), tuple(posteriors), tuple(marginals), answers, cuts
        )

    @property
    def noises(self) -> tuple[float, ...]:
        """The variance of the noise of each quantity."""
        return tuple(posterior.hyper.noise**2 for posterior in self.posteriors)

    def probabilities(self) -> Floats:
        """Return how likely each phase is where a measurement tells one, shape (N, 5)."""
        means, spreads = zip(*self.marginals, strict=True)
        noisy = [s + noise for s, noise in zip(spreads, self.noises, strict=True)]
        return self.boxes.probabilities(means, noisy, self.cuts)


def _answers(places: Floats, measured: Mask, told: Mask) -> Floats:
    """Return how likely a measurement of each of N cells is to tell a phase, shape (N,).

    A process of the measured cells' answers, 1 or −1, that is above 0 (Rasmussen and Williams
    2006, section 6.5).

    Parameters
    ----------
    told
        Whether each measured cell has a phase.
    """
    from scipy.special import ndtr

    if told.all():
        return np.ones(len(places))
    values = np.where(told, 1.0, -1.0)
    process = Posterior(places[measured], values, fit(places[measured], values))
    mean, spread = process.marginal(places)
    return np.asarray(ndtr(mean / np.sqrt(spread + process.hyper.noise**2)))
