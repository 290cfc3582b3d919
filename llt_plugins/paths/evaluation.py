"""Loss and error at the points of a path, and the numbers that sum them up."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from llt_plugins.curvature.types import Report, ignore
from llt_plugins.means import standard_error
from llt_plugins.paths.batchnorm import Pass, recalibrate
from llt_plugins.paths.curves import Path

Floats = np.ndarray[Any, np.dtype[np.float64]]

Score = Callable[[nn.Module], Mapping[str, Tensor]]
"""Scores a model on one minibatch: one tensor ``(B,)`` of its B terms for each kind of score."""

SplitScores = Mapping[str, Mapping[str, Tensor]]
"""Scores of the terms (examples, tokens): split → kind → float64 ``(N,)`` on the CPU."""


@torch.no_grad()
def score(model: nn.Module, splits: Mapping[str, Callable[[], Iterable[Score]]]) -> SplitScores:
    """Return the per-example scores of ``model`` on every split.

    Parameters
    ----------
    model
        In eval mode.
    splits
        For each split a function that gives its minibatches, always in the same order.

    Raises
    ------
    ValueError
        If a split holds no minibatch.
    """
    result: dict[str, dict[str, Tensor]] = {}
    for split, minibatches in splits.items():
        parts: dict[str, list[Tensor]] = {}
        for minibatch in minibatches():
            for kind, values in minibatch(model).items():
                parts.setdefault(kind, []).append(values.detach().cpu().double())
        if not parts:
            raise ValueError(f"the split {split!r} is empty, so nothing can be evaluated on it")
        result[split] = {kind: torch.cat(values) for kind, values in parts.items()}
    return result


def evaluate(
    path: Path,
    ts: Sequence[float],
    splits: Mapping[str, Callable[[], Iterable[Score]]],
    passes: Callable[[], Iterable[Pass]] | None = None,
    *,
    known: Mapping[float, SplitScores] | None = None,
    report: Report = ignore,
) -> dict[str, dict[str, Tensor]]:
    """Score the models at the points ``ts`` of ``path``.

    A stored curve is evaluated by ``evaluate(Path(first, second, bends), ts, …)``.

    Parameters
    ----------
    ts
        Numbers in [0, 1].
    splits
        See :func:`score`.
    passes
        Minibatches from which the statistics of batch normalisation are estimated anew at
        every point, the same ones each time; None keeps the interpolated statistics.
    known
        Scores of points that need not be computed again.
    report
        Called after each point.

    Returns
    -------
    dict
        Split → kind of score → float64, shape ``(len(ts), N)``.
    """
    known = known or {}
    models = along(path, [t for t in ts if t not in known], passes)
    rows: list[SplitScores] = []
    for done, t in enumerate(ts, start=1):
        rows.append(known[t] if t in known else score(next(models), splits))
        report(done, len(ts))
    return {
        split: {kind: torch.stack([row[split][kind] for row in rows]) for kind in kinds}
        for split, kinds in (rows[0].items() if rows else ())
    }


def along(
    path: Path, ts: Sequence[float], passes: Callable[[], Iterable[Pass]] | None = None
) -> Iterator[nn.Module]:
    """Yield the model at each of the points ``ts`` of ``path``: one module, filled anew.

    See :func:`evaluate` for ``passes``.
    """
    model = path.model()
    for t in ts:
        path.fill(model, t)
        if passes is not None:
            recalibrate(model, passes())
        yield model


@dataclass(frozen=True)
class Estimate:
    """A number, and its standard error (None where it is unknown)."""

    value: float
    error: float | None


@dataclass(frozen=True)
class Summary:
    """A quantity L along a path γ, with E = ½(L(γ(0)) + L(γ(1))); all in the unit of L.

    Attributes
    ----------
    connectivity
        ``mc = E − L(γ(t*))``, t* where L is farthest from E (Yang et al. 2021, section 2):
        negative for a barrier, about zero for a connected pair, positive where the path
        finds a lower L than the ends.
    t
        t*. The ends count as points. Of two points equally far from E that with the larger
        L is taken, so that the order of the pair changes nothing.
    barrier
        Largest L between the ends, minus E.
    dip
        E minus the smallest L between the ends.
    peak
        Minus the largest L between the ends: how good the worst point is.
    """

    connectivity: Estimate
    t: float
    barrier: Estimate
    dip: Estimate
    peak: Estimate


def summarise(
    ts: Sequence[float], values: Tensor, *, sampled: bool, owners: Tensor | None = None
) -> Summary:
    """Sum up per-example values along a path.

    Standard errors are those of the mean of paired differences: at every t the same examples
    are scored, so what they have in common cancels. That the extreme point was chosen by the
    same examples, and that ``ts`` is a grid, is not part of them.

    Parameters
    ----------
    ts
        At least three increasing numbers from 0 to 1.
    values
        Float64, shape ``(len(ts), N)``.
    sampled
        Whether the N examples are a sample of what the number is about; otherwise it is
        about these very examples, and the errors are zero.
    owners
        Where the N values are terms of which an example has several, the example of each:
        int64, shape ``(N,)`` (see :func:`llt_plugins.means.standard_error`).

    Raises
    ------
    ValueError
        If ``ts`` does not run from 0 to 1 over an interior point.

    Examples
    --------
    >>> barrier = torch.tensor([[0.0, 0.0], [10.0, 30.0], [4.0, 4.0]]).double()
    >>> summary = summarise([0.0, 0.5, 1.0], barrier, sampled=False)
    >>> summary.connectivity.value, summary.barrier.value, summary.dip.value, summary.t
    (-18.0, 18.0, -18.0, 0.5)
    """
    if len(ts) < 3 or ts[0] != 0.0 or ts[-1] != 1.0 or list(ts) != sorted(set(ts)):
        raise ValueError(
            f"the points are {list(ts)}, expected increasing numbers from 0 to 1 with at least "
            "one between"
        )
    means = values.mean(dim=1).tolist()
    if not all(map(math.isfinite, means)):
        nothing = Estimate(math.nan, None)
        return Summary(nothing, math.nan, nothing, nothing, nothing)
    ends = 0.5 * (values[0] + values[-1])
    interior = range(1, len(ts) - 1)
    top = max(interior, key=means.__getitem__)
    bottom = min(interior, key=means.__getitem__)
    star = _farthest(means)

    def estimate(terms: Tensor) -> Estimate:
        return Estimate(float(terms.mean()), standard_error(terms, owners) if sampled else 0.0)

    return Summary(
        connectivity=estimate(ends - values[star]),
        t=ts[star],
        barrier=estimate(values[top] - ends),
        dip=estimate(ends - values[bottom]),
        peak=estimate(-values[top]),
    )


def standard_errors(values: Tensor, owners: Tensor | None = None) -> Floats:
    """Return the sampling error of each row mean of ``values``, ``(T, N)``; NaN if unknown.

    ``owners`` is that of :func:`summarise`.
    """
    errors = [standard_error(row, owners) for row in values]
    return np.asarray([math.nan if error is None else error for error in errors])


def _farthest(means: list[float]) -> int:
    """Return the index of the mean farthest from that of the ends; of ties the largest mean."""
    middle = 0.5 * (means[0] + means[-1])
    farthest = max(abs(mean - middle) for mean in means)
    # Ties are exact in theory (two unequal ends) but not in rounded sums.
    tied = [
        i
        for i, mean in enumerate(means)
        if math.isclose(abs(mean - middle), farthest, rel_tol=1e-9)
    ]
    return max(tied, key=means.__getitem__)
