"""Conditions on rows: what they mean, and what they refuse."""

import operator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llt_core.analysis import Axis, CellTable, Column
from llt_core.analysis.where import LONGEST, where
from llt_core.errors import RequestError

nan = float("nan")
TABLE = CellTable(
    "t",
    (
        Axis("architecture.width", (1, 2, 4, 8, None)),
        Axis("train.batch_size", (16, 32, 64, 128, 256)),
        Axis("train.schedule", ("step", "none", None, "step", "cosine")),
        Axis("train.nesterov", (True, False, True, False, None)),
        Axis("a.rate", (1, 2, 3, 4, 5)),
        Axis("b.rate", (5, 4, 3, 2, 1)),
    ),
    {"cka": Column("cka", np.array([0.1, nan, 0.3, 0.7, 0.9]))},
)


@pytest.mark.parametrize(
    ("condition", "rows"),
    [
        ("width > 1", [1, 2, 3]),
        ("width>1 and batch_size<=64", [1, 2]),
        ("width == 1 or cka >= .7", [0, 3, 4]),
        ("1 < architecture.width <= 4", [1, 2]),
        ("not (width > 1)", [0, 4]),
        ("width != 2", [0, 2, 3]),
        ("cka < 0.5", [0, 2]),
        ("cka >= cka", [0, 2, 3, 4]),
        ("cka > -1", [0, 2, 3, 4]),
        ("cka in (0.3, +0.7)", [2, 3]),
        ("cka not in (0.3, 0.7)", [0, 4]),
        ("schedule == 'step'", [0, 3]),
        ("schedule != 'step'", [1, 4]),
        ("schedule in ['none', 'cosine'] and not width == 2", [4]),
        ("schedule < 'o'", [1, 4]),
        ("schedule == 1", []),
        ("width != 'step'", [0, 1, 2, 3]),
        ("nesterov == True", [0, 2]),
        ("a.rate > b.rate", [3, 4]),
        ("batch_size in ()", []),
        ("True", [0, 1, 2, 3, 4]),
        ("size == 'large'", [3, 4]),
    ],
)
def test_what_conditions_mean(condition, rows):
    more = {"size": ("small", "small", None, "large", "large")}
    assert np.flatnonzero(where(TABLE, condition, more)).tolist() == rows


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("", "cannot be used"),
        ("width >", "cannot be used: invalid syntax"),
        ("width", "width is neither true nor false"),
        ("width > 1 and 3", "3 is neither"),
        ("width = 2", "cannot be used"),
        ("__import__('os').system('true') == 0", "is no name, number or text"),
        ("(lambda: 1)() > 0", "is no name"),
        ("[w for w in (1,)] == 1", "is no name"),
        ("width ** 9999999999 > 1", "is no name"),
        ("width.__class__ == 1", "nothing called 'width.__class__'"),
        ("f'{width}' == 1", "is no name"),
        ("width is None", "write == or !="),
        ("width == None", "None is no name"),
        ("schedule > 1", "schedule is a text"),
        ("width > 'a'", "'a' is a text"),
        ("width in 'abc'", "after in comes a list"),
        ("-'a' == 1", "a sign before a text"),
        ("rate > 1", "has no axis 'rate'"),
        ("(" * 600 + "width > 1" + ")" * 600, "cannot be used"),
        ("not " * 400 + "width > 1", None),
        ("width > 1 or " * 400 + "width > 1", f"longer than {LONGEST}"),
        ("width > \x00", "cannot be used"),
    ],
)
def test_what_is_refused(condition, message):
    if message is None:
        assert where(TABLE, condition).tolist() == where(TABLE, "width > 1").tolist()
        return
    with pytest.raises(RequestError, match=message.replace("(", r"\(").replace(")", r"\)")):
        where(TABLE, condition)


def test_an_unknown_name_is_placed_and_answered():
    with pytest.raises(RequestError) as error:
        where(TABLE, "  schedule == 'größer' and widht > 1")
    assert error.value.what == "the table t has nothing called 'widht'"
    assert error.value.where == "schedule == 'größer' and ⟶widht > 1"
    assert error.value.expected == "one of width; a text stands in quotes"
    with pytest.raises(RequestError) as error:
        where(TABLE, "schedule == step")
    assert "quotes" in error.value.expected


@given(
    st.sampled_from(["<", "<=", ">", ">=", "==", "!="]),
    st.lists(st.one_of(st.none(), st.floats(-9, 9)), min_size=1, max_size=9),
    st.floats(-9, 9),
)
def test_comparisons_are_pythons(sign, values, limit):
    signs = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
    compare = {**signs, "==": operator.eq, "!=": operator.ne}[sign]
    table = CellTable("t", (Axis("x", tuple(values)),), {})
    expected = [value is not None and compare(value, limit) for value in values]
    assert where(table, f"x {sign} {limit!r}").tolist() == expected


def test_a_table_of_no_rows():
    table = CellTable("t", (Axis("x", ()),), {"cka": Column("cka", np.empty(0))})
    assert where(table, "x > 1 and cka < 2").shape == (0,)
