"""Measurements do not disturb each other: what a metric leaves changed is noticed and undone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import nn

from llt_core.errors import LltError
from llt_core.interfaces import Metric
from llt_core.interfaces.as_found import (
    copied,
    first_difference,
    flip_back,
    model_facts,
    torch_switches,
)
from llt_core.interfaces.places import method_of


class Watch:
    """Compares models with what they were when they were loaded, bit for bit but for signed zeros.

    Attributes
    ----------
    disturbed
        Whether some model is no longer as it was, so that all have to be loaded anew, and with
        them what metrics have remembered of them.
    """

    def __init__(self, models: Sequence[nn.Module]) -> None:
        self._models = tuple(models)
        self._before = [copied(model_facts(model)) for model in models]
        self.disturbed = False

    @contextmanager
    def over(self, metric: Metric, name: str, chosen: Sequence[int]) -> Iterator[None]:
        """Run ``metric`` on the ``chosen`` models inside the block.

        Raises
        ------
        LltError
            It has left something changed, so that neither its own number nor those of the
            metrics after it could be trusted. What it raises itself comes first.
        """
        switches = torch_switches()
        try:
            yield
        finally:
            flipped = first_difference(switches, torch_switches())
            if flipped:
                flip_back(switches)
            changed = self._changed(chosen)
        if changed or flipped:
            raise LltError(
                f"the metric {name} changed {changed or flipped}; its measurement is not kept",
                where=method_of(metric, "measure"),
                expected="everything left as it was found, also when the metric returns early",
                next_step="change a copy.deepcopy of the model, or put back what you change",
            )

    def _changed(self, chosen: Sequence[int]) -> str:
        differences = (
            first_difference(self._before[index], model_facts(self._models[index]))
            for index in chosen
        )
        changed = next(filter(None, differences), "")
        self.disturbed = self.disturbed or bool(changed)
        return changed
