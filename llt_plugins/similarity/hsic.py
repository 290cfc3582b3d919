"""The Hilbert–Schmidt independence criterion of weighted samples, and its influence function."""

from __future__ import annotations

import torch
from torch import Tensor

from llt_plugins.similarity.representation import Block, Representation


def hsic(k: Block, l: Block, weights: Tensor, *, debiased: bool) -> Tensor:
    """Return HSIC(K, L) of samples that count with ``weights``.

    With h(i, j, q, r) = ``K_ij (L_ij + L_qr − 2 L_iq)`` the biased estimator averages over
    all indices (Gretton et al. 2005: ``tr(KHLH)/n²`` for equal weights), the debiased one
    over different indices (Song et al. 2012, eq. 4). Whole weights mean repeated samples,
    except that a sample is never paired with its own copy in the debiased form: copies
    would bring the diagonal back, and with it the bias.

    Parameters
    ----------
    k, l
        Centred kernel matrices over the same n samples.
    weights
        Non-negative, shape ``(…, n)``; ones for the plain estimator.
    debiased
        Which estimator; the debiased one needs n ≥ 4.

    Returns
    -------
    Tensor
        Shape ``(…)``; differentiable with respect to ``weights``.

    Raises
    ------
    ValueError
        If the numbers of samples differ, or are too few.
    """
    n = len(k)
    if len(l) != n:
        raise ValueError(f"features of {n} and of {len(l)} samples cannot be compared")
    if debiased and n < 4:
        raise ValueError(f"debiased HSIC of {n} samples is undefined: it needs at least 4")
    w, product = weights, k.diagonal * l.diagonal
    k_w, l_w = k.times(w), l.times(w)
    p1 = w.sum(-1)
    if not debiased:
        ((pairs,),) = _sums(k, l, w)
        apart = (w * k_w).sum(-1) * (w * l_w).sum(-1) / p1**4
        return pairs / p1**2 + apart - 2.0 * (w * k_w * l_w).sum(-1) / p1**3
    w2 = w * w
    p2, p3, p4 = w2.sum(-1), (w2 * w).sum(-1), (w2 * w2).sum(-1)
    # Sums over i ≠ j: the diagonal is taken out of every product.
    k_w, l_w = k_w - w * k.diagonal, l_w - w * l.diagonal
    (both, once), (_, twice) = _sums(k, l, w, w2)
    both = both - (w2 * product).sum(-1)
    once = once - (w2 * w * product).sum(-1)
    twice = twice - (w2 * w2 * product).sum(-1)
    # Inclusion and exclusion leaves triples and quadruples of different indices.
    chain = (w * k_w * l_w).sum(-1) - once
    apart = (w * k_w).sum(-1) * (w * l_w).sum(-1) - 4.0 * (w2 * k_w * l_w).sum(-1) + 2.0 * twice
    triples = p1**3 - 3.0 * p1 * p2 + 2.0 * p3
    quadruples = p1**4 - 6.0 * p1**2 * p2 + 8.0 * p1 * p3 + 3.0 * p2**2 - 6.0 * p4
    return both / (p1**2 - p2) + apart / quadruples - 2.0 * chain / triples


def mean_hsic(x: Representation, y: Representation, *, debiased: bool) -> tuple[float, Tensor]:
    """Return HSIC averaged over the blocks, and its derivative by each sample's weight.

    Averaging the unbiased HSIC of minibatches stays unbiased (Nguyen et al. 2021, eq. 6).

    Returns
    -------
    tuple
        The value, and the derivatives at equal weights, float64, shape ``(n,)``.

    Raises
    ------
    ValueError
        If the two were not cut into the same blocks, or several blocks meet the biased form.
    """
    sizes = [[len(block) for block in side.blocks] for side in (x, y)]
    if sizes[0] != sizes[1]:
        raise ValueError(
            f"blocks of {sizes[0]} and of {sizes[1]} samples cannot be compared: use the same "
            "samples and the same block size for both"
        )
    if len(x.blocks) > 1 and not debiased:
        raise ValueError("biased HSIC cannot be averaged over minibatches: debias it")
    if x is y and debiased in x.own:
        return x.own[debiased]
    values, slopes = [], []
    for k, l in zip(x.blocks, y.blocks, strict=True):
        weights = torch.ones(len(k), dtype=torch.float64, device=k.diagonal.device)
        with torch.enable_grad():
            value = hsic(k, l, weights.requires_grad_(), debiased=debiased)
            (slope,) = torch.autograd.grad(value, weights)
        values.append(value.item())
        slopes.append(slope / len(x.blocks))
    result = sum(values) / len(values), torch.cat(slopes)
    if x is y:
        x.own[debiased] = result
    return result


def _sums(k: Block, l: Block, *weights: Tensor) -> list[list[Tensor]]:
    """Return ``Σ_ij u_i v_j K_ij L_ij`` for all pairs (u, v) of weights of shape ``(…, n)``."""
    if k.features is not None and l.features is not None:
        across = [k.features.T @ (u.unsqueeze(-1) * l.features) for u in weights]
        return [[(a * b).sum((-2, -1)) for b in across] for a in across]
    product = k.gram * l.gram
    weighted = [u @ product for u in weights]
    return [[(a * v).sum(-1) for v in weights] for a in weighted]
