"""What trackers tell of a cell: the same numbers under the same names, whoever is told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

CURVES = ("learning_rate", "train_loss", "train_accuracy")
"""What is told of each epoch."""


@dataclass(frozen=True)
class Point:
    """One number: its name, when it was known (seconds since 1970), and after which epoch."""

    name: str
    value: float
    time: float
    step: int = 0


def ended(text: str) -> float:
    """Return seconds since 1970 of a time as records have it.

    >>> ended("1970-01-01T00:01:00+00:00")
    60.0
    """
    return datetime.fromisoformat(text).timestamp()


def points(record: Mapping[str, Any]) -> Iterator[Point]:
    """Yield every finite number of a record: measurements, or the history of a training."""
    end = ended(record["provenance"]["finished"])
    time = end - sum(epoch["seconds"] for epoch in record["history"])
    for epoch in record["history"]:
        time += epoch["seconds"]
        for name in CURVES:
            if epoch[name] is not None:
                yield Point(name, epoch[name], time, epoch["epoch"])
    for measured in record["measurements"]:
        name = measured["name"]
        if measured["value"] is not None:
            yield Point(name, measured["value"], end)
        if measured["standard_error"] is not None:
            yield Point(f"{name}.standard_error", measured["standard_error"], end)
    yield Point("seconds", record["seconds"], end)


def origin(record: Mapping[str, Any]) -> dict[str, str]:
    """Return where a record comes from: host, device, versions of the code, seeds, command."""
    known = record["provenance"]
    found = {
        "command": known["command"],
        "host": known["host"],
        "device": known["device_name"],
        "llt": known["llt"],
        "git": _commit(known["git"]["cwd"]),
        "git.llt": _commit(known["git"]["llt"]),
        "seed": str(known["seed"]),
    }
    return {name: text for name, text in found.items() if text}


def _commit(git: Mapping[str, Any] | None) -> str:
    """Return the commit; a plus tells of changes that were not committed."""
    return "" if git is None else git["sha"] + ("+" if git["dirty"] else "")


def statuses(record: Mapping[str, Any]) -> dict[str, str]:
    """Return the status of each measurement that is not simply ``ok``, by its name."""
    return {m["name"]: m["status"] for m in record["measurements"] if m["status"] != "ok"}
