"""The loss at many points of parameter space, without ever changing the model."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from llt_plugins.curvature.operators.copies import evaluation_copy
from llt_plugins.curvature.types import Report, ignore
from llt_plugins.means import shares
from llt_plugins.paths.batchnorm import Pass, recalibrate
from llt_plugins.paths.vectors import ParameterLayout, trainable
from llt_plugins.surfaces.parameters import unflatten

Score = Callable[[nn.Module], Tensor]
"""Scores one fixed micro-batch: the means, ``()`` or ``(S,)``, or each term, ``(S, B)``."""

WeightedScore = tuple[float, Score]
"""How many terms the means average, and the score. The total is ``Σ wᵢ sᵢ / Σ wᵢ``."""

_MOST_POINTS = 32
_MOST_NUMBERS = 2_000_000
"""Bounds on the points in one forward pass, and on points times parameters: see
:func:`points_together`. The second keeps the stacked parameters below 25 MB."""


def steps(radius: float, points: int) -> Tensor:
    """Return an odd number of equidistant steps from −radius to radius, exactly 0 in the middle.

    Examples
    --------
    >>> steps(2.0, 5)
    tensor([-2., -1.,  0.,  1.,  2.], dtype=torch.float64)

    Raises
    ------
    ValueError
        If ``points`` is not odd or below 3, or the radius not positive.
    """
    if points < 3 or points % 2 == 0:
        raise ValueError(f"{points} points do not lie evenly around the model, expected 3, 5, 7, …")
    if not 0 < radius < math.inf:
        raise ValueError(f"the radius is {radius}, expected a positive number")
    half = points // 2
    return radius * torch.arange(-half, half + 1, dtype=torch.float64) / half


def grid(x: Tensor, y: Tensor) -> Tensor:
    """Return the points (x, y) of a grid, shape ``(M·N, 2)`` for x ``(N,)``, y ``(M,)``.

    Their scores reshape to ``(M, N)``.
    """
    rows, columns = torch.meshgrid(y, x, indexing="ij")
    return torch.stack([columns.reshape(-1), rows.reshape(-1)], dim=1)


def evaluate(
    model: nn.Module,
    scores: Sequence[WeightedScore],
    origin: Tensor,
    directions: Tensor,
    coordinates: Tensor,
    *,
    dtype: torch.dtype = torch.float32,
    passes: Sequence[Pass] = (),
    per_term: bool = False,
    points_at_once: int | Literal["auto"] = "auto",
    report: Report = ignore,
) -> Tensor:
    """Return the scores at ``origin + Σₖ coordinates[:, k] · directions[k]``.

    Parameters
    ----------
    model
        Gives the function; its own parameters play no part. It is copied, never changed.
    scores
        Micro-batches of the type ``dtype``.
    origin
        Float64, shape ``(P,)``: θ at the coordinates 0.
    directions
        Float64, shape ``(D, P)``.
    coordinates
        Float64, shape ``(N, D)``.
    dtype
        Type in which the model computes; points and means are float64.
    passes
        Micro-batches on which batch norm is re-estimated at every point; with none of them
        the stored statistics hold everywhere.
    per_term
        Whether scores have the shape ``(S, B)`` and are put together instead of averaged;
        the weights then play no part.
    points_at_once
        Number of points in one forward pass by ``torch.func.vmap``; ``"auto"`` asks
        :func:`points_together`. Models that vmap cannot handle, and points that re-estimate
        batch norm, are evaluated one by one.
    report
        Called as ``report(done, N)``.

    Returns
    -------
    Tensor
        Float64 on the CPU, shape ``(N, S)``; S is 1 for scores of shape ``()``. With
        ``per_term``, ``(N, S, T)`` with T the sum of the B.

    Raises
    ------
    ValueError
        If shapes do not fit the model, or the weights are not positive.

    Examples
    --------
    >>> model = nn.Linear(1, 1, bias=False)
    >>> score = lambda m: m.weight.square().sum()
    >>> zero, one = torch.zeros(1).double(), torch.ones(1, 1).double()
    >>> evaluate(model, [(1.0, score)], zero, one, torch.tensor([[0.0], [3.0]])).T
    tensor([[0., 9.]], dtype=torch.float64)
    """
    twin = evaluation_copy(model, dtype)
    _check_shapes(ParameterLayout(twin).size, origin, directions, coordinates)
    weights = shares([weight for weight, _ in scores])
    function = _Scores(twin, [s for _, s in scores], None if per_term else weights, passes)
    at_once = points_together(twin) if points_at_once == "auto" else points_at_once
    found: list[Tensor] = []
    with torch.no_grad():
        for points in _chunks(origin, directions, coordinates, 1 if passes else at_once):
            found.append(function.at(points).double().cpu())
            report(sum(map(len, found)), len(coordinates))
    return torch.cat(found)


def points_together(model: nn.Module) -> int:
    """Return how many points to evaluate in one forward pass.

    Measured on one CPU thread, in units of the time one by one: perceptrons of 3,000 to
    70,000 parameters take 0.3 to 0.75 with 32 points at once, of 150,000 to 200,000 0.75 with
    8 points and 1.0 to 1.3 with 32, one of 855,000 gains nothing. Convolutions, whose weights
    then differ from point to point, take 1.2 to 3.0 in a ResNet-18 of width 8.
    """
    if any(isinstance(module, nn.modules.conv._ConvNd) for module in model.modules()):
        return 1
    size = sum(p.numel() for p in model.parameters())
    return max(1, min(_MOST_POINTS, _MOST_NUMBERS // max(size, 1)))


class _Scores(nn.Module):
    """The scores of a model as a function of its flat parameters."""

    def __init__(
        self,
        inner: nn.Module,
        scores: list[Score],
        shares: list[float] | None,
        passes: Sequence[Pass],
    ) -> None:
        super().__init__()
        self.inner = inner
        self._scores = scores
        self._shares = shares
        self._passes = passes
        self._own = trainable(self)
        self._layout = ParameterLayout(self)

    def forward(self) -> Tensor:
        """Return the scores with whatever parameters the model has just now."""
        if self._passes:
            recalibrate(self.inner, self._passes)
        parts = [_precise(score(self.inner)) for score in self._scores]
        if self._shares is None:
            return torch.cat(parts, dim=-1)
        means = [share * part.reshape(-1) for share, part in zip(self._shares, parts, strict=True)]
        return torch.stack(means).sum(dim=0)

    def at(self, points: Tensor) -> Tensor:
        """Return the scores at ``points`` ``(n, P)``, one row each."""
        if len(points) > 1:
            try:
                return self._together(points)
            except RuntimeError:
                # Code that vmap cannot batch (branching on values, foreign kernels).
                pass
        return torch.stack([self._at(unflatten(point, self._own)) for point in points])

    def _together(self, points: Tensor) -> Tensor:
        """Return the scores at ``points`` by one forward pass."""
        with warnings.catch_warnings():
            # The CPU's attention kernel goes point by point within it, and torch complains. All
            # the rest goes together; that takes 0.5 to 1.1 of the time one by one, and less than
            # the slow kernel that vmap knows.
            warnings.filterwarnings("ignore", message="There is a performance drop")
            # Batched vectors cannot be copied into plain tensors, but views can be taken.
            return vmap(lambda point: self._at(self._layout.views(point)), randomness="error")(
                points
            )

    def _at(self, tensors: dict[str, Tensor]) -> Tensor:
        result: Tensor = functional_call(self, tensors, ())
        return result


def _precise(means: Tensor) -> Tensor:
    """Return float64, which mps does not have."""
    return means if means.device.type == "mps" else means.double()


def _chunks(origin: Tensor, directions: Tensor, coordinates: Tensor, size: int) -> Iterator[Tensor]:
    """Yield the points ``(≤ size, P)`` in order."""
    for some in torch.split(coordinates.to(directions), size):
        yield torch.addmm(origin.expand(len(some), -1), some, directions)


def _check_shapes(size: int, origin: Tensor, directions: Tensor, coordinates: Tensor) -> None:
    if origin.shape != (size,) or directions.ndim != 2 or directions.shape[1] != size:
        raise ValueError(
            f"origin and directions have shapes {tuple(origin.shape)} and "
            f"{tuple(directions.shape)}, expected ({size},) and (D, {size}): one entry for each "
            "trainable parameter"
        )
    if coordinates.ndim != 2 or coordinates.shape[1] != len(directions) or not len(coordinates):
        raise ValueError(
            f"the coordinates have shape {tuple(coordinates.shape)}, expected "
            f"(N, {len(directions)}) with N ≥ 1: one for each direction"
        )
