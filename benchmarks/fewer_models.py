"""How few cells tell the phases of all: on published tables, and on maps drawn at random.

    python benchmarks/fewer_models.py [TABLE.csv …] [--starts 20] [--maps 12] [--jobs 2]

For each table what ``llt simulate`` prints. Then, for each family of synthetic maps and each shape
of grid, the mean share of cells (in %) with the right phase over --maps maps of one start each, at
20, 30 and 40 % of the cells. The settings of the designs were chosen on such maps.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

import numpy as np

from llt_core.analysis.design import DESIGNS
from llt_core.analysis.simulate import BUDGETS, Grid, replay
from llt_core.testing.phase_maps import FAMILIES, phase_map

SHAPES = ((5, 5), (7, 13), (13, 7), (13, 13), (4, 5, 5))
FIRST = 6000
"""Seeds below were used while the settings were chosen."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", nargs="*")
    parser.add_argument("--starts", type=int, default=20)
    parser.add_argument("--maps", type=int, default=12)
    parser.add_argument("--jobs", type=int, default=2)
    asked = parser.parse_args()
    for table in asked.tables:
        line = ["simulate", table, "--starts", str(asked.starts), "--jobs", str(asked.jobs)]
        subprocess.run([sys.executable, "-m", "llt_core.cli.main", *line, "--quiet"], check=True)
        print()
    print(f"{'family':14}{'shape':10}" + "".join(f"{design:>24}" for design in DESIGNS))
    for family in FAMILIES:
        for shape in SHAPES:
            start = time.perf_counter()
            seeds = range(FIRST, FIRST + asked.maps)
            grids = [Grid.of(phase_map(family, shape, seed=seed)) for seed in seeds]
            cells = []
            for design in DESIGNS:
                shares = [
                    replay(grid, design, BUDGETS, seed).right
                    for seed, grid in zip(seeds, grids, strict=True)
                ]
                means = 100 * np.mean(shares, axis=0)
                cells.append("  ".join(f"{mean:5.1f}" for mean in means))
            text = "×".join(map(str, shape))
            took = time.perf_counter() - start
            print(f"{family:14}{text:10}" + "".join(f"{c:>24}" for c in cells) + f"{took:6.0f} s")


if __name__ == "__main__":
    main()
