"""What this machine offers: cores and GPUs, found out without touching either."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from llt_core.interfaces import THREADS_VARIABLE, RequestError

GROUPS = Path("/sys/fs/cgroup")
VISIBLE = "CUDA_VISIBLE_DEVICES"

COUNT = """
import ctypes, sys
try:
    cuda = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
except OSError:
    sys.exit(print(0))
found = ctypes.c_int(0)
if cuda.cuInit(0) == 0:
    cuda.cuDeviceGetCount(ctypes.byref(found))
print(found.value)
"""


def cores(groups: Path = GROUPS) -> int:
    """Return how many cores this process may use: its affinity, and its container's share."""
    if hasattr(os, "sched_getaffinity"):
        allowed = len(os.sched_getaffinity(0))
    else:
        allowed = os.cpu_count() or 1
    return max(1, min([allowed, *(math.ceil(share) for share in _shares(groups))]))


def _shares(groups: Path) -> Iterator[float]:
    """Yield the cores that control groups leave: version 2, then 1."""
    for quota, period in (("cpu.max", None), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        try:
            words = (groups / quota).read_text().split()
            if period is not None:
                words += (groups / period).read_text().split()
            share = int(words[0]) / int(words[1])
        except (OSError, ValueError, IndexError, ZeroDivisionError):
            continue  # no such file, or "max"
        if share > 0:
            yield share


def visible_gpus() -> list[str]:
    """Return the names by which :data:`VISIBLE` selects the CUDA devices seen from here.

    The CUDA driver itself is asked, in a process of its own: it knows what the variable
    means (numbers, UUIDs, slices of a device), and a process that has asked it can no longer
    be forked into one that computes. This process neither asks nor loads torch (2 s).
    """
    if sys.platform not in ("linux", "win32"):
        return []
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", COUNT],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    count = int(done.stdout) if done.returncode == 0 else 0
    named = [name.strip() for name in os.environ.get(VISIBLE, "").split(",") if name.strip()]
    return named[:count] if named else [str(number) for number in range(count)]


def choose_gpus(wanted: Sequence[int], visible: Sequence[str]) -> list[str]:
    """Return the names of the devices ``wanted``, all that are visible if none is.

    Raises
    ------
    RequestError
        One of them does not exist.
    """
    for number in wanted:
        if number >= len(visible):
            there = f"0 to {len(visible) - 1}" if visible else "none: no CUDA device is visible"
            raise RequestError(
                f"there is no GPU {number} here",
                where="executor local, parameter gpus",
                expected=there,
                next_step="llt doctor shows what there is",
            )
    return [visible[number] for number in wanted] if wanted else list(visible)


def lay_out(
    workers: int, threads: int, per_gpu: int, gpus: Sequence[str], cores: int, most: int = 0
) -> list[Mapping[str, str]]:
    """Return the variables of each worker's environment.

    Parameters
    ----------
    workers, threads
        As asked for; 0: one worker for each place on a GPU, else one for each core, which
        share the cores.
    per_gpu
        Places on each GPU; 0: hide them.
    gpus
        Names for :data:`VISIBLE`; dealt to the workers in turn.
    most
        Threads that a worker's share of the cores may not exceed; 0: no limit.
    """
    workers = workers or (len(gpus) * per_gpu if gpus else 0) or cores
    share = max(1, cores // workers)
    count = str(threads or min(share, most or share))
    shared = {THREADS_VARIABLE: count, "OMP_NUM_THREADS": count, "MKL_NUM_THREADS": count}
    if not per_gpu:
        return [{**shared, VISIBLE: ""}] * workers
    if not gpus:
        return [shared] * workers
    return [{**shared, VISIBLE: gpus[place % len(gpus)]} for place in range(workers)]
