"""A composition as one flat mapping: what tables have as columns and trackers as parameters."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any


def composition_columns(composition: Mapping[str, Any]) -> dict[str, Any]:
    """Flatten a composition: ``architecture.width``, ``label_noise.fraction``, ``train.epochs``.

    ``seeds`` joins the seeds of the models with ``+`` (one for a metric on one model). A
    perturbation that is used again is called ``label_noise#2``.
    """
    flat: dict[str, Any] = {}
    for role in ("task", "architecture"):
        part = composition[role]
        flat[role] = part["name"]
        flat |= {f"{role}.{key}": value for key, value in part["parameters"].items()}
    flat["perturbations"] = "+".join(part["name"] for part in composition["perturbations"])
    used: Counter[str] = Counter()
    for part in composition["perturbations"]:
        short = part["name"].rpartition("/")[2]
        used[short] += 1
        prefix = short if used[short] == 1 else f"{short}#{used[short]}"
        flat |= {f"{prefix}.{key}": value for key, value in part["parameters"].items()}
    flat |= {f"train.{key}": value for key, value in composition["train"].items()}
    flat["seeds"] = "+".join(str(seed) for seed in composition["seeds"])
    if "metric" in composition:
        parameters = composition["metric"]["parameters"]
        flat |= {f"metric.{key}": value for key, value in parameters.items()}
    return {key: scalar(value) for key, value in flat.items()}


def scalar(value: Any) -> Any:
    """Tables hold scalars; a list becomes its items with spaces between, a mapping JSON."""
    if isinstance(value, list | tuple):
        return " ".join(map(str, value))
    return json.dumps(value) if isinstance(value, dict) else value
