"""Cells of two tables at the same places."""

import numpy as np
import pytest

from llt_core.analysis import Axis, CellTable, Column
from llt_core.errors import RequestError
from llt_core.report.page.matching import match_rows
from llt_core.report.page.payload import payload


def table(name="t", **axes):
    rows = len(next(iter(axes.values())))
    columns = {"cka": Column("cka", np.linspace(0, 1, rows))}
    return CellTable(name, tuple(Axis(axis, values) for axis, values in axes.items()), columns)


def test_rows_meet_at_equal_values_of_axes_with_the_same_last_name():
    a = table(width=(1, 2, 3), batch=(8, 8, 16))
    b = CellTable("b", (Axis("train.batch", (16.0, 8.0)), Axis("architecture.width", (3, 1))), {})
    assert match_rows(a, b) == [1, -1, 0]


def test_an_axis_that_does_not_vary_does_not_matter():
    a = table(width=(1, 2))
    b = table(width=(2, 1), tenths=(10, 10))
    assert match_rows(a, b) == [1, 0]


@pytest.mark.parametrize(
    ("other", "what"),
    [
        (table(rate=(1, 2)), "varies in one of them only"),
        (table(width=(1, 2), tenths=(5, 10)), "tenths varies"),
        (table(width=(7, 8)), "share no cell"),
    ],
)
def test_tables_that_cannot_be_compared(other, what):
    with pytest.raises(RequestError, match=what):
        match_rows(table(width=(1, 2)), other)


def test_two_cells_at_one_place_cannot_be_compared():
    with pytest.raises(RequestError, match="several cells at one place"):
        match_rows(table(width=(1, 2)), table(width=(1, 2, 2)))


def test_values_of_the_other_come_in_the_order_of_this():
    a, b = table(width=(1, 2, 3)), table("b", width=(3, 9, 1))
    compared = payload(a, compare=b)["compare"]
    assert compared["there"] == [1, 0, 1]
    assert compared["shared"] == 2
    assert compared["columns"][0]["values"] == [1, None, 0]
    reasons = compared["columns"][0]["reasons"]
    assert [reasons["texts"][at] for at in reasons["at"]] == ["", "not in this table", ""]


def fractions(*names, kind="", name="t"):
    values = ((0.1, 0.2, 0.1, 0.2), (0.5, 0.5, 1.0, 1.0))
    axes = tuple(Axis(n, v, kind) for n, v in zip(names, values, strict=False))
    axes = axes if len(names) > 1 else (Axis(names[0], (1, 2, 3, 4), kind),)
    return CellTable(name, axes, {"cka": Column("cka", np.arange(4.0))})


def test_two_axes_with_one_last_name_are_compared_by_their_whole_names():
    both = fractions("data_subset.fraction", "perturbation.label_noise.fraction")
    assert match_rows(both, both) == [0, 1, 2, 3]
    short = {axis["short"] for axis in payload(both)["axes"]}
    assert short == {"data_subset.fraction", "label_noise.fraction"}


def test_different_fields_are_not_the_same_axis():
    noise = fractions("perturbation.label_noise.fraction", name="noise")
    with pytest.raises(RequestError, match="varies in one of them only"):
        match_rows(fractions("data_subset.fraction"), noise)
    with pytest.raises(RequestError, match="varies in one of them only"):
        match_rows(fractions("width", kind="load"), fractions("a.width", kind="temperature"))
