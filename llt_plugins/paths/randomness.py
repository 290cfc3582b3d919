"""Borrowing the global random state, which dropout and initialisers draw from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch


@contextmanager
def seeded_globally(generator: torch.Generator, device: torch.device) -> Iterator[None]:
    """Seed the global generators of the CPU and of ``device`` for a while, then restore them.

    The seed is drawn from ``generator``.
    """
    seed = int(torch.randint(2**62, (), generator=generator))
    with ExitStack() as stack:
        if device.type == "mps":
            stack.enter_context(torch.random.fork_rng(devices=[]))
            stack.callback(torch.mps.set_rng_state, torch.mps.get_rng_state())
            torch.mps.manual_seed(seed)
        elif device.type != "cpu":
            stack.enter_context(torch.random.fork_rng(devices=[device], device_type=device.type))
            getattr(torch, device.type).manual_seed(seed)
        else:
            stack.enter_context(torch.random.fork_rng(devices=[]))
        torch.default_generator.manual_seed(seed)
        yield
