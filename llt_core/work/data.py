"""The splits a cell sees: loaded once per process, perturbed in the order given."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from llt_core.errors import DataError
from llt_core.interfaces import Splits, Task
from llt_core.interfaces.contracts import splits_of
from llt_core.work.stages import NamedPerturbation, perturbed


def load_splits(task: Task, perturbations: Sequence[NamedPerturbation], data_root: Path) -> Splits:
    """Load the splits of ``task`` and apply the perturbations of the data stage, in order."""
    splits = _load(type(task), task.model_dump_json(), data_root, task.fingerprint(data_root))
    return perturbed("data", perturbations, splits)


def check_data(task: Task, expected: str | None, data_root: Path) -> None:
    """Make sure that the files are still those that ``expected`` (in a cell) names, if any.

    Raises
    ------
    DataError
        They changed between planning and computing.
    """
    found = None if expected is None else task.fingerprint(data_root)
    if found != expected:
        raise DataError(
            f"the data files changed after the cell was planned: they are {found} now",
            where=str(data_root),
            expected=str(expected),
            next_step="run the same command again: it plans cells of their own for these files",
        )


@lru_cache(maxsize=2)
def _load(kind: type[Task], parameters: str, data_root: Path, fingerprint: str) -> Splits:
    """Load once; other files (another ``fingerprint``) are loaded anew."""
    task = kind.model_validate_json(parameters)
    return splits_of(task, task.datasets(data_root))


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
