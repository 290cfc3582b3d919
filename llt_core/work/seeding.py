"""Seeds that follow from identities, and randomness that leaves no trace."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def seed_from(*parts: object) -> int:
    """Return a 63-bit seed determined by ``parts``.

    >>> seed_from("train", "abc") == seed_from("train", "abc") != seed_from("train", "abd")
    True
    """
    text = "\0".join(map(str, parts))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed every global generator inside the block and restore all of them after it."""
    python_state, numpy_state = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        random.seed(seed)
        np.random.seed(seed % 2**32)
        _seed_torch(seed)
        try:
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)


def _seed_torch(seed: int) -> None:
    """Do what ``torch.manual_seed`` does.

    Without an accelerator it spends a millisecond on seeds for devices that are not there.
    """
    if torch.accelerator.is_available():
        torch.manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)
