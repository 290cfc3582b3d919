"""Records to store: real cells with made-up results."""

from collections.abc import Callable
from typing import Any

import pytest

from llt_core.interfaces import Measurement
from llt_core.spec import MeasureCell, PluginRef, digest
from llt_core.store import Record


def make_record(
    number: int = 0,
    *,
    metric: str = "llt/test_loss",
    parameters: dict[str, Any] | None = None,
    measurements: tuple[Measurement, ...] | None = None,
    **composition: Any,
) -> Record:
    cell = MeasureCell(
        metric=PluginRef(name=metric, version=1, parameters=parameters or {}),
        models=(f"{number:032x}",),
    )
    full = {
        "task": {"name": "llt/digits", "version": 1, "parameters": {}},
        "architecture": {"name": "llt/mlp", "version": 1, "parameters": {"width": 8}},
        "perturbations": [],
        "train": {"epochs": 2, "milestones": [0.5, 0.75], "dtype": "float32"},
        "seeds": [number],
        "metric": {"name": metric, "version": 1, "parameters": parameters or {}},
    }
    return Record(
        digest=digest(cell),
        cell=cell,
        seconds=1.5,
        composition=full | composition,
        provenance={
            "finished": "2026-01-01T00:00:00+00:00",
            "device": "cpu",
            "data": {"fingerprint": "sha256:00", "verified": True},
        },
        measurements=measurements
        or (
            Measurement(
                name=metric.rpartition("/")[2], value=number + 0.5, standard_error=0.25, n=360
            ),
        ),
    )


@pytest.fixture
def record() -> Callable[..., Record]:
    """Return a function that makes the record number N, with the parameters given."""
    return make_record
