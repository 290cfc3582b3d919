"""The splits a cell sees: loaded once per process, perturbed in the order given."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from llt_core.errors import DataError
from llt_core.interfaces import Perturbation, Splits, Task
from llt_core.work.seeding import seed_from


def load_splits(
    task: Task, perturbations: Sequence[tuple[str, Perturbation]], data_root: Path
) -> Splits:
    """Load the splits of ``task`` and apply ``perturbations`` (name, component) in order.

    The generator of each follows from its name and its own seed alone, so that all models
    and all strengths see nested versions of one draw.
    """
    splits = _load(task, data_root)
    for name, perturbation in perturbations:
        seed = seed_from("perturbation", name, perturbation.seed)
        splits = perturbation.apply(splits, torch.Generator().manual_seed(seed))
    return splits


@lru_cache(maxsize=2)
def _load(task: Task, data_root: Path) -> Splits:
    splits = task.datasets(data_root)
    missing = set(task.describe().splits) - set(splits)
    if missing:
        raise DataError(
            f"the task gave no split called {' or '.join(sorted(missing))}",
            where=f"{type(task).__name__}.datasets",
            expected=f"the splits {', '.join(task.describe().splits)}",
        )
    return splits


def describe_data(task: Task, splits: Splits, data_root: Path) -> dict[str, Any]:
    """Return where the data came from, for provenance.

    ``verified`` says whether the files are known to be the published ones; a stand-in can
    never pass for the original, because it is false there.
    """
    return {
        "fingerprint": task.fingerprint(data_root),
        "verified": task.pinned(),
        "files": [str(path) for path in task.files(data_root)],
        "sizes": {name: len(examples) for name, examples in splits.items()},
    }
