"""How many jobs the nodes of a Ray cluster have room for."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping

from llt_core.interfaces import RequestError

COUNT_EVERY = 2.0
"""Seconds for which the number of places in the cluster is remembered."""


class Places:
    """The places for one kind of job in the cluster that this process is connected to.

    Parameters
    ----------
    needs
        What one job needs, by Ray's names; what it needs nothing of is left out.
    """

    def __init__(self, needs: Mapping[str, float]) -> None:
        self._needs = {name: amount for name, amount in needs.items() if amount}
        self._counted, self._known = -math.inf, 0

    def count(self) -> int:
        """Return how many jobs the nodes that are alive can run at once."""
        import ray

        if time.monotonic() - self._counted > COUNT_EVERY:
            nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
            self._known = sum(places_on(node, self._needs) for node in nodes)
            self._counted = time.monotonic()
        return self._known

    def none(self) -> RequestError:
        """Return what to raise where not even one job has room."""
        import ray

        needs = ", ".join(f"{amount:g} {name}" for name, amount in self._needs.items())
        nodes = []
        for node in ray.nodes():
            if node["Alive"]:
                has = ", ".join(f"{v:g} {k}" for k, v in sorted(node["Resources"].items())
                                if not k.startswith("node:") and "memory" not in k)  # fmt: skip
                nodes.append(f"{node['NodeManagerAddress']} ({has or 'nothing'})")
        return RequestError(
            f"no node of this Ray has room for one job, which needs {needs}",
            where=f"nodes: {'; '.join(nodes)}",
            expected="one node that has all of it",
            next_step="ask for less (cpus, gpus, resources), start a node that has it, or set "
            "jobs=N if nodes will join later",
        )


def places_on(node: Mapping[str, float], needs: Mapping[str, float]) -> int:
    """Return how many jobs fit on a node at once.

    A part of a GPU is a part of *one* GPU.

    >>> places_on({"CPU": 4, "GPU": 2}, {"CPU": 1, "GPU": 0.6})
    2
    """
    counts = []
    for name, amount in needs.items():
        has = node.get(name, 0)
        if name == "GPU" and amount < 1:
            counts.append(int(has) * int(1 / amount + 1e-9))
        else:
            counts.append(int(has / amount + 1e-9))
    return min(counts)
