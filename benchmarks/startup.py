"""How long `llt list-plugins` and `llt --help` take, and what they are made of.

    python benchmarks/startup.py [--repeat 10]

Wall seconds of whole processes, median and range, beside the bare interpreter.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "llt --help": [sys.executable, "-m", "llt_core.cli.main", "--help"],
    "llt list-plugins": [sys.executable, "-m", "llt_core.cli.main", "list-plugins"],
    "llt show hessian_trace": [
        sys.executable, "-m", "llt_core.cli.main", "show", "hessian_trace",
    ],
    "import torch": [sys.executable, "-c", "import torch"],
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=10)
    repeat = parser.parse_args().repeat
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(repeat):
        for name, command in COMMANDS.items():
            start = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            times[name].append(time.perf_counter() - start)
    for name, seconds in times.items():
        median, low, high = statistics.median(seconds), min(seconds), max(seconds)
        print(f"{name:24} median {median:.3f} s  ({low:.3f} to {high:.3f}, n = {repeat})")


if __name__ == "__main__":
    main()
