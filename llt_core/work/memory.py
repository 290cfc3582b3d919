"""Memory: freed blocks are kept for the next step, and given back after running out."""

from __future__ import annotations

import ctypes
import gc
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Parameters of mallopt(3)."""


@cache
def keep_freed_memory() -> bool:
    """Let glibc reuse large blocks; return whether the setting took.

    Every training step frees and allocates the same activations. By default glibc maps and
    unmaps the large ones each time, and the kernel clears every page again: 10 to 20 % of a
    step of a small network. 32 MiB is the largest threshold glibc accepts. Other C libraries
    are left alone.
    """
    if sys.platform != "linux":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_MMAP_THRESHOLD, 32 << 20)) and bool(mallopt(_TRIM_THRESHOLD, 1 << 30))


@contextmanager
def memory_given_back() -> Iterator[None]:
    """Free the memory of the device where the block fails for the lack of it.

    Other processes that share the device, and what this one does next, can then have it. What
    the block's own functions held is let go; what the caller of the block holds stays.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        traceback.clear_frames(error.__traceback__)
        gc.collect()
        torch.cuda.empty_cache()
        raise
