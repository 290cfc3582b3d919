"""Features made ready for comparison: centred, in feature space or as Gram matrices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Kernel = Literal["linear", "rbf"]

COLLAPSED = 1e-6
"""Spread relative to magnitude below which float32 features count as one point."""


@dataclass(frozen=True)
class Missing:
    """Features that nothing can be compared with.

    Attributes
    ----------
    reason
        What is wrong with them, in words.
    finite
        False if they hold NaN or infinite entries; True if they are all the same.
    """

    reason: str
    finite: bool = True


class Block:
    """One centred kernel matrix K over n samples, explicit or as ``K = F Fᵀ``.

    Parameters
    ----------
    features
        Float64, centred, shape ``(n, p)``; None for a matrix known only explicitly.
    gram
        Float64, centred, symmetric, shape ``(n, n)``; computed when first needed if None.
    """

    def __init__(self, features: Tensor | None = None, gram: Tensor | None = None) -> None:
        self.features, self._gram = features, gram
        self.diagonal = self.gram.diagonal() if features is None else features.square().sum(1)

    def __len__(self) -> int:
        """Return the number of samples n."""
        return len(self.diagonal)

    @property
    def gram(self) -> Tensor:
        """The matrix itself, ``(n, n)``."""
        if self._gram is None:
            if self.features is None:
                raise ValueError("a block needs features (n, p) or a Gram matrix (n, n)")
            self._gram = self.features @ self.features.T
        return self._gram

    def times(self, weights: Tensor) -> Tensor:
        """Return ``K w`` for each row w of ``weights``; both have shape ``(…, n)``."""
        if self.features is None:
            return weights @ self.gram
        return (weights @ self.features) @ self.features.T


class Representation:
    """All that similarity needs to know of one model's features on n samples.

    Attributes
    ----------
    blocks
        One block, or the equal parts of the minibatch estimator.
    kernel
        The kernel they were made with.
    """

    def __init__(self, blocks: tuple[Block, ...], kernel: Kernel) -> None:
        self.blocks, self.kernel = blocks, kernel
        self.own: dict[bool, tuple[float, Tensor]] = {}

    def __len__(self) -> int:
        """Return the number of samples n that are used."""
        return sum(map(len, self.blocks))


def represent(
    features: Tensor,
    *,
    kernel: Kernel = "linear",
    bandwidth: float = 1.0,
    block: int | None = None,
    pairs: int = 1,
) -> Representation | Missing:
    """Centre ``features`` and put them into the form in which comparing them is cheapest.

    Parameters
    ----------
    features
        Shape ``(n, …)``, any floating type; the axes after the first are flattened.
    kernel
        ``"linear"``: ``K = X Xᵀ``. ``"rbf"``: ``exp(−d²/2σ²)`` of the distances d, with
        ``σ = bandwidth × median distance`` (Kornblith et al. 2019, §4).
    bandwidth
        Multiple of the median distance; only for ``"rbf"``.
    block
        Samples per block of the minibatch estimator (Nguyen et al. 2021); None for all at
        once. The samples are cut into equal blocks, fewer than ``n / block`` left over.
    pairs
        Roughly how many comparisons this representation takes part in: with many, a Gram
        matrix computed once is cheaper.

    Returns
    -------
    Representation
        Float64, on the device of ``features`` (the CPU for devices without float64).
        :class:`Missing` if there are fewer than 3 samples, if an entry is not finite, if the
        features are the same for all samples (to float32 rounding), or, for ``"rbf"``, if half
        of all distances are zero.

    Raises
    ------
    ValueError
        If a parameter is out of range.
    """
    n = len(features)
    if n < 3:
        return Missing(f"of {n} samples any two representations are alike: it needs at least 3")
    x = _double(features.reshape(n, -1))
    if not torch.isfinite(x).all():
        return Missing("the features hold NaN or infinite entries", finite=False)
    sizes = _equal_blocks(n, block)
    scaled = _unit_spread(x)
    if scaled is None:
        return Missing("the features are the same for all samples: the model has collapsed")
    x = scaled
    if kernel == "rbf":
        if not bandwidth > 0:
            raise ValueError(f"the bandwidth is {bandwidth}, expected a positive multiple")
        sigma = bandwidth * torch.pdist(x[: sizes[0]]).median().item()
        if not sigma > 0:
            return Missing("half of all pairs of samples have the same features")
        return Representation(
            tuple(Block(gram=_centred(_rbf(part, sigma))) for part in _cut(x, sizes)), kernel
        )
    if kernel != "linear":
        raise ValueError(f"the kernel is {kernel!r}, expected 'linear' or 'rbf'")
    blocks = [Block(features=part - part.mean(0)) for part in _cut(x, sizes)]
    if not in_feature_space(sizes[0], x.shape[1], pairs):
        blocks = [Block(gram=part.gram) for part in blocks]
    return Representation(tuple(blocks), kernel)


def in_feature_space(samples: int, width: int, pairs: int) -> bool:
    """Say whether comparing ``(samples, width)`` features needs fewer operations than Gram.

    Each comparison costs about ``3 n p²`` in feature space, derivative included; a Gram
    matrix costs ``n² p`` once and a few passes over ``n²`` entries per comparison.
    """
    return 3 * pairs * width * width <= samples * (width + 4 * pairs)


def _double(x: Tensor) -> Tensor:
    """Return ``x`` in float64, on the CPU where its device has no float64."""
    return x.detach().cpu().double() if x.device.type == "mps" else x.detach().double()


def _unit_spread(x: Tensor) -> Tensor | None:
    """Return ``x``, centred and scaled to unit mean square; None if it is collapsed.

    The scale drops out of every similarity; without it very small features would underflow.
    """
    largest = x.abs().max() if x.numel() else x.new_zeros(())
    if largest > 0:
        x = x / largest
    centred = x - x.mean(0)
    spread, size = centred.square().mean().sqrt(), x.square().mean().sqrt()
    if not largest > 0 or spread <= COLLAPSED * size:
        return None
    return centred / spread


def _equal_blocks(n: int, block: int | None) -> list[int]:
    """Return the sizes of equal blocks of about ``block`` samples."""
    if block is None or block >= n:
        return [n]
    if block < 4:
        raise ValueError(f"blocks of {block} samples: unbiased HSIC needs at least 4")
    count = n // block
    return [n // count] * count


def _cut(x: Tensor, sizes: list[int]) -> list[Tensor]:
    """Return consecutive parts of ``x``; what is left over at the end is not used."""
    return list(torch.split(x[: sum(sizes)], sizes))


def _rbf(x: Tensor, sigma: float) -> Tensor:
    """Return ``exp(−d²/2σ²)``, shape ``(n, n)``."""
    squared = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist").square()
    return torch.exp(squared / (-2.0 * sigma * sigma))


def _centred(gram: Tensor) -> Tensor:
    """Return ``H K H`` with ``H = I − 11ᵀ/n``."""
    gram = gram - gram.mean(0, keepdim=True)
    return gram - gram.mean(1, keepdim=True)
