"""Centred kernel alignment of two sets of features, with its standard error."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from llt_plugins.similarity.hsic import hsic, mean_hsic
from llt_plugins.similarity.representation import Block, Missing, Representation

_CHUNK = 25
"""Bootstrap replicates computed at once: it bounds memory."""


@dataclass(frozen=True)
class Cka:
    """One similarity.

    Attributes
    ----------
    value
        In [0, 1] for the biased estimator; the debiased one may leave that range by its
        error. NaN where ``reason`` says why it is undefined.
    standard_error
        One standard deviation of ``value`` over draws of the samples.
    influence
        What each sample contributes to ``value``, float64, shape ``(n,)``, summing to about
        zero; its sum of squares is the variance. Empty where undefined.
    n
        Number of samples.
    reason
        Why there is no value; None where there is one.
    finite
        False where that is because features hold NaN or infinite entries.
    """

    value: float
    standard_error: float
    influence: Tensor
    n: int
    reason: str | None = None
    finite: bool = True


def cka(
    x: Representation | Missing,
    y: Representation | Missing,
    *,
    debiased: bool,
    groups: Tensor | None = None,
) -> Cka:
    """Return ``HSIC(K, L) / √(HSIC(K, K) HSIC(L, L))`` (Kornblith et al. 2019, eq. 4).

    The standard error is the infinitesimal jackknife (Jaeckel 1972; Efron 1982, §6): the
    derivative of the value by each sample's weight, squared and summed, times n/(n − 1). A
    resampling bootstrap repeats samples, and a repeated sample is perfectly similar to its
    copy, which pushes CKA up by about the bias that debiasing removes; the derivative needs
    no copies, no randomness and only one evaluation. It covers the *sampling* error about
    the estimator's own expectation: the bias of the biased form is not in it.

    Parameters
    ----------
    x, y
        Features of the same samples, from :func:`represent`.
    debiased
        Unbiased HSIC in all three places (Nguyen et al. 2021), or biased.
    groups
        Int64, shape ``(n,)``: samples with one number were drawn together and are not
        independent: see :func:`standard_error`.

    Raises
    ------
    ValueError
        If the numbers of samples differ, or blocks do not match.

    Examples
    --------
    >>> from llt_plugins.similarity.representation import represent
    >>> features = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    >>> x, turned = represent(features), represent(-2.0 * features.flip(1))
    >>> round(cka(x, turned, debiased=False).value, 9)
    1.0
    """
    if isinstance(x, Missing):
        return _undefined(x, "first model: ")
    if isinstance(y, Missing):
        return _undefined(y, "second model: ")
    fewest = min(map(len, (*x.blocks, *y.blocks)))
    if debiased and fewest < 4:
        told = f"debiased HSIC needs at least 4 samples, and there are {fewest}"
        return _undefined(Missing(told))
    (xy, d_xy), (xx, d_xx), (yy, d_yy) = (
        mean_hsic(a, b, debiased=debiased) for a, b in ((x, y), (x, x), (y, y))
    )
    if not (xx > 0 and yy > 0):
        return _undefined(Missing("debiased HSIC is not positive: there are too few samples"))
    scale = math.sqrt(xx) * math.sqrt(yy)
    value = xy / scale
    influence = d_xy / scale - 0.5 * value * (d_xx / xx + d_yy / yy)
    return Cka(value, standard_error(influence, groups), influence, len(x))


def cka_matrix(
    xs: Sequence[Representation | Missing],
    ys: Sequence[Representation | Missing],
    *,
    debiased: bool,
    groups: Tensor | None = None,
) -> list[list[Cka]]:
    """Return the CKA of every member of ``xs`` (rows) with every member of ``ys`` (columns).

    The row or column of a missing member is undefined, and all others are what they would
    be without it.
    """
    return [[cka(x, y, debiased=debiased, groups=groups) for y in ys] for x in xs]


def mean_cka(parts: Sequence[Cka], *, groups: Tensor | None = None) -> Cka:
    """Return the mean of several similarities on the same samples, such as one for each layer.

    Those that are undefined are left out; the mean is undefined if all are. The error
    follows from the summed influences, so it knows that layers vary together.
    """
    defined = [part for part in parts if part.reason is None]
    broken = [part for part in parts if not part.finite]
    if broken or not defined:
        none = Missing("there is nothing to average over")
        return (broken or list(parts) or [_undefined(none)])[0]
    influence = torch.stack([part.influence for part in defined]).mean(0)
    value = sum(part.value for part in defined) / len(defined)
    return Cka(value, standard_error(influence, groups), influence, defined[0].n)


def _undefined(missing: Missing, whose: str = "") -> Cka:
    nan = math.nan
    return Cka(nan, nan, torch.empty(0), 0, whose + missing.reason, missing.finite)


def standard_error(influence: Tensor, groups: Tensor | None = None) -> float:
    """Return the standard error that the influence of each sample amounts to.

    Independent samples: ``√(n/(n−1) Σ φᵢ²)``. Mixed inputs are not independent: a batch
    shares its λ, and each original is in two of them. Then the sums over the G groups are
    the independent terms, ``√(G/(G−1) Σ_g (Σ_{i∈g} φᵢ)²)`` (Liang and Zeger 1986), and the
    larger of the two is returned, because few groups may agree by chance.

    Simulated with pairs of small networks on mixtures of 128 digits to a batch, 95 %
    intervals so made cover .90–.96 with 3 batches and .91–.97 with 5, where those that take
    samples for independent cover .77–.84 on softmax outputs: λ moves these most.

    Parameters
    ----------
    influence
        Shape ``(n,)``.
    groups
        Shape ``(n,)`` or longer; None for independent samples. One group alone is taken for
        independent samples, for want of anything to compare it with.
    """
    n = len(influence)
    variance = influence.square().sum() * n / max(1, n - 1)
    count = 0 if groups is None else int(groups[:n].max()) + 1
    if groups is not None and count > 1:
        totals = influence.new_zeros(count)
        totals = totals.index_add(0, groups[:n].to(influence.device), influence)
        variance = torch.maximum(variance, totals.square().sum() * count / (count - 1))
    return math.sqrt(variance.item())


def bootstrap_standard_error(
    x: Representation,
    y: Representation,
    generator: torch.Generator,
    *,
    debiased: bool,
    replicates: int = 200,
) -> float:
    """Return the standard deviation of CKA over resampled samples (Efron 1979).

    Samples are drawn with replacement and count as often as they were drawn; in the
    debiased form a sample is never paired with its own copy (Arcones and Giné 1992), which
    would inflate every replicate. A cross-check of the jackknife, hundreds of times its
    cost. It takes samples for independent.

    Parameters
    ----------
    x, y
        Features of the same samples, in one block each.
    generator
        On the CPU.
    debiased
        As in :func:`cka`.
    replicates
        How many; at least 2. 200 know the error to about 5 %.

    Raises
    ------
    ValueError
        For fewer than 2 replicates, or representations cut into blocks.
    """
    if replicates < 2:
        raise ValueError(f"{replicates} replicate(s) have no spread, expected at least 2")
    if len(x.blocks) > 1:
        raise ValueError("the bootstrap resamples one block: use the jackknife for minibatches")
    k, l = (_resampled_form(side.blocks[0]) for side in (x, y))
    n = len(k)
    drawn = torch.randint(n, (replicates, n), generator=generator)
    weights = torch.zeros(replicates, n, dtype=torch.float64)
    weights.scatter_add_(1, drawn, torch.ones_like(weights))
    values = []
    for w in torch.split(weights.to(k.diagonal.device), _CHUNK):
        xy, xx, yy = (hsic(a, b, w, debiased=debiased) for a, b in ((k, l), (k, k), (l, l)))
        values.append(xy / (xx * yy).sqrt())
    return float(torch.cat(values).nan_to_num(0.0).std())


def _resampled_form(block: Block) -> Block:
    """Return the form in which many weightings cost least: feature products hold ``p²`` each."""
    wide = block.features is not None and block.features.shape[1] ** 2 > len(block)
    return Block(gram=block.gram) if wide else block
