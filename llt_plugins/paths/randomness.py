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
        if device.type == "mps":  # it has one generator, which fork_rng does not know
            stack.callback(torch.mps.set_rng_state, torch.mps.get_rng_state())
            torch.mps.manual_seed(seed)
        elif device.type != "cpu":
            accelerator = getattr(torch, device.type)
            stack.enter_context(torch.random.fork_rng(devices=[device], device_type=device.type))
            with accelerator.device(device):
                accelerator.manual_seed(seed)
        stack.enter_context(torch.random.fork_rng(devices=[]))
        torch.default_generator.manual_seed(seed)
        yield
