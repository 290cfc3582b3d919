"""Import every plugin in a process of its own, and say what happened.

``llt doctor`` and ``llt list-plugins -v`` want to know what really loads and which device
torch sees. Importing all that here would be slow and could break the caller, so it is done
in a child process. It says on standard output what it is about to try, so that a plugin that ends
the whole process is known by name; the probe then starts again without it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from llt_core.locations import data_root

TIMEOUT = 120.0
"""Seconds for one child process."""

MARK = "llt-probe "
"""Starts the lines of the child's output that are meant for the parent."""


def probe() -> dict[str, Any]:
    """Run the probe in a child process and return its report.

    Keys: ``loads`` (qualified name → error, empty if it loads), ``hooks`` (package → error,
    empty if its hook module can be used), ``tasks`` (name → files found and looked for under
    the data root), ``device`` (what torch says), and ``error`` if the child told nothing.
    """
    fatal: dict[str, str] = {}
    while True:
        output, reason = _run_child(fatal)
        lines = [line.removeprefix(MARK) for line in output.splitlines() if line.startswith(MARK)]
        last = lines[-1] if lines else ""
        if last.startswith("{"):
            report: dict[str, Any] = json.loads(last)
            for trial, why in fatal.items():
                kind, _, name = trial.partition(" ")
                report[kind][name] = why
            return report
        if not last or last in fatal:
            return {"loads": {}, "hooks": {}, "tasks": {}, "device": {}, "error": reason}
        fatal[last] = reason


def together(loads: Mapping[str, str]) -> list[str]:
    """Say each error once, after the names of all that it breaks.

    >>> together({"a": "no", "b": "", "c": "no", "d": "never"})
    ['a, c: no', 'd: never']
    """
    names: dict[str, list[str]] = {}
    for name, error in loads.items():
        if error:
            names.setdefault(error, []).append(name)
    return [f"{', '.join(broken)}: {error}" for error, broken in names.items()]


def _run_child(skipped: Collection[str]) -> tuple[str, str]:
    """Return what the child wrote, and how it ended if it did not end well."""
    command = [sys.executable, "-m", "llt_core.plugins.probe", *skipped]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT)
    except subprocess.TimeoutExpired as error:
        written = error.stdout or ""
        text = written if isinstance(written, str) else written.decode(errors="replace")
        return text, f"it takes more than {TIMEOUT:g} seconds"
    told = done.stderr.strip().splitlines()[-1:]
    return done.stdout, ": ".join([f"it ends the process with code {done.returncode}", *told])


def _report(skipped: Collection[str]) -> dict[str, Any]:
    from llt_core.interfaces import Task
    from llt_core.interfaces.places import said
    from llt_core.plugins.catalogue import Catalogue
    from llt_core.plugins.finder import new_manager, register
    from llt_core.plugins.loader import load

    loads, hooks, tasks = {}, {}, {}
    root = data_root()
    catalogue = Catalogue.discover()
    for entry in catalogue.entries:
        if catalogue.state(entry) == "disabled" or not _begin("loads", entry.qualified, skipped):
            continue
        try:
            cls = load(entry)
            loads[entry.qualified] = ""
            if issubclass(cls, Task):
                tasks[entry.qualified] = _files(cls, root)
        except (Exception, SystemExit) as error:
            loads[entry.qualified] = getattr(error, "reason", "") or said(error)
    for package in catalogue.packages:
        off = package.error or package.name in catalogue.settings.disable
        if off or not _begin("hooks", package.name, skipped):
            continue
        try:
            register(new_manager(), package)
            hooks[package.name] = ""
        except (Exception, SystemExit) as error:
            hooks[package.name] = f"{type(error).__name__}: {error}"
    # A torch that ends the process is told by the parent as device["error"].
    device = _device() if _begin("device", "error", skipped) else {}
    return {"loads": loads, "hooks": hooks, "tasks": tasks, "device": device}


def _begin(kind: str, name: str, skipped: Collection[str]) -> bool:
    """Tell the parent what is tried next, unless it is known to end the process."""
    trial = f"{kind} {name}"
    if trial in skipped:
        return False
    print(f"\n{MARK}{trial}", flush=True)
    return True


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
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "cuda": [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())],
        "mps": torch.backends.mps.is_available(),
    }


if __name__ == "__main__":
    report = json.dumps(_report(sys.argv[1:]))
    print(f"\n{MARK}{report}", flush=True)
