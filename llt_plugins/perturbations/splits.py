"""What perturbations of chosen splits share: which they are, and a generator for each."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from llt_core.interfaces import TaskDescription

if TYPE_CHECKING:
    import torch


def missing_split(splits: Sequence[str], task: TaskDescription) -> str | None:
    """Say which of ``splits`` the task does not have; None if it has them all."""
    for split in splits:
        if split not in task.splits:
            return f"it changes the split {split!r}, but the task has {', '.join(task.splits)}"
    return None


def draw_base(generator: torch.Generator) -> int:
    """Return the number from which the generators of all splits follow."""
    import torch

    return int(torch.randint(2**62, (), generator=generator))


def split_generator(base: int, split: str) -> torch.Generator:
    """Return a generator for one split that does not depend on which others are changed."""
    import torch

    digest = hashlib.sha256(f"{base}:{split}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
