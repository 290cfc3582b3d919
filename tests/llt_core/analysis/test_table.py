"""The table that everything in the analysis works on."""

import numpy as np
import pytest

from llt_core.analysis import Axis, CellTable, Column, Sample
from llt_core.errors import RequestError

nan = float("nan")


def table():
    columns = {
        "cka": Column("cka", np.array([0.1, nan, 0.3])),
        "test_accuracy": Column(
            "test_accuracy",
            np.array([50.0, 60.0, 70.0]),
            "percent",
            np.array([1.0, nan, 2.0]),
            np.array([2, 1, 2]),
            samples=((Sample((0,), 49.0), Sample((1,), 51.0)), (Sample((0,), 60.0),), ()),
        ),
    }
    axes = (
        Axis("architecture.width", (8, 2, None), "load"),
        Axis("train.width", ("step", "none", "step")),
        Axis("train.learning_rate", (0.1, 0.01, 0.4)),
    )
    return CellTable("t", axes, columns, models=np.array([2, 1, 2]))


def test_an_axis_knows_its_numbers_levels_and_scale():
    width, schedule, rate = table().axes
    assert np.array_equal(width.numbers, [8, 2, nan], equal_nan=True)
    assert width.levels == (2, 8)
    assert schedule.levels == ("none", "step")
    assert np.isnan(schedule.numbers).all()
    assert width.logarithmic
    assert rate.logarithmic
    assert not schedule.logarithmic
    assert not Axis("a", (1, 2, 3)).logarithmic
    assert not Axis("a", (0, 1, 9)).logarithmic
    assert np.isnan(Axis("a", (True,)).numbers[0])  # a switch is no number


def test_a_column_says_what_it_does_not_know():
    column = table().column("cka")
    assert column.n.tolist() == [1, 0, 1]
    assert column.reasons == ("", "not in the table", "")
    assert np.isnan(column.standard_errors).all()
    assert column.samples == ((), (), ())
    with pytest.raises(ValueError, match="n of the column cka needs 3 entries"):
        Column("cka", column.values, n=np.array([1, 2]))


def test_selected_rows_keep_everything_they_had():
    part = table().select(np.array([False, True, True]))
    assert len(part) == 2
    assert part.axes[0].values == (2, None)
    assert part.axes[0].kind == "load"
    assert part.models.tolist() == [1, 2]
    accuracy = part.column("test_accuracy")
    assert accuracy.values.tolist() == [60, 70]
    assert accuracy.n.tolist() == [1, 2]
    assert accuracy.samples == ((Sample((0,), 60.0),), ())
    assert part.column("cka").reasons == ("not in the table", "")
    none = table().select(np.zeros(3, dtype=bool))
    assert len(none) == 0
    assert len(none.column("cka").samples) == 0


def test_axes_are_found_by_their_last_part_unless_two_have_it():
    held = table()
    assert held.axis("learning_rate").name == "train.learning_rate"
    assert held.axis("train.width").values[0] == "step"
    for name in ("width", "depth"):
        with pytest.raises(RequestError, match=f"has no axis '{name}'"):
            held.axis(name)
    with pytest.raises(RequestError) as error:
        held.column("ckaa")
    assert error.value.expected == "one of cka"
    assert held.of_kind("load") is held.axes[0]
    assert held.of_kind("temperature") is None
    assert "cka" in held
    assert "cka_logits" not in held


def test_labels():
    assert table().label(1) == "architecture.width=2, train.width=none, learning_rate=0.01"
    assert table().label(2) == "architecture.width=None, train.width=step, learning_rate=0.4"


def test_lengths_must_agree():
    with pytest.raises(ValueError, match="differ in length"):
        CellTable("t", (Axis("a", (1,)),), {"cka": Column("cka", np.zeros(2))})
    assert len(CellTable("nothing", (), {})) == 0
