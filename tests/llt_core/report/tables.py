"""Tables for the tests of pictures: small ones by hand, and the published ones."""

import csv
import os
from pathlib import Path

import numpy as np

from llt_core.analysis import Axis, CellTable, Column

SHARED = Path(os.environ.get("LLT_SHARED", Path(__file__).resolve().parents[3] / "../shared"))
PUBLISHED = SHARED / "published"
LR_DECAY = {
    "train_loss": "train_loss_mean",
    "test_accuracy": "test_acc_mean",
    "train_accuracy": "train_acc_mean",
    "hessian_top_eigenvalue": "top_eig_mean",
    "hessian_trace": "trace_mean",
    "mode_connectivity": "mc_train_err",
    "cka": "cka_softmax_mean",
    "l2_distance": "l2_mean",
    **{
        f"curve_tr_err_t{t}": f"curve_tr_err_t{t}" for t in ("0.00", "0.25", "0.50", "0.75", "1.00")
    },
}
CONSTANT = {
    "train_loss": "train_loss",
    "test_accuracy": "test_acc",
    "train_accuracy": "train_acc",
    "hessian_top_eigenvalue": "log_top_eigenvalue",
    "hessian_trace": "log_trace",
    "mode_connectivity": "mc_train_err",
    "cka": "cka_softmax",
}
UNITS = {"train_loss": "nats", "test_accuracy": "percent", "hessian_trace": "nats"}


def published(name):
    """Return the table of a published file, and its lines as dictionaries of numbers."""
    with (PUBLISHED / f"resnet18_cifar10_{name}.csv").open() as file:
        lines = [{k: float(v) for k, v in line.items()} for line in csv.DictReader(file)]
    columns = {}
    for column, heading in (LR_DECAY if name == "lr_decay" else CONSTANT).items():
        values = np.array([line[heading] for line in lines])
        values = np.exp(values) if heading.startswith("log_") else values
        columns[column] = Column(column, values, UNITS.get(column, ""))
    axes = tuple(
        Axis(field, tuple(int(line[field.split(".")[1]]) for line in lines), kind)
        for field, kind in (("architecture.width", "load"), ("train.batch_size", "temperature"))
    )
    models = np.array([int(line.get("n_models", 0)) for line in lines])
    return CellTable(name, axes, columns, f"file {name}.csv", models), lines


def grid(widths=(2, 4, 8), batches=(16, 64), name="small", origin="llt", **columns):
    """Return a whole grid, its rows shuffled; each column is a function of width and batch."""
    pairs = [(w, b) for w in widths for b in batches]
    np.random.default_rng(0).shuffle(pairs)
    made = {
        key: Column(key, np.array([float(value(w, b)) for w, b in pairs]), UNITS.get(key, ""))
        for key, value in columns.items()
    }
    axes = (
        Axis("architecture.width", tuple(int(w) for w, _ in pairs), "load"),
        Axis("train.batch_size", tuple(int(b) for _, b in pairs), "temperature"),
    )
    return CellTable(name, axes, made, origin, np.full(len(pairs), 3))
