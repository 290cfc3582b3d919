"""Parametrised curves between two networks of one architecture, whatever it is."""

from __future__ import annotations

import copy
import math
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from llt_plugins.paths.vectors import ParameterLayout, carried, refuse_mismatch

CurveKind = Literal["bezier", "polygon"]
"""Bézier curve or polygonal chain."""

_QUADRATURE = 64
"""Gauss–Legendre points for the length of a curve: exact to rounding for any few bends."""


def bezier(t: float, bends: int) -> tuple[float, ...]:
    """Return the Bernstein polynomials ``C(n, k) tᵏ (1 − t)ⁿ⁻ᵏ``, n = bends − 1, at ``t``.

    >>> bezier(0.5, 3)
    (0.25, 0.5, 0.25)
    """
    n = bends - 1
    return tuple(math.comb(n, k) * t**k * (1.0 - t) ** (n - k) for k in range(bends))


def polygon(t: float, bends: int) -> tuple[float, ...]:
    """Return the weights of the two control points that ``t`` lies between, evenly spaced.

    >>> polygon(0.75, 3)
    (0.0, 0.5, 0.5)
    """
    position = t * (bends - 1)
    return tuple(max(0.0, 1.0 - abs(position - k)) for k in range(bends))


class Path:
    """A curve γ from ``first`` (t = 0) to ``second`` (t = 1) in the space of parameters.

    ``γ(t) = Σ cₖ(t) θₖ`` over the control points, of which the first and the last are the
    two models (Garipov et al. 2018, section 3.3). The ends are met exactly. The curve runs
    through the trainable parameters; whatever else a model holds in floating point (frozen
    parameters, running statistics, other buffers) is interpolated linearly, and the rest
    (counters, indices) is taken from the nearer end. Tied weights stay tied.

    Both models are left alone: the path keeps copies.

    Parameters
    ----------
    first, second
        Two models of one architecture, any architecture.
    inner
        The control points between them, shape ``(bends − 2, P)`` in the order of
        :class:`~llt_plugins.paths.vectors.ParameterLayout`; None for the straight line.
    kind
        ``"bezier"`` or ``"polygon"``. With two bends both are the straight line.

    Raises
    ------
    ValueError
        If the models do not match (the first difference is named), have nothing trainable,
        or ``inner`` has the wrong shape.

    Examples
    --------
    >>> first, second = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
    >>> for model, value in ((first, 0.0), (second, 2.0)):
    ...     _ = nn.init.constant_(model.weight, value)
    >>> path = Path(first, second, torch.tensor([[5.0]]))
    >>> path.point(0.5)
    tensor([3.])
    >>> path.model(0.5)(torch.ones(1, 1)).item()
    3.0
    """

    def __init__(
        self,
        first: nn.Module,
        second: nn.Module,
        inner: Tensor | None = None,
        *,
        kind: CurveKind = "bezier",
    ) -> None:
        refuse_mismatch(first, second)
        self.kind = kind
        self.layout = ParameterLayout(first)
        ends = [self.layout.flatten(model) for model in (first, second)]
        if inner is None:
            inner = ends[0].new_empty(0, self.layout.size)
        if inner.ndim != 2 or inner.shape[1] != self.layout.size:
            raise ValueError(
                f"the inner control points have shape {tuple(inner.shape)}, expected "
                f"(bends − 2, {self.layout.size}): one row for each point"
            )
        self.control = torch.stack([ends[0], *inner.to(ends[0]), ends[1]])
        self._model = copy.deepcopy(first).eval()
        self._model.zero_grad(set_to_none=True)
        self._carried = tuple(
            {name: tensor.detach().clone() for name, tensor in carried(model).items()}
            for model in (first, second)
        )

    @property
    def bends(self) -> int:
        """Number of control points, the two ends included."""
        return len(self.control)

    @property
    def inner(self) -> Tensor:
        """The control points between the ends, shape ``(bends − 2, P)``."""
        return self.control[1:-1]

    def through(self, inner: Tensor) -> Path:
        """Return the path of the same kind between the same ends through other points."""
        other = copy.copy(self)
        other.control = torch.cat([self.control[:1], inner.to(self.control), self.control[-1:]])
        return other

    def straight(self, bends: int) -> Tensor:
        """Return ``bends − 2`` evenly spaced points of the segment between the ends.

        As control points they leave the path a straight line, run through evenly.
        """
        shares = torch.linspace(0, 1, bends)[1:-1].to(self.control)
        return torch.lerp(self.control[0], self.control[-1], shares[:, None])

    def coefficients(self, t: float) -> tuple[float, ...]:
        """Return the weights of the control points at ``t``; they sum to one.

        Raises
        ------
        ValueError
            If ``t`` lies outside [0, 1].
        """
        if not 0.0 <= t <= 1.0:
            raise ValueError(f"t is {t}, expected a number from 0 (first model) to 1 (second)")
        return (bezier if self.kind == "bezier" else polygon)(t, self.bends)

    def point(self, t: float) -> Tensor:
        """Return the trainable parameters at ``t``, shape ``(P,)``, a new tensor."""
        return combine(self.control, self.coefficients(t))

    def model(self, t: float = 0.0) -> nn.Module:
        """Return a new model with the parameters and buffers of the path at ``t``, in eval mode."""
        return self.fill(copy.deepcopy(self._model), t)

    @torch.no_grad()
    def fill(self, model: nn.Module, t: float) -> nn.Module:
        """Write the parameters and buffers at ``t`` into ``model``; return it."""
        targets = dict(model.named_parameters()) | dict(model.named_buffers())
        for name, value in self.layout.views(self.point(t)).items():
            targets[name].copy_(value)
        for name, value in self._carried[0].items():
            targets[name].copy_(_between(value, self._carried[1][name], t))
        return model

    def length(self) -> float:
        """Return the length ``∫ ‖γ′(t)‖ dt`` in the Euclidean norm of the parameters."""
        steps = self.control.diff(dim=0).cpu().double()
        if self.kind == "polygon":
            return float(steps.norm(dim=1).sum())
        gram = (steps @ steps.T).numpy()
        nodes, weights = np.polynomial.legendre.leggauss(_QUADRATURE)
        # γ′(t) = (bends − 1) Σ bₖ(t) (θₖ₊₁ − θₖ), with Bernstein polynomials of one degree less
        basis = np.array([bezier((node + 1) / 2, len(gram)) for node in nodes])
        squares = np.einsum("qi,ij,qj->q", basis, gram, basis)
        return float(len(gram) * weights @ np.sqrt(squares.clip(min=0)) / 2)

    def distance(self) -> float:
        """Return the distance between the ends, the length of the straight line."""
        return float((self.control[-1] - self.control[0]).cpu().double().norm())


def combine(control: Tensor, coefficients: tuple[float, ...]) -> Tensor:
    """Return ``Σ cₖ θₖ`` for ``control`` of shape ``(bends, P)``: shape ``(P,)``.

    Points of weight zero are not touched, so that an end is met to the bit, and also where
    the other one is not finite.
    """
    total: Tensor | None = None
    for coefficient, point in zip(coefficients, control, strict=True):
        if coefficient == 0.0:
            continue
        if total is None:
            total = coefficient * point
        else:
            total.add_(point, alpha=coefficient)
    assert total is not None, "the coefficients of a curve sum to one"
    return total


def _between(first: Tensor, second: Tensor, t: float) -> Tensor:
    """Interpolate what is not trained: linearly, or by the nearer end if it is no real number."""
    if not first.is_floating_point() or t in (0.0, 1.0):
        return first if t < 0.5 else second
    return torch.lerp(first, second, t)
