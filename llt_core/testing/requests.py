"""What observers hear of a small request: the hooks in order, with facts as the engine has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

DIGESTS = tuple(f"{number:x}" * 32 for number in range(1, 7))
TIME = "2026-01-02T03:04:05+00:00"
REF = {"version": 1, "parameters": {}}
COMPOSITION = {
    "task": {"name": "llt/digits", "version": 1, "parameters": {}},
    "architecture": {"name": "llt/mlp", "version": 1, "parameters": {"width": 4, "depth": 1}},
    "perturbations": [
        {"name": "llt/label_noise", "version": 1, "parameters": {"fraction": share, "seed": 0}}
        for share in (0.1, 0.2)
    ],
    "train": {"epochs": 2, "learning_rate": 0.1, "max_steps": None, "milestones": [0.5, 0.75]},
}
PROVENANCE = {
    "llt": "0.1.0",
    "command": "llt sweep small.toml",
    "finished": TIME,
    "python": "3.12.1",
    "platform": "Linux",
    "machine": "a processor (AVX2)",
    "host": "here",
    "process": 42,
    "device": "cpu",
    "device_name": "a processor (AVX2)",
    "threads": 1,
    "versions": {"torch": "2.9.0"},
    "plugin_packages": {"llt": "0.1.0"},
    "git": {"llt": None, "cwd": {"sha": "0123456789abcdef", "dirty": True}},
    "compute": {"device": "cpu"},
    "data": {"fingerprint": "sha256:00", "verified": True},
    "plugins": {},
    "seed": 123456789,
}

Heard = tuple[str, dict[str, Any]]


COUNTS = {"train": 2, "measure": 3}


def request() -> list[Heard]:
    """Return what is heard of two trainings, one of which diverges, and three measurements.

    One of these fails, one is of two models and has no value, and of one the value is known
    without its error.
    """
    model, lost, loss, gap, fails = DIGESTS[:5]
    return [
        _start(COUNTS),
        *_trained(model, "train seed 0 (width=4)", 0, (2.3, 1.1), "done"),
        *_trained(lost, "train seed 1 (width=4)", 1, (2.3, None), "diverged"),
        *_measured(loss, "train_loss seed 0 (width=4)", "train_loss", (model,), 1.0, "ok"),
        *_measured(gap, "gap seed 0+1 (width=4)", "gap", (model, lost), None, "undefined"),
        *_failed(fails, "hessian_trace seed 0 (width=4)", "hessian_trace", (model,)),
        _end({"new": 4, "failed": 1}),
    ]


def answered() -> list[Heard]:
    """Return what is heard of the same request where the store has everything."""
    return [_start({}), _end({"cached": 5})]


def _start(todo: Mapping[str, int]) -> Heard:
    summary = {
        "name": "small",
        "command": PROVENANCE["command"],
        "fields": ["architecture.width"],
        "store": "/somewhere/llt-store",
        "executor": "inline",
        "force": False,
        "cells": COUNTS,
        "todo": dict(todo),
    }
    return ("llt_sweep_started", {"summary": summary})


def _end(outcomes: Mapping[str, int]) -> Heard:
    summary = {"name": "small", "cells": dict(outcomes), "complete": True, "seconds": 12.5}
    return ("llt_sweep_finished", {"summary": summary})


def _cell(hook: str, digest: str, kind: str, label: str, **facts: Any) -> Heard:
    return (hook, {"digest": digest, "kind": kind, "label": label, **facts})


def _record(digest: str, cell: Mapping[str, Any], composition: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "format": 1,
        "digest": digest,
        "cell": dict(cell),
        "status": "done",
        "seconds": 3.25,
        "composition": dict(composition),
        "provenance": PROVENANCE,
        "history": [],
        "checkpoint": None,
        "measurements": [],
    }


def _trained(
    digest: str, label: str, seed: int, losses: tuple[float | None, ...], status: str
) -> list[Heard]:
    composition = {**COMPOSITION, "seeds": [seed]}
    cell: dict[str, Any] = {
        "kind": "train",
        "task": {"name": "llt/digits", **REF},
        "data": None,
        "architecture": {"name": "llt/mlp", **REF},
        "perturbations": [],
        "training": {"name": "recipe", **REF},
        "seed": seed,
    }
    record = _record(digest, cell, composition) | {"status": status}
    record["history"] = [
        {
            "epoch": number,
            "learning_rate": 0.1 / number,
            "train_loss": loss,
            "train_accuracy": None if loss is None else 50.0,
            "seconds": 1.5,
        }
        for number, loss in enumerate(losses, 1)
    ]
    return [
        _cell("llt_cell_started", digest, "train", label, composition=composition),
        _cell("llt_cell_finished", digest, "train", label, record=record),
    ]


def _measuring(name: str, models: tuple[str, ...]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the cell and the composition of a measurement."""
    metric = {"name": f"llt/{name}", "version": 1, "parameters": {"samples": 100}}
    cell = {"kind": "measure", "metric": metric, "models": list(models)}
    return cell, {**COMPOSITION, "seeds": list(range(len(models))), "metric": metric}


def _measured(
    digest: str, label: str, name: str, models: tuple[str, ...], value: float | None, status: str
) -> list[Heard]:
    cell, composition = _measuring(name, models)
    measurement: dict[str, Any] = {
        "name": name,
        "value": value,
        "standard_error": None,
        "unit": "nats",
        "n": 100,
        "counted": "samples",
        "status": status,
        "details": {},
        "figures": [],
    }
    record = _record(digest, cell, composition) | {"measurements": [measurement]}
    return [
        _cell("llt_cell_started", digest, "measure", label, composition=composition),
        _cell("llt_cell_finished", digest, "measure", label, record=record),
    ]


def _failed(digest: str, label: str, name: str, models: tuple[str, ...]) -> list[Heard]:
    cell, composition = _measuring(name, models)
    failure = {
        "digest": digest,
        "cell": cell,
        "kind": "code",
        "message": "ZeroDivisionError: on purpose",
        "traceback": "Traceback (most recent call last):\n  …\nZeroDivisionError: on purpose",
        "attempt": 1,
        "time": TIME,
    }
    return [
        _cell("llt_cell_started", digest, "measure", label, composition=composition),
        _cell(
            "llt_cell_failed", digest, "measure", label, composition=composition, failure=failure
        ),
    ]
