"""What the store remembers of a sweep: its name, what was asked for, and which cells those are.

One small file a sweep, ``STORE/sweeps/NAME.json``, written beside and renamed. It says nothing
of results: these are in the cells, which sweeps share.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from llt_core.errors import LltError
from llt_core.interfaces.composition import scalar
from llt_core.store.cells import Store, cannot_write
from llt_core.store.export import Measured, flat, measured
from llt_core.store.files import write_whole
from llt_core.store.records import Failure, Record

SWEEP_FORMAT = 1


class SweepPoint(BaseModel):
    """One grid point: the value of each varied field, and the digests of its cells.

    ``reads`` says for each measurement which of the models it reads, by their places in
    ``models``.
    """

    model_config = ConfigDict(frozen=True)

    values: dict[str, Any]
    models: tuple[str, ...]
    measures: tuple[str, ...]
    reads: tuple[tuple[int, ...], ...] = ()


class SweepRecord(BaseModel):
    """A sweep as it was last asked for.

    ``fields`` are the varied fields in order, ``kinds`` those tagged as load or temperature;
    ``spec`` is the whole request. ``planned`` is when it was first asked for in this form, and
    ``executor`` where it was to be computed then, by name, with its parameters.
    """

    model_config = ConfigDict(frozen=True)

    format: int = SWEEP_FORMAT
    name: str
    title: str = ""
    planned: str
    command: str = ""
    fields: tuple[str, ...]
    kinds: dict[str, Literal["load", "temperature"]] = {}
    spec: dict[str, Any]
    executor: dict[str, Any] = {}
    points: tuple[SweepPoint, ...]

    @property
    def models(self) -> tuple[str, ...]:
        """Digests of all models, each once."""
        return tuple(dict.fromkeys(d for point in self.points for d in point.models))

    @property
    def measures(self) -> tuple[str, ...]:
        """Digests of all measurements, each once."""
        return tuple(dict.fromkeys(d for point in self.points for d in point.measures))

    @property
    def reads(self) -> dict[str, tuple[str, ...]]:
        """The models that each measurement reads, by its digest."""
        return {
            digest: tuple(point.models[place] for place in places if place < len(point.models))
            for point in self.points
            for digest, places in zip(point.measures, point.reads, strict=False)
        }


def remember(store: Store, sweep: SweepRecord) -> SweepRecord | None:
    """Write the file of a sweep, unless it is there already and says the same.

    Returns what was remembered by this name so far, if it could be read.

    Raises
    ------
    StoreError
        The store cannot be written.
    """
    try:
        old = recall(store, sweep.name)
    except LltError:  # unknown, or a file nobody can read: replaced
        old = None
    same = {"planned": "", "command": ""}
    if old is not None and old.model_copy(update=same) == sweep.model_copy(update=same):
        return old
    path = _file(store, sweep.name)
    try:
        path.parent.mkdir(exist_ok=True)
        write_whole(path, sweep.model_dump_json())
    except OSError as error:
        raise cannot_write(path, error) from error
    return old


def recall(store: Store, name: str) -> SweepRecord:
    """Return what the store remembers of the sweep called ``name``.

    Raises
    ------
    LltError
        There is none, or its file cannot be read.
    """
    path = _file(store, name)
    try:
        found = SweepRecord.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        known = names(store)
        imported = table_file(store, name).is_file()
        raise LltError(
            f"{name} is an imported table, no sweep"
            if imported
            else f"the store knows no sweep {name!r}",
            where=str(store.root),
            expected=f"one of {', '.join(known)}" if known else "a sweep; there is none so far",
            next_step=f"llt results --sweep {name}"
            if imported
            else "llt status"
            if known
            else "llt sweep FILE.toml",
        ) from error
    except (ValidationError, OSError) as error:
        raise LltError(
            f"the file of the sweep {name!r} cannot be read",
            where=str(path),
            expected=f"JSON of format {SWEEP_FORMAT}",
            next_step="llt sweep FILE.toml writes it anew",
        ) from error
    return found


def names(store: Store) -> list[str]:
    """Return the names of all sweeps, in order."""
    return sorted(path.stem for path in (store.root / "sweeps").glob("[!.]*.json"))


def last_failure(store: Store, digest: str) -> Failure | None:
    """Return the record of the last attempt that failed, if it can be read."""
    return _failure(store.root / "failures" / digest / f"{store.attempts(digest)}.json")


def failures(store: Store, digest: str) -> list[Failure]:
    """Return the records of all attempts at a cell that failed, those that can be read."""
    files = (store.root / "failures" / digest).glob("[!.]*.json")
    found = (_failure(file) for file in files)
    return sorted((f for f in found if f is not None), key=lambda failure: failure.attempt)


def _failure(file: Path) -> Failure | None:
    try:
        return Failure.model_validate_json(file.read_bytes())
    except (OSError, ValidationError):
        return None


def sweep_rows(sweep: SweepRecord, records: Iterable[Record]) -> list[dict[str, Any]]:
    """Return one flat dictionary per measurement of a sweep, the varied fields first."""
    return flat(sweep_cells(sweep, measured(records)))


def sweep_cells(sweep: SweepRecord, cells: Iterable[Measured]) -> list[Measured]:
    """Return those cells that a sweep measures, in its order, with the varied fields first.

    They are called as in the sweep file, and say what it says: of a whole component more than
    the name. A measurement that several grid points share, because a field does not matter to
    it, has no value of its own in the fields on which these differ.
    """
    values: dict[str, dict[str, Any]] = {}
    for point in sweep.points:
        for digest in point.measures:
            known = values.setdefault(digest, dict(point.values))
            for field, value in point.values.items():
                if known[field] != value:
                    known[field] = None
    order = {digest: number for number, digest in enumerate(values)}
    mine = [cell for cell in cells if cell.fields["digest"] in order]
    mine.sort(key=lambda cell: order[cell.fields["digest"]])
    found = []
    for cell in mine:
        varied = values[cell.fields["digest"]].items()
        own = {field: _scalar(value) for field, value in varied if value is not None}
        fields = {**dict.fromkeys(sweep.fields), **cell.fields, **own}
        found.append(cell._replace(fields=fields))
    return found


def point_values(point: SweepPoint) -> dict[str, Any]:
    """Return the value of each varied field at a grid point, as tables hold it."""
    return {field: _scalar(value) for field, value in point.values.items()}


def _scalar(value: Any) -> Any:
    return scalar(value.model_dump() if isinstance(value, BaseModel) else value)


def table_file(store: Store, name: str) -> Path:
    """Return the file of an imported table, which no sweep shares its name with."""
    return store.root / "tables" / f"{name}.parquet"


def _file(store: Store, name: str) -> Path:
    return store.root / "sweeps" / f"{name}.json"
