"""Flat tables: what headings mean, and that nothing is guessed in silence."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llt_core.analysis.flat import Flat, read_flat
from llt_core.analysis.headings import meaning, parse_mapping
from llt_core.errors import RequestError


def flat(**columns):
    count = len(next(iter(columns.values())))
    texts = {name: [str(value) for value in values] for name, values in columns.items()}
    return Flat(texts, range(2, count + 2), "table.csv")


@pytest.mark.parametrize(
    ("heading", "role", "name", "transform"),
    [
        ("width", "axis", "architecture.width", ""),
        ("Batch Size", "axis", "train.batch_size", ""),
        ("data_tenths", "axis", "perturbation.data_subset.fraction", "tenths"),
        ("test_acc_mean", "value", "test_accuracy", ""),
        ("test_acc_std", "std", "test_accuracy", ""),
        ("train_loss_sem", "standard_error", "train_loss", ""),
        ("log_top_eigenvalue", "value", "hessian_top_eigenvalue", "log"),
        ("cka_softmax_mean", "value", "cka", ""),
        ("n_models", "models", "", ""),
    ],
)
def test_known_headings(heading, role, name, transform):
    found = meaning(heading)
    assert (found.role, found.name, found.transform) == (role, name, transform)


def test_values_errors_and_what_is_missing():
    table = read_flat(
        flat(width=[2, 4, 8], n_models=[4, 4, 4], test_acc_mean=[50, "", "NaN"],
             test_acc_std=[3, 1, 1], log_trace=[0, 1, 2], remark=["a", "b", "c"], extra=[1, 2, 3]),
        "t",
    )  # fmt: skip
    assert [axis.name for axis in table.axes] == ["architecture.width"]
    assert table.axes[0].values == (2, 4, 8)
    accuracy = table.column("test_accuracy")
    np.testing.assert_array_equal(accuracy.values, [50, math.nan, math.nan])
    assert accuracy.standard_errors[0] == 1.5
    assert accuracy.reasons == ("", *["no number in the file"] * 2)
    assert list(accuracy.n) == [4, 0, 0]
    np.testing.assert_allclose(table.column("hessian_trace").values, np.exp([0, 1, 2]))
    assert "remark" not in table
    np.testing.assert_array_equal(table.column("extra").values, [1, 2, 3])
    assert list(table.models) == [4, 4, 4]


def test_a_field_that_never_varies_is_a_fact():
    table = read_flat(flat(width=[2, 4], lr=[0.1, 0.1], trace=[1, 2]), "t")
    assert [axis.name for axis in table.axes] == ["architecture.width"]
    assert table.facts == {"train.learning_rate": 0.1}


def test_one_row():
    table = read_flat(flat(width=[2], batch_size=[16], trace=[1]), "t")
    assert (len(table), [axis.name for axis in table.axes]) == (1, ["architecture.width"])


def test_the_user_says_what_a_column_is():
    said = parse_mapping(
        ["k=architecture.growth:load", "acc=test_accuracy:fraction", "h=trace:log10", "width=-"]
    )
    table = read_flat(flat(k=[1, 2], acc=[0.5, 0.25], h=[1, 2], width=[7, 7]), "t", said)
    assert [(axis.name, axis.kind) for axis in table.axes] == [("architecture.growth", "load")]
    np.testing.assert_allclose(table.column("test_accuracy").values, [50, 25])
    np.testing.assert_allclose(table.column("hessian_trace").values, [10, 100])


@pytest.mark.parametrize(
    ("columns", "said", "what", "where"),
    [
        ({"width": [2, 4], "trace": [1, "x1"]}, [], "'x1' is no number", "line 3, column trace"),
        ({"width": [2, 2], "trace": [1, 2]}, [], "the same cell: architecture.width=2", "lines 2"),
        ({"width": [2, ""], "trace": [1, 2]}, [], "has no width", "line 3"),
        ({"width": [2, "x4"], "trace": [1, 2]}, [], "'x4' is no finite number", "line 3, column"),
        ({"width": [2, "inf"], "trace": [1, 2]}, [], "'inf' is no width", "line 3"),
        ({"depths": [2, 3], "trace": [1, 2]}, [], "no column is a varied field", "table.csv"),
        ({"width": [2, 3], "test_acc": [0.5, 0.9]}, [], "reaches 0.9", "table.csv"),
        ({"width": [2, 3], "mc": [1, 2], "mc_train_err": [1, 2]}, [], "both mean", "table.csv"),
        ({"width": [2, 3]}, ["trace=hessian_trace"], "no column 'trace'", "table.csv"),
    ],
)
def test_what_is_wrong_is_told(columns, said, what, where):
    with pytest.raises(RequestError, match=what) as caught:
        read_flat(flat(**columns), "t", parse_mapping(said))
    assert where in caught.value.where


@pytest.mark.parametrize(
    ("heading", "values", "wrong", "expected"),
    [
        ("width", [2, 0], "'0' is no width", "a number above 0"),
        ("w", [2, -1], "'-1' is no w", "a number above 0"),
        ("width", [2, "NaN"], "'NaN' is no width", "a number above 0"),
        ("width", ["inf", "inf"], "'inf' is no width", "a number above 0"),
        ("batch_size", [16, 0], "'0' is no batch_size", "a whole number from 1 on"),
        ("bs", [16, 2.5], "'2.5' is no bs", "a whole number from 1 on"),
        ("label_noise", [0, 1.5], "'1.5' is no label_noise", "a number from 0 to 1"),
        ("data_fraction", [1, 0], "'0' is no data_fraction", "a number above 0 and up to 1"),
        ("data_tenths", [10, 15], "'15' is no data_tenths", "and up to 1, here in tenths"),
        ("lr", [0.1, -0.1], "'-0.1' is no lr", "a number above 0"),
        ("wd", [0, -1e-4], "'-0.0001' is no wd", "a number from 0 on"),
    ],
)
def test_an_impossible_setting_is_refused(heading, values, wrong, expected):
    """Of whatever row, named with line and column; also where the column does not vary."""
    columns = {heading: values, "depth": [2, 4], "trace": [1, 2]}
    with pytest.raises(RequestError) as caught:
        read_flat(flat(**columns), "t")
    assert caught.value.what == wrong
    line = 2 if values[0] == values[1] else 3
    assert caught.value.where == f"table.csv, line {line}, column {heading}"
    assert expected in caught.value.expected


def test_what_nobody_knows_can_be_anything():
    """Fields without a known meaning, words, and a known heading that the user explains."""
    said = parse_mapping(["width=own.width:load", "shift=data.shift:axis"])
    table = read_flat(flat(width=[0, -1], shift=[-0.5, 7], trace=[1, 2]), "t", said)
    assert [axis.values for axis in table.axes] == [(0, -1), (-0.5, 7)]
    assert read_flat(flat(width=["s", "m"], trace=[1, 2]), "t").axes[0].values == ("s", "m")
    assert read_flat(flat(depth=[0, 1], wd=[0, 0], trace=[1, 2]), "t").axes[0].values == (0, 1)


@pytest.mark.parametrize("wrong", ["width", "=x", "a=", "a=cka:squared"])
def test_a_mapping_that_is_none(wrong):
    with pytest.raises(RequestError, match="--map"):
        parse_mapping([wrong])


@given(st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=20))
def test_numbers_keep_every_bit(values):
    table = read_flat(flat(width=range(1, len(values) + 1), trace=list(map(repr, values))), "t")
    assert list(table.column("hessian_trace").values) == values
