"""Where a result comes from: code, versions, machine, data, seeds, command."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from llt_core.plugins import code_copy
from llt_core.plugins.finder import installed_version
from llt_core.version import __version__

LIBRARIES = (
    "torch",
    "torchvision",
    "numpy",
    "pydantic",
    "pyhessian",
    "scikit-learn",
    "sentencepiece",
)


def describe_origin(
    *, device: torch.device, thread_count: int, packages: Iterable[str], command: str
) -> dict[str, Any]:
    """Return the provenance every record carries; see the keys below."""
    return {
        "llt": __version__,
        "command": command,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": _machine(),
        "host": platform.node(),
        "process": os.getpid(),
        "device": device.type,
        "device_name": _device_name(device),
        "threads": thread_count,
        "versions": _versions(tuple(LIBRARIES)),
        "plugin_packages": _versions(tuple(sorted(set(packages)))),
        "git": _checkouts(),
    }


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return _machine()


@lru_cache
def _machine() -> str:
    """Return the processor's name and its vector instructions as torch sees them."""
    name = platform.processor() or platform.machine()
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2].strip()
                break
    return f"{name} ({torch.backends.cpu.get_cpu_capability()})"


@lru_cache
def _versions(names: tuple[str, ...]) -> dict[str, str]:
    known = {name: installed_version(name) for name in names}
    return {name: version for name, version in known.items() if version is not None}


@lru_cache
def _checkouts() -> dict[str, Any]:
    """Return where the code comes from: llt's checkout, and the one around the current folder."""
    return code_copy.origin(Path.cwd())
