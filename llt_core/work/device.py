"""Choosing the device, and keeping torch's thread count in hand."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from llt_core.errors import RequestError
from llt_core.interfaces import threads_asked
from llt_core.spec.compute import DEVICES


def choose_device(name: str) -> torch.device:
    """Return the device called ``name``; ``auto`` takes cuda, then mps, then cpu.

    Raises
    ------
    RequestError
        The device does not exist here.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise RequestError(
            f"there is no usable device {name!r} here: {str(error).splitlines()[0]}",
            expected=DEVICES,
            next_step="--device cpu (llt doctor shows what there is)",
        ) from error
    return device


@contextmanager
def threads(count: int) -> Iterator[int]:
    """Use ``count`` CPU threads inside the block.

    0: as many as the executor told this process to use, else as ``OMP_NUM_THREADS`` says, else
    one per core it may use.
    """
    before = torch.get_num_threads()
    chosen = count or threads_asked() or _cores()
    torch.set_num_threads(chosen)
    try:
        yield chosen
    finally:
        torch.set_num_threads(before)


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
