"""Trainings that are not finished: one file a cell, replaced as a whole.

``STORE/partial/abcd…/state.safetensors`` holds how far the training of a cell has come. It is
written beside and renamed: a reader finds a whole one, or the one before.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Container
from pathlib import Path

from llt_core.store.cells import Store
from llt_core.store.files import sync

_FILE = "state.safetensors"


def partial_file(store: Store, digest: str) -> Path:
    """Return the file of a cell's unfinished training, whether it exists or not."""
    return store.root / "partial" / digest / _FILE


def put_partial(store: Store, digest: str, staged: Path) -> None:
    """Move the file ``staged``, which lies in the store, in place of the one before.

    Raises
    ------
    OSError
        It cannot be written. The one before stays.
    """
    target = partial_file(store, digest)
    sync(staged)
    target.parent.mkdir(parents=True, exist_ok=True)
    staged.replace(target)
    sync(target.parent)


def drop_finished(store: Store, finished: Container[str]) -> None:
    """Forget what is left of trainings in ``finished`` that nobody computes.

    A process that was killed just after it had stored its model could not do so itself.
    """
    folder = store.root / "partial"
    for digest in os.listdir(folder) if folder.is_dir() else ():
        if digest in finished and not (store.root / "claims" / digest).exists():
            drop_partial(store, digest)


def drop_partial(store: Store, digest: str) -> None:
    """Forget the unfinished training of a cell, if there is one."""
    shutil.rmtree(partial_file(store, digest).parent, ignore_errors=True)
