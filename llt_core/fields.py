"""Names of fields, as people read them."""

from __future__ import annotations

from collections.abc import Iterable


def short_fields(fields: Iterable[str]) -> dict[str, str]:
    """Return the shortest heading for each field that no other one shares.

    >>> short_fields(["architecture.width", "perturbation.label_noise.fraction"])
    {'architecture.width': 'width', 'perturbation.label_noise.fraction': 'fraction'}
    >>> list(short_fields(["perturbation.label_noise.seed", "seed"]).values())
    ['label_noise.seed', 'seed']
    """
    fields = tuple(fields)
    found: dict[str, str] = {}
    for field in fields:
        parts = field.split(".")
        names = [".".join(parts[-size:]) for size in range(1, len(parts) + 1)]
        others = [other for other in fields if other != field]
        clear = (
            name
            for name in names
            if not any(other == name or other.endswith(f".{name}") for other in others)
        )
        found[field] = next(clear, field)
    return found
