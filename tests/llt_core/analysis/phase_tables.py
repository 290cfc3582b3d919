"""Tables for tests: the published ones, and some made by hand. Loaded with ``runpy``."""

import csv
import os
from pathlib import Path

import numpy as np

from llt_core.analysis import Axis, CellTable, Column

SHARED = Path(os.environ.get("LLT_SHARED", Path(__file__).resolve().parents[3] / "../shared"))
LR_DECAY = {
    "train_loss": "train_loss_mean", "train_accuracy": "train_acc_mean",
    "test_loss": "test_loss_mean", "test_accuracy": "test_acc_mean",
    "hessian_trace": "trace_mean", "hessian_top_eigenvalue": "top_eig_mean",
    "cka": "cka_softmax_mean", "l2_distance": "l2_mean", "mode_connectivity": "mc_train_err",
    "mode_connectivity_test_error": "mc_test_err",
}  # fmt: skip
CONSTANT_LR = {
    "train_loss": "train_loss", "train_accuracy": "train_acc", "test_loss": "test_loss",
    "test_accuracy": "test_acc", "hessian_trace": "log_trace",
    "hessian_top_eigenvalue": "log_top_eigenvalue", "cka": "cka_softmax",
    "mode_connectivity": "mc_train_err", "mode_connectivity_peak": "mc_peak",
}  # fmt: skip
FILES = {"lr_decay": LR_DECAY, "constant_lr": CONSTANT_LR}


def there():
    return (SHARED / "published").is_dir()


def published(name):
    """Read one of the two published tables; the means over models of the Hessian, not logs."""
    path = SHARED / "published" / f"resnet18_cifar10_{name}.csv"
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    columns = {}
    for ours, theirs in FILES[name].items():
        values = np.array([float(row[theirs]) for row in rows])
        if theirs.startswith("log_"):
            values = np.exp(values)
        errors = np.empty(0)
        n = np.empty(0, dtype=np.int64)
        if name == "lr_decay" and ours == "test_accuracy":
            n = np.array([int(row["n_models"]) for row in rows])
            errors = np.array([float(row["test_acc_std"]) for row in rows]) / np.sqrt(n)
        columns[ours] = Column(ours, values, standard_errors=errors, n=n)
    axes = (
        Axis("architecture.width", tuple(int(row["width"]) for row in rows), "load"),
        Axis("train.batch_size", tuple(int(row["batch_size"]) for row in rows), "temperature"),
    )
    return CellTable(name, axes, columns, origin="published")


def by_hand(axes=None, kinds=None, **columns):
    """Build a table out of lists."""
    kinds = kinds or {}
    made = tuple(Axis(name, tuple(v), kinds.get(name, "")) for name, v in (axes or {}).items())
    held = {name: Column(name, np.array(values, dtype=float)) for name, values in columns.items()}
    return CellTable("by hand", made, held)


def shuffled(table, seed=0):
    """Return the same rows in another order, and that order."""
    order = np.random.default_rng(seed).permutation(len(table))
    columns = {name: column.select(order) for name, column in table.columns.items()}
    axes = tuple(Axis(a.name, tuple(a.values[i] for i in order), a.kind) for a in table.axes)
    return CellTable(table.name, axes, columns, table.origin, table.models[order]), order


def grid(cells, seed=0):
    """Make a table of about so many cells that looks like the published ones, and is larger."""
    rng = np.random.default_rng(seed)
    side = round(cells**0.5)
    load, heat = (axis.ravel() for axis in np.meshgrid(np.arange(side), np.arange(side)))
    u, v = load / max(side - 1, 1), heat / max(side - 1, 1)
    loss = np.exp(2 - 6 * u - 3 * np.abs(v - 0.5) + rng.normal(0, 0.2, side**2))
    cka = 1 / (1 + np.exp(-(4 * u - 2 + rng.normal(0, 0.2, side**2))))
    values = {
        "train_loss": loss,
        "train_accuracy": 100 * np.exp(-loss / 3),
        "test_loss": loss + 0.3,
        "test_accuracy": 60 + 35 * cka + rng.normal(0, 0.5, side**2),
        "hessian_trace": np.exp(9 - 6 * u + rng.normal(0, 0.3, side**2)),
        "hessian_top_eigenvalue": np.exp(6 - 6 * u + rng.normal(0, 0.3, side**2)),
        "mode_connectivity": 12 * (v - 0.5) * (1 - u) + rng.normal(0, 0.3, side**2),
        "cka": cka,
    }
    for number in range(20 - len(values)):
        values[f"metric_{number}"] = cka + rng.normal(0, 0.1 * (number + 1), side**2)
    axes = (
        Axis("architecture.width", tuple(int(x) + 1 for x in load), "load"),
        Axis("train.batch_size", tuple(int(x) + 1 for x in heat), "temperature"),
    )
    return CellTable(
        f"grid of {side**2}", axes, {name: Column(name, held) for name, held in values.items()}
    )
