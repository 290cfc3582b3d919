"""Centred kernel alignment of two sets of features, with its standard error."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from llt_plugins.similarity.hsic import hsic, mean_hsic
from llt_plugins.similarity.representation import Block, Representation

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
    """

    value: float
    standard_error: float
    influence: Tensor
    n: int
    reason: str | None = None


def cka(
    x: Representation, y: Representation, *, debiased: bool, sources: Tensor | None = None
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
    sources
        Int64, shape ``(n, 2)``: the two originals each sample was mixed from. Samples that
        share one are not independent: see :func:`standard_error`.

    Raises
    ------
    ValueError
        If the numbers of samples differ, are below 4 (debiased), or blocks do not match.

    Examples
    --------
    >>> features = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    >>> x, turned = represent(features), represent(-2.0 * features.flip(1))
    >>> round(cka(x, turned, debiased=False).value, 9)
    1.0
    """
    (xy, d_xy), (xx, d_xx), (yy, d_yy) = (
        mean_hsic(a, b, debiased=debiased) for a, b in ((x, y), (x, x), (y, y))
    )
    if not (xx > 0 and yy > 0):
        reason = (
            "the debiased HSIC of the features with themselves is not positive: too few samples"
        )
        return Cka(math.nan, math.nan, torch.empty(0), len(x), reason)
    scale = math.sqrt(xx) * math.sqrt(yy)
    value = xy / scale
    influence = d_xy / scale - 0.5 * value * (d_xx / xx + d_yy / yy)
    return Cka(value, standard_error(influence, sources), influence, len(x))


def undefined(reason: str, n: int) -> Cka:
    """Return the answer for features that cannot be compared."""
    return Cka(math.nan, math.nan, torch.empty(0), n, reason)


def cka_matrix(
    xs: Sequence[Representation | str],
    ys: Sequence[Representation | str],
    *,
    debiased: bool,
    sources: Tensor | None = None,
) -> list[list[Cka]]:
    """Return the CKA of every member of ``xs`` (rows) with every member of ``ys`` (columns).

    A member that could not be represented is given as the reason in words; its row or
    column is undefined, and all others are what they would be without it.
    """

    def entry(x: Representation | str, y: Representation | str) -> Cka:
        for side in (x, y):
            if isinstance(side, str):
                return undefined(side, 0)
        assert isinstance(x, Representation)
        assert isinstance(y, Representation)
        return cka(x, y, debiased=debiased, sources=sources)

    return [[entry(x, y) for y in ys] for x in xs]


def standard_error(influence: Tensor, sources: Tensor | None = None) -> float:
    """Return the standard error that the influence of each sample amounts to.

    Independent samples: ``√(n/(n−1) Σ φᵢ²)``. Mixed samples share originals; then products
    ``φᵢφⱼ`` of samples with a common original are added (the dyadic estimator of Fafchamps
    and Gubert 2007, eq. 2.5), and the larger of the two is returned, since the second may
    come out too small, even negative, by chance.

    Parameters
    ----------
    influence
        Shape ``(n,)``.
    sources
        Shape ``(n, 2)``: numbers of the two originals of each sample; None for independent
        samples.
    """
    n = len(influence)
    variance = influence.square().sum()
    if sources is not None:
        first, second = (column.to(influence.device) for column in sources[:n].T)
        two = influence * (first != second)
        totals = influence.new_zeros(int(sources.max()) + 1)
        totals = totals.index_add(0, first, influence).index_add(0, second, two)
        variance = torch.maximum(variance, totals.square().sum() - two.square().sum())
    return math.sqrt(variance.item() * n / max(1, n - 1))


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
    k, l = (_resampled_form(side.blocks[0]) for side in (x, y))  # noqa: E741
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
