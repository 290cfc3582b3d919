"""Borrowing the global random state, which dropout and initialisers draw from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded_globally(generator: torch.Generator, device: torch.device) -> Iterator[None]:
    """Seed the global generators of the CPU and of ``device`` for a while, then restore them.

    The seed is drawn from ``generator``.
    """
    seed = int(torch.randint(2**62, (), generator=generator))
    elsewhere = device.type != "cpu"
    with torch.random.fork_rng(
        devices=[device] if elsewhere else [], device_type=device.type if elsewhere else "cuda"
    ):
        torch.default_generator.manual_seed(seed)
        if elsewhere:
            getattr(torch, device.type).manual_seed(seed)
        yield
