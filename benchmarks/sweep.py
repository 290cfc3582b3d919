"""How a sweep scales with its cells: planning, throughput, what it adds to the work, memory.

    python benchmarks/sweep.py [--plan 100 1000 10000] [--cells 100 1000]
                               [--executor local] [--workers 2] [--measure] [--track mlflow]
                               [--read 1000] [--repeat 3]

First, plans: a perceptron, trained for one step, and its loss, in grids of --plan cells. Each line
is one process of its own: seconds from its start to the plan (imports included), to knowing what
a store lacks, and the peak of its memory; "full" is a store that holds every cell.

Then, runs: each number of --cells is a sweep of trivial cells, computed by the executor into a
store of its own. A trivial cell trains a perceptron on digits for one step; with --measure every
other cell takes the loss of such a model. Columns:

cells/hour   of the whole sweep, from the request to the result, imports of torch included
wall         milliseconds of the whole sweep a cell
driver CPU   milliseconds of processor time the driver's process spends a cell; with the inline
             executor that is everything
work         milliseconds of the cell itself, as its record says: building, training, saving
beside       milliseconds of a worker's time a cell beside that work: workers x wall - work
driver       peak of the driver's memory; workers: that of the largest of its workers
again        seconds for the same sweep once more, answered from the store

The full run of 10,000 cells is  --plan --cells 100 1000 10000  and takes minutes.

With --read, how long the commands take that read a finished sweep of so many grid points, each in
a process of its own: seconds of wall and of processor time, the first time, without an index, and
the least of --repeat afterwards; and the peak of their memory. At each point there are two models,
the loss and the accuracy of each, their similarity, and the straight line between them: 8 cells,
23 measurements. The first point is computed; the other records are copies of its with a
composition of their own and values that scatter.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PLAN = """
import json, resource, sys, time
start = time.perf_counter()
from pathlib import Path
from llt_core.plugins import Catalogue
from llt_core.spec import SweepSpec
from llt_core.sweep import make_plan
from llt_core.sweep.preview import preview

cells, store, fake = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == "fake"
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
if fake:
    from llt_core.store import Checkpoint, Epoch, Record, Store
    from llt_core.interfaces import Measurement

    opened = Store(store)
    for cell in plan.cells:
        train = cell.cell.kind == "train"
        taken = Measurement(name="train_loss", value=1.0, standard_error=0.0, unit="nats", n=1437)
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
else:
    preview(plan, store)
    assert "torch" not in sys.modules
print(json.dumps({
    "cells": len(plan.cells), "planned": planned, "ready": time.perf_counter() - start,
    "mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
}))
"""

RUN = """
import json, resource, sys, time
start = time.perf_counter()
import llt_core
from llt_core.spec import SweepSpec

if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    points = asked["cells"] // (2 if asked["measure"] else 1)
    spec = SweepSpec.of(
        task="digits", architecture={"name": "mlp", "width": 2, "depth": 1},
        metrics=["train_loss"] if asked["measure"] else [],
        train={"epochs": 1, "max_steps": 1, "batch_size": 32},
        axes={"load": {"field": "train.weight_decay", "geomspace": [1e-6, 1e-2, max(points, 2)]}},
    )
    result = llt_core.sweep(
        spec, store=asked["store"], executor=asked["executor"], track=asked["track"],
        compute={"device": "cpu", "threads": 1},
    )
    took = time.perf_counter() - start
    assert not result.failed and not result.observer_errors, result.observer_errors
    own = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps({
        "cells": len(result.results), "took": took,
        "new": sum(cell.origin == "new" for cell in result.results),
        "work": sum(record.seconds for record in result.records),
        "cpu": own.ru_utime + own.ru_stime, "mib": own.ru_maxrss / 1024,
        "workers": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024,
    }))
"""

FILL = """
import os, random, sys
from pathlib import Path
import llt_core
from llt_core.plugins import Catalogue
from llt_core.spec import SweepSpec
from llt_core.spec.naming import work_name
from llt_core.store import Store
from llt_core.sweep import make_plan

points, root = int(sys.argv[1]), Path(sys.argv[2])
side = round(points**0.5)
base = {
    "task": "digits", "architecture": {"name": "mlp", "width": 8, "depth": 1}, "models": 2,
    "metrics": ["train_loss", "test_accuracy", "cka",
                {"name": "linear_connectivity", "points": 5, "batch_norm": "none"}],
}
train = {"epochs": 3, "batch_size": 64}
asked = {"store": root, "executor": "inline", "compute": {"device": "cpu", "threads": 1}}
first = llt_core.run(**base, train=train | {"weight_decay": 1e-6, "learning_rate": 0.01}, **asked)
spec = SweepSpec.of(
    name="grid", train=train, **base,
    axes={
        "load": {"field": "train.weight_decay", "geomspace": [1e-6, 1e-2, side]},
        "temperature": {"field": "train.learning_rate", "geomspace": [0.01, 1, side]},
    },
)

def key(cell, composition):
    return work_name(cell), *composition["seeds"]

store, chance = Store(root), random.Random(0)
known = {key(record.cell, record.composition): record for record in first.records}
for planned in make_plan(spec, Catalogue.discover(), Path("/nowhere")).cells:
    if planned.digest in store:
        continue
    like = known[key(planned.cell, planned.composition)]
    taken = [
        m.model_copy(update={"value": None if m.value is None else m.value * chance.gauss(1, 0.1)})
        for m in like.measurements
    ]
    own = {"digest": planned.digest, "cell": planned.cell, "composition": planned.composition}
    record = like.model_copy(update=own | {"measurements": tuple(taken)})
    folder = store.path(planned.digest)
    folder.mkdir(parents=True)
    (folder / "record.json").write_text(record.model_dump_json(indent=1))
    for file in store.path(like.digest).iterdir():
        if file.name != "record.json":
            os.link(file, folder / file.name)
again = llt_core.sweep(spec, **asked)
assert all(cell.origin == "cached" for cell in again.results)
print("{}")
"""

TIMED = """
import json, os, resource, subprocess, sys, time
start = time.perf_counter()
done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
took = time.perf_counter() - start
if done.returncode:
    sys.exit(done.stderr)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
cpu = used.ru_utime + used.ru_stime
print(json.dumps({"took": took, "cpu": cpu, "mib": used.ru_maxrss / 1024}))
"""


def child(code: str, *words: str) -> dict[str, float]:
    """Run ``code`` as a program of its own, and return what it prints."""
    with tempfile.NamedTemporaryFile("w", suffix=".py") as file:  # workers may look for it
        file.write(code)
        file.flush()
        done = subprocess.run(
            [sys.executable, file.name, *words], check=False, capture_output=True, text=True
        )
    if done.returncode:
        sys.exit(done.stderr)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def plans(sizes: list[int], scratch: Path) -> None:
    print("cells  store  planned  known what to do  peak memory")
    for size in sizes:
        for state in ("empty", "full"):
            store = scratch / f"{size}-{state}"
            if state == "full":
                child(PLAN, str(size), str(store), "fake")
                child(PLAN, str(size), str(store), "plan")  # makes the index
            found = child(PLAN, str(size), str(store), "plan")
            print(
                f"{found['cells']:>6} {state:>5}  {found['planned']:6.2f} s  "
                f"{found['ready']:14.2f} s  {found['mib']:6.0f} MiB",
                flush=True,
            )
            shutil.rmtree(store, ignore_errors=True)


def runs(wanted: argparse.Namespace, scratch: Path) -> None:
    executor, workers = wanted.executor, 1 if wanted.executor == "inline" else wanted.workers
    named = executor if executor == "inline" else {"name": executor, "workers": workers}
    print(f"executor {executor}, workers {workers}, trackers {', '.join(wanted.track) or 'none'}")
    print(
        " cells  cells/hour      wall  driver CPU      work    beside    driver   workers   again"
    )
    for size in wanted.cells:
        store = scratch / f"run-{size}"
        track = [f"{name}:to={scratch}/{name}-{size}.db" for name in wanted.track]
        asked = {"cells": size, "store": str(store), "executor": named, "track": track}
        text = json.dumps(asked | {"measure": wanted.measure})
        found = child(RUN, text)
        assert found["new"] == found["cells"]
        again = child(RUN, text)
        assert again["new"] == 0
        each = 1000 / found["cells"]
        beside = workers * found["took"] - found["work"]
        print(
            f"{found['cells']:>6} {3600 * found['cells'] / found['took']:>11,.0f} "
            f"{each * found['took']:>6.1f} ms  {each * found['cpu']:>7.1f} ms "
            f"{each * found['work']:>6.1f} ms {each * beside:>6.1f} ms "
            f"{max(found['mib'], again['mib']):>5.0f} MiB {found['workers']:>5.0f} MiB "
            f"{again['took']:>5.1f} s",
            flush=True,
        )
        shutil.rmtree(store)


def reads(points: int, repeat: int, scratch: Path) -> None:
    store = scratch / "read"
    child(FILL, str(points), str(store))
    llt = [sys.executable, "-m", "llt_core.cli.main"]
    out = str(scratch / "out")
    commands = {
        "status": ["status", "grid"],
        "phases": ["phases", "grid"],
        "export": ["export", "--sweep", "grid", "-o", f"{out}.csv"],
        "export, Parquet": ["export", "--sweep", "grid", "-o", f"{out}.parquet"],
        "results --json": ["results", "--sweep", "grid", "--json"],
        "report": ["report", "grid", "--quiet", "--force", "-o", f"{out}.html"],
    }
    print(f"{points} grid points")
    print("             first: wall       CPU  again: wall       CPU  peak memory")
    for name, words in commands.items():
        for index in store.glob("index.*"):
            index.unlink()
        runs = [child(TIMED, *llt, *words, "--store", str(store)) for _ in range(repeat + 1)]
        first = runs[0]
        wall, cpu = (min(run[key] for run in runs[1:]) for key in ("took", "cpu"))
        peak = max(run["mib"] for run in runs)
        print(
            f"{name:>15} {first['took']:7.1f} s {first['cpu']:7.1f} s   {wall:7.1f} s "
            f"{cpu:7.1f} s  {peak:7.0f} MiB",
            flush=True,
        )
    shutil.rmtree(store)


def main() -> None:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("--plan", type=int, nargs="*", default=[100, 1000, 10_000])
    parser.add_argument("--cells", type=int, nargs="*", default=[100, 1000])
    parser.add_argument("--executor", default="local")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--measure", action="store_true", help="every other cell measures a model")
    parser.add_argument("--read", type=int, nargs="*", default=[], help="points of a finished grid")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--track", nargs="*", default=[], help="trackers to tell of every cell")
    wanted = parser.parse_args()
    scratch = Path(tempfile.mkdtemp())
    try:
        if wanted.plan:
            plans(wanted.plan, scratch)
        if wanted.cells:
            runs(wanted, scratch)
        for points in wanted.read:
            reads(points, wanted.repeat, scratch)
    finally:
        shutil.rmtree(scratch)


if __name__ == "__main__":
    main()
