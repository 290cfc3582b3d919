"""Imported tables of a store."""

from __future__ import annotations

from llt_core.store.cells import Store


def table_names(store: Store) -> list[str]:
    """Return the names of all imported tables, in order."""
    return sorted(path.stem for path in (store.root / "tables").glob("[!.]*.json"))
