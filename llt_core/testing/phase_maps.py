"""Tables of cells nobody trained: planes with the paper's phases in places drawn at random.

For trying and testing what works on tables, where the truth must be known and every map is new.
Each quantity is a smooth function of the two scaled axes, a jump at the line where training
begins to succeed, and noise as of a mean over five models.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from llt_core.analysis import Axis, CellTable, Column
from llt_core.analysis.table import Floats

Family = Literal["plain", "noisy_labels", "little_data", "waves"]
FAMILIES: tuple[Family, ...] = ("plain", "noisy_labels", "little_data", "waves")


def phase_map(
    family: Family,
    shape: Sequence[int] = (13, 13),
    *,
    seed: int = 0,
    noise: float = 1.0,
    diverged: float = 0.0,
) -> CellTable:
    """Return a complete table, its rows in an order drawn at random.

    Parameters
    ----------
    family
        ``plain``: as with clean labels and constant or decayed rates. ``noisy_labels``: a second
        ridge of the Hessian, and less similarity. ``little_data``: converged nearly everywhere.
        ``waves``: nothing of the paper, every quantity a random smooth function.
    shape
        Levels of each axis: one, two or three axes.
    noise
        A factor on all noise.
    diverged
        Share of the cells where training diverges and nothing is known: those beyond a line
        whose direction is drawn at random.

    >>> table = phase_map("plain", (5, 7), seed=3)
    >>> len(table), [axis.name for axis in table.axes]
    (35, ['architecture.width', 'train.batch_size'])
    """
    generator = np.random.default_rng([seed, FAMILIES.index(family)])
    unit = [np.linspace(0, 1, levels) if levels > 1 else np.full(1, 0.5) for levels in shape]
    grid = np.meshgrid(*unit, indexing="ij")
    order = generator.permutation(grid[0].size)
    places = np.stack([axis.ravel() for axis in grid], axis=1)[order]
    load, heat = _plane(places, generator)
    draw = _waves if family == "waves" else _taxonomy
    facts = draw(load, heat, family, generator, noise)
    axes = (
        Axis("architecture.width", tuple(2 * 64 ** places[:, 0]), "load"),
        Axis("train.batch_size", tuple(16 * 64 ** places[:, 1]), "temperature")
        if len(shape) > 1
        else None,
        Axis("train.weight_decay", tuple(1e-4 * 64 ** places[:, 2])) if len(shape) > 2 else None,
    )
    # Beside the other draws, so that the rest of the map is the same with and without.
    beyond = places @ np.random.default_rng([seed, 99]).standard_normal(places.shape[1])
    lost = beyond > np.quantile(beyond, 1 - diverged)
    columns = {name: Column(name, np.where(lost, np.nan, v)) for name, v in facts.items()}
    return CellTable(
        f"{family}-{seed}", tuple(axis for axis in axes if axis is not None), columns, "synthetic"
    )


def _plane(places: Floats, generator: np.random.Generator) -> tuple[Floats, Floats]:
    """Return load and temperature of each place; a third axis moves both a little."""
    load = places[:, 0]
    cold = places[:, 1] if places.shape[1] > 1 else np.full(len(places), 0.6)
    for extra in places.T[2:]:
        load = load + generator.uniform(-0.3, 0.3) * (extra - 0.5)
        cold = cold + generator.uniform(-0.3, 0.3) * (extra - 0.5)
    return load, cold


class _Draws:
    """What is drawn for one map, in the order in which it is asked for."""

    def __init__(self, generator: np.random.Generator, noise: float, shape: tuple[int, ...]):
        self._generator, self._noise, self._shape = generator, noise, shape

    def between(self, low: float, high: float) -> float:
        """Return a number that is the same in all cells."""
        return float(self._generator.uniform(low, high))

    def scatter(self, size: float) -> Floats:
        """Return noise, another number in each cell."""
        return np.asarray(self._noise * size * self._generator.standard_normal(self._shape))


def _taxonomy(
    load: Floats, cold: Floats, family: Family, generator: np.random.Generator, noise: float
) -> dict[str, Floats]:
    """Return the four columns of the rule where the paper's picture holds."""
    draws = _Draws(generator, noise, load.shape)
    wide, margin = _margins(load, cold, family, draws)
    step = draws.between(0.008, 0.05)
    converged = 1 / (1 + np.exp(np.clip(-(margin + draws.scatter(0.012)) / step, -50, 50)))
    floor = np.log(draws.between(0.0005, 0.004)) + 0.7 * (1 - load)
    high = np.log(0.06) + draws.between(1.5, 3.5) * np.tanh(2.5 * np.maximum(-margin, 0)) + 0.3
    loss = high + converged * (floor - high) + draws.scatter(0.1)
    trace = _trace(load, cold, margin, converged, family, draws)
    mc = _connectivity(load, cold, wide, margin, converged, draws)
    return _named(loss, trace, mc, _similarity(load, cold, converged, family, draws))


def _margins(load: Floats, cold: Floats, family: Family, draws: _Draws) -> tuple[Floats, Floats]:
    """Return how far a cell is beyond the least load, and within the region of convergence.

    Training succeeds right of one line and below another; where both are near, a rounded corner.
    """
    few, between = family == "little_data", draws.between
    wide = (
        load
        - (between(0.0, 0.25) if few else between(0.15, 0.6))
        + between(-0.2, 0.35) * (cold - 0.5)
    )
    cool = (
        cold
        - (between(-0.2, 0.2) if few else between(0.05, 0.6))
        + between(-0.1, 0.4) * (load - 0.5)
    )
    corner = between(0.03, 0.12)
    margin = -corner * np.logaddexp(-wide / corner, -cool / corner)
    return wide, margin + 0.03 * np.sin(between(4, 9) * (load + cold) + between(0, 6))


def _trace(
    load: Floats, cold: Floats, margin: Floats, converged: Floats, family: Family, draws: _Draws
) -> Floats:
    """Return the logarithm of the trace: lower where training converged, with a ridge if noisy."""
    between = draws.between
    hot_trace, rise = between(4.8, 6.2), between(1.5, 3.5)
    drop = between(1.0, 3.0)
    trace = hot_trace + rise * cold * (1 - 0.5 * converged) - drop * converged
    if family == "noisy_labels":
        trace = trace + between(0.5, 1.5) * np.exp(-((margin / between(0.05, 0.15)) ** 2))
    return np.asarray(trace - between(0.0, 0.8) * load + draws.scatter(0.09))


def _connectivity(
    load: Floats, cold: Floats, wide: Floats, margin: Floats, converged: Floats, draws: _Draws
) -> Floats:
    """Return the mode connectivity: barriers near the least load, a sign of its own elsewhere."""
    between, scatter = draws.between, draws.scatter
    side = load - between(0.05, 0.5) - between(0.2, 1.0) * (cold - between(0.1, 0.6))
    sign = np.where(side + scatter(0.03) > 0, 1.0, -1.0)
    size = between(3, 7) + between(5, 18) * np.abs(side)
    shrink = np.clip(np.where(sign > 0, -margin / 0.25, 1.0), 0.05, 1)
    sharp = sign * size * shrink * np.exp(scatter(0.15))
    barrier = between(2, 14) * np.exp(-np.maximum(wide, 0) / between(0.03, 0.15))
    flat = -barrier * np.exp(scatter(0.25)) - np.abs(scatter(0.004))
    return np.where(converged > 0.5, flat, sharp)


def _similarity(
    load: Floats, cold: Floats, converged: Floats, family: Family, draws: _Draws
) -> Floats:
    """Return the CKA: highest for wide networks at one temperature, low where none converged."""
    between, scatter = draws.between, draws.scatter
    top = between(0.68, 0.9) - (between(0.05, 0.2) if family == "noisy_labels" else 0.0)
    best = between(0.1, 0.5)
    similar = (
        top
        - between(0.1, 0.5) * np.maximum(1 - load, 0) ** between(1, 2)
        - between(0.1, 0.4) * np.abs(cold - best)
    )
    low = between(0.3, 0.5) - between(0, 0.2) * cold
    return np.where(converged > 0.5, similar + scatter(0.012), low + scatter(0.04))


def _waves(
    load: Floats, cold: Floats, family: Family, generator: np.random.Generator, noise: float
) -> dict[str, Floats]:
    """Return four random smooth functions, each cut by its threshold somewhere."""

    def wave(scale: float) -> Floats:
        values = np.zeros_like(load)
        for _ in range(24):
            direction = generator.standard_normal(2) * scale
            values += np.cos(direction[0] * load + direction[1] * cold + generator.uniform(0, 7))
        values = (values - np.median(values)) / max(float(np.std(values)), 1e-9)
        values = values + generator.uniform(-0.8, 0.8)
        return np.asarray(values + noise * 0.07 * generator.standard_normal(load.shape))

    first = wave(2.5)
    loss = np.log(0.05) + 1.5 * first
    trace = 6.0 + 0.7 * (0.7 * first + 0.5 * wave(2.5) + 0.3)
    return _named(loss, trace, 4 * wave(2.5) ** 3 / 2, 0.68 + 0.08 * wave(3.0))


def _named(loss: Floats, trace: Floats, mc: Floats, cka: Floats) -> dict[str, Floats]:
    return {
        "train_loss": np.exp(loss),
        "hessian_trace": np.exp(trace),
        "mode_connectivity": np.clip(mc, -100, 100),
        "cka": np.clip(cka, 0, 1),
    }
