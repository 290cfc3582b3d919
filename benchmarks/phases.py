"""How long `llt phases` takes on a large table, start-up included, and what it is made of.

    python benchmarks/phases.py [--cells 10000] [--columns 20] [--models 5] [--repeat 5]

Writes a table of random but plausible cells, then runs whole processes: median and range of
wall seconds, with and without --json, beside the reading of the table alone. With --models the
table is a long one, one row a measurement on one model, as `llt export` writes it to Parquet.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import combinations
from pathlib import Path

import numpy as np

PAIRED = ("cka", "mode_connectivity")
SETTINGS = 2
"""Parameters of each metric, which long tables have a column for."""


def make(cells: int, columns: int) -> dict[str, np.ndarray]:
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
    return values


def write(values: dict[str, np.ndarray], path: Path) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(values)
        writer.writerows(zip(*(held.tolist() for held in values.values()), strict=True))


def write_long(values: dict[str, np.ndarray], models: int, path: Path) -> None:
    """Write one row a measurement of a model or a pair; they scatter by a tenth of the mean."""
    import pyarrow as arrow
    from pyarrow import parquet

    from llt_core.spec import TrainingRecipe

    names = [name for name in values if name not in ("width", "batch_size")]
    singles = [str(seed) for seed in range(models)]
    pairs = ["+".join(pair) for pair in combinations(singles, 2)]
    measured = [
        (n, s) for n in range(len(names)) for s in (pairs if names[n] in PAIRED else singles)
    ]
    cells = len(values["width"])
    cell = np.repeat(np.arange(cells), len(measured))
    name = np.tile([n for n, _ in measured], cells)
    rng = np.random.default_rng(1)
    means = np.stack([values[name] for name in names], axis=1)[cell, name]
    rows = len(cell)
    recipe = TrainingRecipe().model_dump(mode="json", exclude={"batch_size"})
    columns = {
        "architecture.width": values["width"][cell],
        "train.batch_size": values["batch_size"][cell],
        "task": ["cifar10"] * rows,
        **{
            f"train.{key}": [str(v) if isinstance(v, list) else v] * rows
            for key, v in recipe.items()
        },
        "seeds": [seeds for _, seeds in measured] * cells,
        "name": [names[n] for n, _ in measured] * cells,
        "value": means * (1 + 0.1 * rng.normal(size=rows)),
        "standard_error": np.abs(means) / 100,
        "unit": [""] * rows,
        "n": np.full(rows, 50_000),
        "status": ["ok"] * rows,
        "seconds": rng.random(rows),
        "digest": [f"{number:032x}" for number in range(rows)],
    }
    for number in range(SETTINGS * len(names)):
        mine = name == number // SETTINGS
        columns[f"metric.setting_{number}"] = arrow.array(np.full(rows, 64), mask=~mine)
    parquet.write_table(arrow.table(columns), path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=10_000)
    parser.add_argument("--columns", type=int, default=20)
    parser.add_argument("--models", type=int, default=0)
    parser.add_argument("--repeat", type=int, default=5)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        values = make(asked.cells, asked.columns)
        path = Path(folder) / ("table.parquet" if asked.models else "table.csv")
        if asked.models:
            write_long(values, asked.models, path)
        else:
            write(values, path)
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
