"""How fast a sweep plans, runs and answers as its cells grow from 100 to 10,000.

    python benchmarks/sweep.py [--sizes 100 1000 10000] [--run 500]

Cells are trivial: a perceptron of one hidden layer, trained for one step, and its loss. Each line
is one process of its own: seconds from its start to the plan (imports included), to knowing what
a store lacks, and the peak of its memory; "full" is a store that holds every cell. Then the cells
of --run are computed by the inline executor: seconds a cell, and how many of them are the
engine's and the worker's own, training and measuring taken off.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

CHILD = """
import json, resource, sys, time
start = time.perf_counter()
from pathlib import Path
from llt_core.plugins import Catalogue
from llt_core.spec import SweepSpec
from llt_core.sweep import make_plan
from llt_core.sweep.preview import preview

cells, store, what = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
spec = SweepSpec.of(
    task="digits", architecture={"name": "mlp", "width": 2, "depth": 1},
    metrics=["train_loss"], models=2, train={"epochs": 1, "batch_size": 1024},
    axes={
        "load": {"field": "train.weight_decay", "geomspace": [1e-6, 1e-2, max(cells // 40, 2)]},
        "temperature": {"field": "train.learning_rate", "geomspace": [1e-3, 1, 10]},
    },
)
plan = make_plan(spec, Catalogue.discover(), Path("/nowhere"))
planned = time.perf_counter() - start
if what == "plan":
    ahead = preview(plan, store)
    assert "torch" not in sys.modules
    facts = {"todo": len(ahead.todo)}
elif what == "fake":
    from llt_core.store import Checkpoint, Epoch, Record, Store
    from llt_core.interfaces import Measurement

    opened = Store(store)
    for cell in plan.cells:
        train = cell.cell.kind == "train"
        name = "train_loss"
        taken = Measurement(name=name, value=1.0, standard_error=0.0, unit="nats", n=1437)
        record = Record(
            digest=cell.digest, cell=cell.cell, seconds=0.1, composition=cell.composition,
            provenance={"finished": "", "data": {"verified": True}},
            history=(Epoch(epoch=1, learning_rate=0.1, train_loss=2.0, train_accuracy=10.0,
                           seconds=0.1),) if train else (),
            checkpoint=Checkpoint(sha256="", epoch=1, parameters=1) if train else None,
            measurements=() if train else (taken,),
        )
        folder = opened.path(cell.digest)
        folder.mkdir(parents=True)
        (folder / "record.json").write_text(record.model_dump_json())
    facts = {}
else:
    import llt_core

    import torch  # its import is no part of the engine

    begin = time.perf_counter()
    result = llt_core.sweep(spec, store=store, compute={"threads": 1, "device": "cpu"})
    took = time.perf_counter() - begin
    assert not result.failed
    work = sum(record.seconds for record in result.records)
    facts = {"took": took, "work": work}
print(json.dumps({
    "cells": len(plan.cells), "planned": planned, "ready": time.perf_counter() - start,
    "mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, **facts,
}))
"""


def child(cells: int, store: Path, what: str) -> dict[str, float]:
    command = [sys.executable, "-c", CHILD, str(cells), str(store), what]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--run", type=int, default=500)
    wanted = parser.parse_args()
    scratch = Path(tempfile.mkdtemp())
    try:
        print("cells  store  planned  known what to do  peak memory")
        for size in wanted.sizes:
            for state in ("empty", "full"):
                store = scratch / f"{size}-{state}"
                if state == "full":
                    child(size, store, "fake")
                found = child(size, store, "plan")
                again = child(size, store, "plan") if state == "full" else found
                print(
                    f"{found['cells']:>6} {state:>5}  {again['planned']:6.2f} s  "
                    f"{again['ready']:14.2f} s  {again['mib']:6.0f} MiB",
                    flush=True,
                )
        if wanted.run:
            found = child(wanted.run, scratch / "run", "run")
            own = found["took"] - found["work"]
            rate = 3600 * found["cells"] / found["took"]
            print(
                f"{found['cells']} cells in {found['took']:.1f} s: {rate:,.0f} an hour, "
                f"{1000 * own / found['cells']:.0f} ms a cell beside the work itself"
            )
            found = child(wanted.run, scratch / "run", "run")
            print(f"the same again, from the store: {found['took']:.2f} s")
    finally:
        shutil.rmtree(scratch)


if __name__ == "__main__":
    main()
