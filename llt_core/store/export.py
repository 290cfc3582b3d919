"""One flat table of a store: one row a measurement, one column a varied field."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from llt_core.errors import LltError
from llt_core.store.records import Record

if TYPE_CHECKING:
    import pandas as pd

FORMATS = ("csv", "parquet")


def rows(records: Iterable[Record]) -> list[dict[str, Any]]:
    """Return one flat dictionary per measurement (train cells have none and are left out)."""
    return [
        {
            **composition_columns(record.composition),
            "metric": record.composition["metric"]["name"],
            "name": measurement.name,
            "value": measurement.value,
            "standard_error": measurement.standard_error,
            "unit": measurement.unit,
            "n": measurement.n,
            "counted": measurement.counted,
            "status": measurement.status,
            "seconds": record.seconds,
            "finished": record.provenance.get("finished"),
            "device": record.provenance.get("device"),
            "data_fingerprint": record.provenance.get("data", {}).get("fingerprint"),
            "data_verified": record.provenance.get("data", {}).get("verified"),
            "digest": record.digest,
        }
        for record in records
        for measurement in record.measurements
    ]


def composition_columns(composition: dict[str, Any]) -> dict[str, Any]:
    """Flatten a composition: ``architecture.width``, ``label_noise.fraction``, ``train.epochs``.

    ``seeds`` joins the seeds of the models with ``+`` (one for a metric on one model).
    """
    flat: dict[str, Any] = {}
    for role in ("task", "architecture"):
        part = composition[role]
        flat[role] = part["name"]
        flat |= {f"{role}.{key}": value for key, value in part["parameters"].items()}
    flat["perturbations"] = "+".join(part["name"] for part in composition["perturbations"])
    for part in composition["perturbations"]:
        short = part["name"].rpartition("/")[2]
        flat |= {f"{short}.{key}": value for key, value in part["parameters"].items()}
    flat |= {f"train.{key}": value for key, value in composition["train"].items()}
    flat["seeds"] = "+".join(str(seed) for seed in composition["seeds"])
    if "metric" in composition:
        parameters = composition["metric"]["parameters"]
        flat |= {f"metric.{key}": value for key, value in parameters.items()}
    return {key: _scalar(value) for key, value in flat.items()}


def to_pandas(table: list[dict[str, Any]]) -> pd.DataFrame:
    """Return the rows as a data frame."""
    import pandas as pd

    return pd.DataFrame(table)


def write_table(table: list[dict[str, Any]], path: Path, form: Literal["csv", "parquet"]) -> None:
    """Write the rows to ``path``, beside it first, then renamed.

    Raises
    ------
    LltError
        The folder is missing or cannot be written.
    """
    frame = to_pandas(table)
    beside = path.with_name(f".{path.name}.part")
    try:
        if form == "csv":
            frame.to_csv(beside, index=False)
        else:
            frame.to_parquet(beside, index=False)
        beside.replace(path)
    except OSError as error:
        raise LltError(
            f"cannot write the table: {error.strerror or error}",
            where=str(path),
            expected="a folder that exists and can be written",
            next_step="-o FILE",
        ) from error
    finally:
        beside.unlink(missing_ok=True)


def _scalar(value: Any) -> Any:
    """Tables hold scalars; a list becomes text."""
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else value
