"""Keeping freed memory for the next step instead of handing it back to the system."""

from __future__ import annotations

import ctypes
import sys
from functools import cache

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
