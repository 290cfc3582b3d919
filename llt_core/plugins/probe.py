"""Import every plugin in a process of its own, and say what happened.

``llt doctor`` and ``llt list-plugins -v`` want to know what really loads and which device
torch sees. Importing all that here would be slow and could break the caller, so it is done
in a child process, which prints one JSON document.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from llt_core.locations import data_root

TIMEOUT = 120.0


def probe() -> dict[str, Any]:
    """Run the probe in a child process and return its report.

    Keys: ``loads`` (qualified name → error, empty if it loads), ``tasks`` (name → files
    found and looked for under the data root), ``device`` (what torch says).
    """
    command = [sys.executable, "-m", "llt_core.plugins.probe"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=True)
        report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (subprocess.SubprocessError, ValueError, IndexError) as error:
        detail = getattr(error, "stderr", None) or str(error)
        return {"loads": {}, "tasks": {}, "device": {}, "error": detail.strip()[-500:]}
    return report


def _report() -> dict[str, Any]:
    from llt_core.interfaces import Task
    from llt_core.plugins.catalogue import Catalogue
    from llt_core.plugins.loader import load

    loads, tasks = {}, {}
    root = data_root()
    catalogue = Catalogue.discover()
    for entry in catalogue.entries:
        if catalogue.state(entry) == "disabled":
            continue
        try:
            cls = load(entry)
            loads[entry.qualified] = ""
            if issubclass(cls, Task):
                tasks[entry.qualified] = _files(cls, root)
        except Exception as error:
            loads[entry.qualified] = str(getattr(error, "what", error))
    return {"loads": loads, "tasks": tasks, "device": _device()}


def _files(cls: type[Any], root: Path) -> dict[str, int]:
    files = cls().files(root)
    return {"found": sum(path.is_file() for path in files), "wanted": len(files)}


def _device() -> dict[str, Any]:
    try:
        import torch
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}
    return {
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "cuda": [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())],
        "mps": torch.backends.mps.is_available(),
    }


if __name__ == "__main__":
    print(json.dumps(_report()))
