"""Layers of a sweep file laid over each other: includes, the file itself, a profile."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from llt_core.errors import RequestError
from llt_core.spec.run import Named
from llt_core.spec.sweep_axis import SOURCES

Tree = dict[str, Any]

PLUGINS = ("task", "architecture", "executor")
"""Keys that name one plugin."""
_DEPTH = {"metric": 3, "perturbation": 3, "task": 2, "architecture": 2, "train": 2}
"""Keys in a dotted field, by the first one."""


def overlay(below: Mapping[str, Any], above: Mapping[str, Any]) -> Tree:
    """Return one layer of a sweep over another: as :func:`merge`, and nothing below is louder.

    ``[set]`` goes over the plain keys of its own layer, but not over those of the layers above:
    what these say of a field replaces what ``[set]`` says of it below.
    """
    found = merge(_quieted(below, above), above)
    profiles = above.get("profiles", {})
    for name in set(profiles) & set(below.get("profiles", {})):
        found["profiles"][name] = overlay(below["profiles"][name], profiles[name])
    return found


def _quieted(below: Mapping[str, Any], above: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return ``below`` without the entries of its ``[set]`` that ``above`` speaks of."""
    if "set" not in below:
        return below
    said = tuple(f"{path}." for path in _said(above, below))
    kept = {
        path: value for path, value in flat(below["set"]).items() if not f"{path}.".startswith(said)
    }
    return {**below, "set": kept}


def _said(layer: Mapping[str, Any], below: Mapping[str, Any]) -> set[str]:
    """Return the dotted fields that the plain keys of a layer set.

    One that puts another component in the place of that below speaks of all its parameters.
    """
    found = {f"train.{key}" for key in layer.get("train", {})}
    found |= {key for key in ("seed", "models", "pairs") if key in layer}
    for key in ("task", "architecture"):
        part, old = (tree.get(key, {}) for tree in (layer, below))
        if isinstance(part, Mapping) and isinstance(old, Mapping):
            other = "name" in part and old.get("name", part["name"]) != part["name"]
            found |= {key} if other else {f"{key}.{name}" for name in part}
    for key, role in (("metrics", "metric"), ("perturbations", "perturbation")):
        items = layer.get(key, ())
        for item in items if isinstance(items, list | tuple) else ():
            with suppress(RequestError, TypeError):  # told later, with its place
                named = Named.of(item)
                found |= {f"{role}.{named.name}.{name}" for name in named.parameters}
    return found


def flat(tree: Mapping[str, Any], above: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return ``{"train": {"epochs": 2}}`` as ``{"train.epochs": 2}``."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        path = (*above, *key.split("."))
        if isinstance(value, Mapping) and len(path) < _DEPTH.get(path[0], 1):
            found |= flat(value, path)
        else:
            found[".".join(path)] = value
    return found


def merge(below: Mapping[str, Any], above: Mapping[str, Any], path: tuple[str, ...] = ()) -> Tree:
    """Return both trees as one: tables merge, anything else is replaced by what is above."""
    found = dict(below)
    for key, value in above.items():
        old = found.get(key)
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            found[key] = merge(_without_rivals(old, value, (*path, key)), value, (*path, key))
        else:
            found[key] = value
    return found


def _without_rivals(
    old: Mapping[str, Any], new: Mapping[str, Any], path: tuple[str, ...]
) -> Mapping[str, Any]:
    """Drop what cannot stand beside the new keys.

    Values of an axis go when it gets others, parameters when another component takes the place.
    """
    inside = path[2:] if path[0] == "profiles" else path
    if len(inside) == 2 and inside[0] == "axes":
        rivals = [set(SOURCES) | {"integer"}] if set(SOURCES) & set(new) else []
        rivals += [{"field", "fields"}] if {"field", "fields"} & set(new) else []
        return {key: value for key, value in old.items() if not any(key in r for r in rivals)}
    if len(inside) == 1 and inside[0] in PLUGINS and "name" in new:
        return old if old.get("name", new["name"]) == new["name"] else {}
    return old
