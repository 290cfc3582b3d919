"""Stores with hand-made results in them, and one figure of each kind."""

import runpy
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from llt_core.interfaces import Figure, Measurement
from llt_core.report import load
from llt_core.spec import PluginRef, TrainCell, digest
from llt_core.store import Checkpoint, Epoch, Record, Store

make_record = runpy.run_path(str(Path(__file__).parents[1] / "store" / "conftest.py"))[
    "make_record"
]

GRID = np.linspace(-1, 1, 9)
ARRAYS = {
    "t": np.linspace(0, 1, 5),
    "train": np.array([1.0, 2.0, 4.0, 2.0, 1.0]),
    "test": np.array([2.0, 4.0, np.nan, 4.0, 2.0]),
    "error": np.array([0.5, 0.5, 1.0, 0.5, 0.5]),
    "samples": np.arange(40.0) % 8,
    "signed": np.array([[1.0, -0.5], [-0.25, 0.5]]),
    "grid": GRID,
    "short": GRID[:4],
    "bowl": 1 + GRID[:4, None] ** 2 + GRID[None, :] ** 2,
}
FIGURES = {
    "line": Figure(
        kind="line",
        title="Along the curve",
        x="t",
        y=("train", "test"),
        band=("error", None),
        labels=("training", "held out"),
        x_label="t",
        y_label="loss (nats)",
    ),
    "scatter": Figure(kind="scatter", title="Points", x="t", y=("train",), band=("error",)),
    "bars": Figure(
        kind="bars",
        title="By layer",
        y=("train",),
        band=("error",),
        labels=("conv1", "bn1", "conv2", "bn2", "fc"),
        y_label="trace (nats)",
    ),
    "histogram": Figure(kind="histogram", title="Values", y=("samples",), x_label="value (nats)"),
    "matrix": Figure(kind="matrix", title="Pairs", z="signed", labels=("a", "b"), z_label="cosine"),
    "surface": Figure(
        kind="surface",
        title="Bowl",
        x="grid",
        y=("short",),
        z="bowl",
        x_label="first direction",
        y_label="second direction",
        z_label="loss (nats)",
    ),
}


def commit(store, record, arrays=None):
    """Store a record as a worker does, with its arrays beside it."""
    with store.staging(record.digest) as folder:
        if arrays:
            save_file(arrays, folder / "arrays.safetensors")
        store.commit(record, folder)
    return record


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


@pytest.fixture
def stored(store):
    """Return a function that stores one measurement and returns its result."""

    def make(figures=(), arrays=ARRAYS, number=0, **changed):
        measurement = Measurement(
            name="wave", value=2.0, standard_error=0.5, unit="nats", n=7, counted="points",
            details={"split": "train"}, figures=tuple(figures),
        )  # fmt: skip
        given = {"metric": "llt/wave", "measurements": (measurement,)} | changed
        record = make_record(number, **given)
        named = {f"wave/{name}": np.ascontiguousarray(array) for name, array in arrays.items()}
        commit(store, record, named)
        return load(store, record)

    return make


@pytest.fixture
def trained(store):
    """Return a function that stores a train cell with these losses and learning rates."""

    def make(losses=(2.0, 1.0, 0.5), rates=(0.1, 0.1, 0.1), status="done"):
        plugin = PluginRef(name="llt/digits", version=1)
        cell = TrainCell(task=plugin, architecture=plugin, training=plugin, seed=5)
        composition = make_record(5).composition
        del composition["metric"]
        epochs = tuple(
            Epoch(epoch=i + 1, learning_rate=rate, train_loss=loss, train_accuracy=50.0, seconds=1)
            for i, (loss, rate) in enumerate(zip(losses, rates, strict=True))
        )
        checkpoint = Checkpoint(sha256="ab" * 32, epoch=len(losses), parameters=1234)
        record = Record(
            digest=digest(cell), cell=cell, seconds=3.0, composition=composition, status=status,
            provenance=make_record(5).provenance, history=epochs,
            checkpoint=checkpoint if status == "done" else None,
        )  # fmt: skip
        return load(store, commit(store, record))

    return make
