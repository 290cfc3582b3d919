"""What a cell holds: arrays by name, figures with their arrays, histories."""

import numpy as np
import pytest

from llt_core.errors import LltError, RequestError
from llt_core.interfaces import Figure, Measurement
from llt_core.report import Panel, describe_array, load
from llt_core.report.result import DrawingError


def test_arrays_come_back_as_they_were(stored):
    given = {
        "a": np.arange(6, dtype=np.float32).reshape(2, 3),
        "per/layer": np.array([True, False]),
        "b": np.array([1, 2], dtype=np.int16),
    }
    result = stored(arrays=given)
    assert set(result.arrays) == {"wave/a", "wave/per/layer", "wave/b"}
    for name, array in given.items():
        for called in (name, f"wave/{name}"):
            assert result.array(called).dtype == array.dtype
            assert np.array_equal(result.array(called), array)


def test_a_wrong_array_name_is_told_with_near_ones(stored):
    result = stored(arrays={"samples": np.ones(2)})
    with pytest.raises(RequestError) as caught:
        result.array("sampels")
    assert "no array 'sampels'" in str(caught.value)
    assert "one of wave/samples" in str(caught.value)
    with pytest.raises(RequestError, match="no array 'x'"):
        stored(arrays={}, number=1).array("x")


def test_a_name_that_two_quantities_use_needs_the_quantity(stored):
    result = stored(arrays={"t": np.zeros(2)})
    result.arrays["other/t"] = np.ones(2)
    with pytest.raises(RequestError) as caught:
        result.array("t")
    assert "several arrays" in str(caught.value)
    assert "wave/t, other/t" in str(caught.value)
    assert result.array("other/t")[0] == 1


def test_a_result_without_arrays_or_figures(stored):
    result = stored(arrays={})
    assert (result.arrays, result.panels) == ({}, ())


def test_damaged_arrays_are_told(stored, store):
    result = stored()
    (result.folder / "arrays.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}")
    with pytest.raises(LltError, match="arrays of this cell cannot be read") as caught:
        load(store, result.record)
    assert "arrays.safetensors" in caught.value.where


def test_each_figure_sees_the_arrays_of_its_own_quantity(store, stored):
    line = Figure(kind="line", title="L", x="t", y=("y",))
    two = tuple(Measurement(name=name, value=1.0, figures=(line,)) for name in ("wave", "other"))
    arrays = {"t": np.zeros(2), "y": np.ones(2)}
    first, second = stored(arrays=arrays, measurements=two).panels
    assert set(first.arrays) == {"t", "y"}
    assert (second.quantity, second.arrays) == ("other", {})
    with pytest.raises(DrawingError, match="'L' of other draws the array 't', which is not stored"):
        second.check()


def test_a_history_is_arrays_and_figures(trained):
    result = trained(losses=(2.0, None, 0.5), rates=(0.1, 0.05, 0.01))
    assert result.array("epoch").tolist() == [1, 2, 3]
    assert np.isnan(result.array("history/train_loss")).tolist() == [False, True, False]
    assert [panel.figure.title for panel in result.panels] == [
        "Training loss",
        "Training accuracy",
        "Learning rate",
    ]
    for panel in result.panels:
        panel.check()


def test_pictures_of_nothing_are_left_out(trained):
    titles = [p.figure.title for p in trained((None,), (0.1,), status="diverged").panels]
    assert titles == ["Training accuracy"]


@pytest.mark.parametrize(
    ("figure", "arrays", "says"),
    [
        ({"kind": "line", "x": "x", "y": ("y",)}, {"x": np.zeros(2), "y": np.zeros(3)}, "length"),
        ({"kind": "line", "x": "x", "y": ("x",)}, {"x": np.zeros((2, 2))}, "one axis"),
        ({"kind": "bars", "y": ("y",), "band": ("e",)}, {"y": np.zeros(2), "e": np.zeros(1)}, "e"),
        ({"kind": "matrix", "z": "z"}, {"z": np.zeros(4)}, "axes"),
        (
            {"kind": "surface", "x": "x", "y": ("y",), "z": "z"},
            {"x": np.zeros(3), "y": np.zeros(2), "z": np.zeros((3, 2))},
            r"x \(3,\), y \(2,\), z \(3, 2\)",
        ),
        ({"kind": "histogram", "y": ("y",)}, {"y": np.full(3, np.nan)}, "nothing finite"),
        ({"kind": "histogram", "y": ("y",)}, {"y": np.zeros(0)}, "empty"),
        ({"kind": "histogram", "y": ("y",)}, {"y": np.array([1j])}, "no real numbers"),
    ],
)
def test_a_figure_that_does_not_fit_its_arrays(figure, arrays, says):
    with pytest.raises(DrawingError, match=says) as caught:
        Panel("q", Figure(title="Odd", **figure), arrays).check()
    assert "the figure 'Odd' of q" in str(caught.value)


def test_entries_are_labels_else_x_else_numbers():
    arrays = {"y": np.zeros(2), "x": np.array([8.0, 16.0])}
    bars = {"kind": "bars", "title": "", "y": ("y",)}
    assert Panel("q", Figure(**bars, labels=("a", "b"), x="x"), arrays).entries(2) == ["a", "b"]
    assert Panel("q", Figure(**bars, x="x"), arrays).entries(2) == ["8", "16"]
    assert Panel("q", Figure(**bars, labels=("a",)), arrays).entries(2) == ["0", "1"]


def test_the_range_is_of_what_is_finite():
    facts = describe_array("a", np.array([[1.0, np.nan], [np.inf, -2.0]]))
    assert facts == {
        "name": "a", "shape": [2, 2], "dtype": "float64", "min": -2.0, "max": 1.0, "not_finite": 2,
    }  # fmt: skip
    assert describe_array("a", np.zeros(0))["min"] is None
