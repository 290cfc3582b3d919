"""One flat table: every field a column, every column of one type, both formats alike."""

import json

import numpy as np
import pandas as pd
import pytest

from llt_core.errors import LltError
from llt_core.interfaces import Measurement
from llt_core.store.export import rows, to_pandas, write_table


@pytest.fixture
def mixed(record):
    """Records of metrics whose parameters share names and not types."""
    noise = {"name": "llt/label_noise", "version": 1, "parameters": {"fraction": 0.1, "seed": 0}}
    return [
        record(0, metric="a/x", parameters={"samples": 200, "mode": 3, "exact": True}),
        record(1, metric="a/y", parameters={"samples": None, "mode": "fast", "exact": None}),
        record(2, metric="a/z", parameters={"mode": [1, 2], "big": 2**80, "table": {"k": 1}}),
        record(3, metric="a/z", parameters={"mode": True, "big": None, "scale": 2}),
        record(4, metric="a/x", parameters={"scale": 0.5}, perturbations=[noise, noise]),
        record(
            5,
            measurements=(
                Measurement(name="test_loss", value=None, status="undefined"),
                Measurement(name="second", value=1.0, unit="nats", details={"split": "test"}),
            ),
        ),
    ]


def test_one_row_a_measurement_with_every_field(record):
    (row,) = rows([record(3)])
    assert row["task"] == "llt/digits"
    assert row["architecture.width"] == 8
    assert row["train.milestones"] == "0.5 0.75"
    assert row["seeds"] == "3"
    assert row["perturbations"] == ""
    assert (row["metric"], row["name"], row["value"]) == ("llt/test_loss", "test_loss", 3.5)
    assert row["digest"] == record(3).digest


def test_cells_without_measurements_have_no_row(record, mixed):
    train = record(9).model_copy(update={"measurements": ()})
    assert rows([train]) == []
    assert len(rows(mixed)) == 7


def test_a_perturbation_used_twice_keeps_both_columns(record):
    parts = [
        {"name": "llt/data_subset", "version": 1, "parameters": {"fraction": fraction}}
        for fraction in (0.5, 0.1)
    ]
    (row,) = rows([record(0, perturbations=parts)])
    assert row["perturbations"] == "llt/data_subset+llt/data_subset"
    assert row["data_subset.fraction"] == 0.5
    assert row["data_subset#2.fraction"] == 0.1


def test_columns_have_one_type_each(mixed):
    frame = to_pandas(rows(mixed))
    assert frame["metric.samples"].dtype == "Int64"
    assert frame["metric.samples"][0] == 200
    assert frame["metric.exact"].dtype == "boolean"
    assert frame["metric.scale"].dtype == "float64"
    assert frame["n"].dtype == "int64"
    assert frame["value"].dtype == "float64"
    assert np.isnan(frame["value"][5])
    assert [frame["metric.mode"][i] for i in range(4)] == ["3", "fast", "1 2", "true"]
    assert frame["metric.big"][2] == str(2**80)
    assert json.loads(frame["metric.table"][2]) == {"k": 1}
    assert frame["label_noise#2.fraction"][4] == 0.1


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_round_trip(tmp_path, mixed, form):
    table = rows(mixed)
    path = tmp_path / f"out.{form}"
    write_table(to_pandas(table), path, form)
    again = pd.read_csv(path) if form == "csv" else pd.read_parquet(path)
    frame = to_pandas(table)
    assert list(again.columns) == list(frame.columns)
    assert len(again) == len(table)
    for name in frame.columns:
        for mine, theirs in zip(frame[name], again[name], strict=True):
            if pd.isna(mine) or mine == "":
                assert pd.isna(theirs) or theirs == ""
            elif isinstance(mine, str):
                assert str(theirs) == mine
            else:
                assert theirs == mine
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_csv_writes_whole_numbers_whole(tmp_path, mixed):
    write_table(to_pandas(rows(mixed)), tmp_path / "t.csv", "csv")
    first = (tmp_path / "t.csv").read_text(encoding="utf-8").splitlines()[1]
    assert ",200," in first
    assert "200.0" not in first


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_an_empty_table_can_be_written(tmp_path, form):
    write_table(to_pandas([]), tmp_path / "t", form)
    assert (tmp_path / "t").is_file()


@pytest.mark.parametrize("place", ["missing/t.csv", "file/t.csv", "folder"])
@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_place_that_cannot_be_written(tmp_path, mixed, form, place):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    with pytest.raises(LltError, match="cannot write the table") as caught:
        write_table(to_pandas(rows(mixed)), tmp_path / place, form)
    assert caught.value.where == str(tmp_path / place)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder"]
    assert (tmp_path / "file").read_text() == "mine"


def test_an_existing_table_survives_a_failed_writing(tmp_path, mixed):
    path = tmp_path / "t.csv"
    write_table(to_pandas(rows(mixed)), path, "csv")
    before = path.read_bytes()
    bad = [{"a": "\ud800"}]  # cannot be encoded
    with pytest.raises(UnicodeEncodeError):
        write_table(to_pandas(bad), path, "csv")
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["t.csv"]
