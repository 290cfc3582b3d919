"""Tables by name: sweeps, imported ones, and files."""

import math
import os
import time
from pathlib import Path

import numpy as np
import pytest

import llt_core
from llt_core.analysis import classify
from llt_core.errors import RequestError
from llt_core.store import Store
from llt_core.store.export import to_pandas, write_table
from llt_core.store.kept import keep_table, table_names
from llt_core.store.tables import as_rows, open_table, read_table

SHARED = Path(os.environ.get("LLT_SHARED", Path(__file__).resolve().parents[3] / "../shared"))
PUBLISHED = SHARED / "published"


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A sweep of three points, one of which diverges, and one that was not computed."""
    home = tmp_path_factory.mktemp("swept")
    keys = {
        "task": "digits",
        "architecture": "mlp:depth=1,width=4",
        "metrics": ["train_loss", "test_accuracy", "l2_distance"],
        "models": 2,
        "train": {"epochs": 1},
        "name": "rates",
    }

    def sweep(*rates):
        axes = {"temperature": {"field": "train.learning_rate", "values": list(rates)}}
        return llt_core.sweep(**keys, axes=axes, store=home / "store", executor="inline")

    result = sweep(0.1, 0.01, 1e30)
    return Store(home / "store"), result


def same(one, two):
    assert [axis.name for axis in one.axes] == [axis.name for axis in two.axes]
    assert [axis.values for axis in one.axes] == [axis.values for axis in two.axes]
    for name, column in one.columns.items():
        other = two.column(name)
        np.testing.assert_array_equal(column.values, other.values)
        np.testing.assert_array_equal(column.standard_errors, other.standard_errors)
        assert column.samples == other.samples


def test_a_sweep_is_a_table(swept):
    store, result = swept
    table = open_table("rates", store)
    (axis,) = table.axes
    assert (axis.name, axis.kind) == ("train.learning_rate", "temperature")
    means = {values["train.learning_rate"]: found for values, found in result.points()}
    for row, rate in enumerate(axis.values):
        for name in ("train_loss", "test_accuracy", "l2_distance"):
            column, mean = table.column(name), means[rate].get(name)
            if mean is None:
                assert np.isnan(column.values[row])
                assert column.reasons[row] == "a model diverged or failed"
            else:
                assert column.values[row] == pytest.approx(mean.value, rel=1e-15)
                assert column.n[row] == mean.n
                error = column.standard_errors[row]
                assert (
                    np.isnan(error) if mean.standard_error is None else error == mean.standard_error
                )
    assert list(table.models) == [2, 2, 0]
    assert table.facts["task"] == "llt/digits"
    assert classify(table).counts["undetermined"] == 3


def test_of_fields_that_vary_together_the_first_is_the_axis(tmp_path):
    """And a sweep without a grid has one point."""
    store = tmp_path / "store"
    keys = {"task": "digits", "architecture": "mlp:depth=1,width=4", "metrics": ["train_loss"]}
    pair = {"fields": ["train.batch_size", "train.epochs"], "values": [[64, 1], [128, 2]]}
    llt_core.sweep(**keys, axes={"temperature": pair}, name="both", store=store, executor="inline")
    table = open_table("both", Store(store))
    assert [(axis.name, axis.values) for axis in table.axes] == [("train.batch_size", (64, 128))]
    assert np.isfinite(table.column("train_loss").values).all()


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_what_is_exported_reads_the_same(swept, tmp_path, form):
    store, result = swept
    path = tmp_path / f"rates.{form}"
    write_table(result.to_pandas(), path, form)
    table, whole = open_table(str(path)), open_table("rates", store)
    finished = whole.select(whole.models > 0)
    order, there = (np.argsort(one.axis("learning_rate").values) for one in (table, finished))
    for name, column in finished.columns.items():
        np.testing.assert_array_equal(column.values[there], table.column(name).values[order])


def test_measurements_of_a_table_are_kept_one_by_one(swept, tmp_path):
    """Else nobody could draw models again."""
    _, result = swept
    write_table(result.to_pandas(), tmp_path / "rates.csv", "csv")
    table = read_table(tmp_path / "rates.csv")
    assert table.axes[0].kind == "temperature"
    kept = Store(tmp_path / "store")
    keep_table(kept, "again", as_rows(table), kinds={table.axes[0].name: ""}, origin="x")
    again = open_table("again", kept)
    for name, column in table.columns.items():
        np.testing.assert_array_equal(again.column(name).values, column.values)
        np.testing.assert_array_equal(again.column(name).standard_errors, column.standard_errors)
        assert again.column(name).samples == column.samples


def test_kept_tables_come_back_with_their_origin(tmp_path, swept):
    store, result = swept
    rows = result.to_rows()
    kept = Store(tmp_path / "store")
    keep_table(kept, "mine", rows, kinds={"train.learning_rate": "temperature"}, origin="a paper")
    assert table_names(kept) == ["mine"]
    table = open_table("mine", kept)
    assert (table.origin, table.axes[0].kind) == ("a paper", "temperature")
    keep_table(kept, "mine", rows, kinds={"train.learning_rate": "temperature"}, origin="a paper")
    for words in (
        {"kinds": {"train.learning_rate": ""}, "origin": "a paper"},
        {"kinds": {"train.learning_rate": "temperature"}, "origin": "another paper"},
    ):
        with pytest.raises(RequestError, match="another table is kept as 'mine'"):
            keep_table(kept, "mine", rows, **words)
    words = {"kinds": {"train.learning_rate": ""}, "origin": "less"}
    with pytest.raises(RequestError, match="another table is kept as 'mine'"):
        keep_table(kept, "mine", rows[:1], **words)
    assert len(open_table("mine", kept)) == len(table)
    keep_table(kept, "mine", rows[:1], **words, force=True)
    assert len(open_table("mine", kept)) == 1
    with pytest.raises(RequestError, match="a sweep is called 'rates'"):
        keep_table(store, "rates", rows, kinds={}, origin="")


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="no published tables here")
@pytest.mark.parametrize("name", ["resnet18_cifar10_lr_decay", "resnet18_cifar10_constant_lr"])
def test_published_tables_need_no_options(name, tmp_path):
    table = open_table(str(PUBLISHED / f"{name}.csv"))
    assert [axis.name for axis in table.axes] == ["architecture.width", "train.batch_size"]
    assert [axis.kind for axis in table.axes] == ["load", "temperature"]
    assert classify(table).counts["undetermined"] == 0
    # Kept as long rows and read again, it is the same to the last bit.
    store = Store(tmp_path / "store")
    kinds = {axis.name: axis.kind for axis in table.axes}
    keep_table(store, "published", as_rows(table), kinds=kinds, origin=table.origin)
    again = open_table("published", store)
    places = {key: row for row, key in enumerate(zip(*(a.values for a in again.axes), strict=True))}
    order = [places[key] for key in zip(*(a.values for a in table.axes), strict=True)]
    for column in table.columns.values():
        np.testing.assert_array_equal(again.column(column.name).values[order], column.values)
        errors = again.column(column.name).standard_errors[order]
        np.testing.assert_array_equal(errors, column.standard_errors)
    np.testing.assert_array_equal(again.models[order], table.models)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "no rows"),
        ("width,trace\n", "no rows"),
        ("width,trace\n1,2,3\n", "3 fields, and there are 2 headings"),
        ("width,width\n1,2\n", "two columns are called 'width'"),
        ("width,trace\n1,\xff\n", "cannot be read"),
        ("width,name,value\n1,cka,high\n", "'high' is no number"),
        ("width;trace\n1;2;3\n", "3 fields, and there are 2 headings"),
        ("width;cka\n1;0,5\n", "'0,5' is no number here"),
    ],
)
def test_files_that_are_no_tables(tmp_path, text, what):
    path = tmp_path / "t.csv"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(RequestError, match=what) as caught:
        read_table(path)
    assert str(path) in caught.value.where


@pytest.mark.parametrize("form", ["csv", "parquet"])
@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("architecture.width", -1, "a number above 0"),
        ("train.batch_size", 0, "a whole number from 1 on"),
        ("perturbation.label_noise.fraction", 1.5, "a number from 0 to 1"),
        ("batch_size", 2.5, "a whole number from 1 on"),
    ],
)
def test_an_impossible_setting_of_a_long_table_is_refused(tmp_path, form, field, value, expected):
    rows = [
        {field: setting, "own.shift": -1, "seeds": "0", "name": "cka", "value": 0.5}
        for setting in (1, None, 1, value)
    ]
    path = tmp_path / f"long.{form}"
    write_table(to_pandas(rows), path, form)
    with pytest.raises(RequestError, match=f"{value} is no ") as caught:
        open_table(str(path))
    place = "line 5" if form == "csv" else "row 4"  # the first line has the headings
    assert caught.value.where == f"{path}, {place}, column {field}"
    assert caught.value.expected.startswith(expected)
    write_table(to_pandas(rows[:3]), path, form)
    assert len(open_table(str(path))) >= 1


def test_a_setting_that_is_no_number_is_refused_and_an_empty_one_is_not(tmp_path):
    path = tmp_path / "long.csv"
    text = "architecture.width,seeds,name,value\n1,0,cka,0.5\n2,0,cka,nan\n,0,cka,0.5\n"
    path.write_text(text)
    assert open_table(str(path)).axes[0].values == (1, 2)
    path.write_text(text + "NaN,0,cka,0.5\n")
    with pytest.raises(RequestError, match="nan is no architecture") as caught:
        open_table(str(path))
    assert "line 5, column architecture.width" in caught.value.where


@pytest.mark.parametrize("mark", [";", "\t"])
def test_semicolons_and_tabs_separate_columns_too(tmp_path, mark):
    path = tmp_path / "t.csv"
    path.write_text(f"width{mark}test_acc\n1{mark}50.5\n2{mark}60\n", encoding="utf-8-sig")
    table = read_table(path)
    assert table.axes[0].values == (1, 2)
    assert table.column("test_accuracy").values.tolist() == [50.5, 60.0]


def test_names_of_nothing(swept, tmp_path):
    store, _ = swept
    with pytest.raises(RequestError, match="no sweep or table") as caught:
        open_table("rate", store)
    assert "rates" in caught.value.expected
    with pytest.raises(RequestError, match="there is no file"):
        open_table("gone.csv", store)
    (tmp_path / "t.parquet").write_bytes(b"PAR1")
    with pytest.raises(RequestError, match="cannot be read"):
        open_table(str(tmp_path / "t.parquet"))


def test_columns_of_parquet_files_are_read_as_they_are(tmp_path):
    """Nulls, NaN, categories with some that do not occur, and settings of one metric alone."""
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    places = arrow.array([1, 1, 0, None] * 2, arrow.uint8())  # in which there is no -1
    kinds = arrow.DictionaryArray.from_arrays(places, ["mlp", "cnn", "vit"])
    columns = {
        "architecture": kinds,
        "train.epochs": [3] * 8,
        "train.rate": [0.1, math.nan, 0.1, 0.1] * 2,
        "metric.radius": [None, 7] * 4,
        "seeds": ["0"] * 4 + ["1"] * 4,
        "name": ["loss", "loss", "loss", "trace"] * 2,
        "value": [1, 2, 3, 4, 5, None, 7, 8],
        "unit": arrow.array(["nats"] * 8, arrow.large_string()),
    }
    for size in (8, 3):
        parquet.write_table(arrow.table(columns), tmp_path / "t.parquet", row_group_size=size)
        table = read_table(tmp_path / "t.parquet")
        (axis,) = table.axes
        assert (axis.name, axis.values) == ("architecture", ("cnn", "mlp"))
        assert table.facts == {"train.epochs": 3}
        assert list(table.columns) == ["loss", "loss(radius=7)", "trace"]
        np.testing.assert_array_equal(table.column("loss").values, [3, 5])
        np.testing.assert_array_equal(table.column("loss(radius=7)").values, [2, np.nan])
        np.testing.assert_array_equal(table.column("trace").values, [6, 6])
        assert table.column("loss").unit == "nats"
    parquet.write_table(arrow.table(columns).slice(0, 0), tmp_path / "t.parquet")
    assert len(read_table(tmp_path / "t.parquet")) == 0


def test_ten_thousand_cells(tmp_path):
    path = tmp_path / "t.csv"
    lines = (f"{w},{b},{w * b},{w / b}" for w in range(1, 101) for b in range(1, 101))
    path.write_text("\n".join(["width,batch_size,trace,train_loss", *lines]))
    start = time.process_time()
    assert len(read_table(path)) == 10_000
    assert time.process_time() - start < 5
