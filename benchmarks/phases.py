"""How long `llt phases` takes on a large table, start-up included, and what it is made of.

    python benchmarks/phases.py [--cells 10000] [--columns 20] [--repeat 5]

Writes a table of random but plausible cells, then runs whole processes: median and range of
wall seconds, with and without --json, beside the reading of the table alone.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np


def write(path: Path, cells: int, columns: int) -> None:
    side = round(cells**0.5)
    rng = np.random.default_rng(0)
    width, batch = (axis.ravel() for axis in np.meshgrid(range(1, side + 1), range(1, side + 1)))
    u = width / side
    noise = rng.normal(size=(columns, side**2))
    cka = 1 / (1 + np.exp(2 - 4 * u + 0.2 * noise[0]))
    loss = np.exp(2 - 8 * u + 0.2 * noise[1])
    values = {
        "width": width, "batch_size": batch, "train_loss": loss, "cka": cka,
        "train_accuracy": 100 * np.exp(-loss / 3), "test_accuracy": 60 + 35 * cka + noise[2],
        "test_loss": loss + 0.3, "hessian_trace": np.exp(9 - 6 * u + 0.3 * noise[3]),
        "mode_connectivity": 12 * (batch / side - 0.5) * (1 - u) + 0.3 * noise[4],
    }  # fmt: skip
    for number in range(columns - len(values) + 2):
        values[f"metric_{number}"] = cka + 0.1 * noise[5 + number]
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(values)
        writer.writerows(zip(*(held.tolist() for held in values.values()), strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=10_000)
    parser.add_argument("--columns", type=int, default=20)
    parser.add_argument("--repeat", type=int, default=5)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.csv"
        write(path, asked.cells, asked.columns)
        llt = [sys.executable, "-m", "llt_core.cli.main", "phases", str(path)]
        read = "import sys; from llt_core.store.tables import open_table as o; o(sys.argv[1], None)"
        commands = {
            "llt phases": llt,
            "llt phases --json": [*llt, "--json"],
            "llt phases --fit": [*llt, "--fit"],
            "reading alone": [sys.executable, "-c", read, str(path)],
        }
        for name, command in commands.items():
            times = []
            for _ in range(asked.repeat):
                start = time.perf_counter()
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
                times.append(time.perf_counter() - start)
            median, low, high = statistics.median(times), min(times), max(times)
            print(f"{name:20} median {median:.2f} s  ({low:.2f} to {high:.2f}, n = {asked.repeat})")


if __name__ == "__main__":
    main()
