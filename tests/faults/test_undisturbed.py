"""Without any disturbance: every executor fills the same table, and leaves nothing else."""

import csv
import io


def test_workers_and_the_driver_alone_fill_the_same_table(ground, tools, undisturbed):
    store = ground.home / "store"
    with tools.watched(store) as watcher:
        ground.sweep(store)
    assert watcher.most == tools.cells
    assert (tools.table(store), tools.export(store)) == undisturbed
    assert tools.attempts(store) == {digest: ["done"] for digest in undisturbed[0]}
    tools.check_tidy(store)

    asked = ground.python("-m", "llt_core.cli.main", "export", "--sweep", "sweep", "--store", store)
    out, err = asked.communicate(timeout=60)
    assert asked.returncode == 0, err
    read = list(csv.DictReader(io.StringIO(out)))
    assert [float(row["value"]) for row in read] == [row["value"] for row in undisturbed[1]]
    assert [row["digest"] for row in read] == [row["digest"] for row in undisturbed[1]]
    assert ground.sweep(store, "--quiet") == ""
    assert tools.attempts(store) == {digest: ["done"] for digest in undisturbed[0]}
