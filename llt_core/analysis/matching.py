"""Pairs of cells that are alike in one number."""

from __future__ import annotations

import heapq

import numpy as np
import numpy.typing as npt

from llt_core.analysis.table import Floats


def closest_pairs(
    first: Floats, second: Floats, orders: tuple[Floats, Floats], caliper: float
) -> npt.NDArray[np.intp]:
    """Pair two sets of numbers one to one: the closest two first, while within ``caliper``.

    The closest two of different sets are always neighbours in the order of all that are left.

    Parameters
    ----------
    first, second
        Shapes (n,) and (m,).
    orders
        What orders equal numbers, so that the order of rows does not matter.

    Returns
    -------
    numpy.ndarray
        Places in the two sets, shape (pairs, 2), by rising distance.

    >>> sets = np.array([1.0, 2.0]), np.array([1.4, 9.0, 0.9])
    >>> closest_pairs(*sets, orders=sets, caliper=0.7).tolist()
    [[0, 2], [1, 0]]
    """
    values = np.concatenate([first, second])
    is_second = np.arange(len(values)) >= len(first)
    order = np.lexsort((np.concatenate(orders), is_second, values))
    numbers, sides = values[order].tolist(), is_second[order].tolist()
    before = list(range(-1, len(order) - 1))
    behind = [*range(1, len(order)), -1]
    used = [False] * len(order)
    near = [
        (numbers[place + 1] - numbers[place], place, place + 1)
        for place in range(len(order) - 1)
        if sides[place] != sides[place + 1]
    ]
    heapq.heapify(near)
    pairs = []
    while near and near[0][0] <= caliper:
        _, low, high = heapq.heappop(near)
        if used[low] or used[high]:
            continue
        used[low] = used[high] = True
        pairs.append((high, low) if sides[low] else (low, high))
        left, right = before[low], behind[high]
        if left >= 0:
            behind[left] = right
        if right >= 0:
            before[right] = left
        if left >= 0 and right >= 0 and sides[left] != sides[right]:
            heapq.heappush(near, (numbers[right] - numbers[left], left, right))
    places = order[np.array(pairs, dtype=np.intp).reshape(-1, 2)]
    places[:, 1] -= len(first)
    return places
