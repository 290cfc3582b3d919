"""Where cells lie, where their edges are, and which axis is drawn where."""

import runpy
from pathlib import Path

import numpy as np
import pytest

from llt_core.analysis import Axis, CellTable
from llt_core.errors import RequestError
from llt_core.report.display import axis_facts, metric_facts
from llt_core.report.grids import Plane, Ruler, ticks

grid = runpy.run_path(str(Path(__file__).with_name("tables.py")))["grid"]


def test_edges_are_geometric_midpoints_on_a_logarithmic_side():
    values = (1, 2, 3, 4, 6, 8, 11, 16)
    edges = Ruler.along(Axis("architecture.width", values)).edges
    np.testing.assert_allclose(edges[1:-1], np.sqrt(np.array(values[1:]) * values[:-1]))
    assert edges[0] * edges[1] == pytest.approx(1)
    assert edges[-2] * edges[-1] == pytest.approx(256)


@pytest.mark.parametrize(
    ("values", "edges"),
    [
        ((0.0, 0.1, 0.3), [-0.05, 0.05, 0.2, 0.4]),  # zero has no logarithm
        ((5,), [2.5, 7.5]),
        ((0,), [-0.5, 0.5]),
        (("sgd", "adam"), [-0.5, 0.5, 1.5]),
    ],
)
def test_edges_of_other_sides_are_halfway(values, edges):
    ruler = Ruler.along(Axis("a.b", values))
    assert not ruler.log
    np.testing.assert_allclose(ruler.edges, edges)


def test_each_row_of_the_table_lies_at_its_values():
    table = grid(product=lambda w, b: w * b)
    plane = Plane.of(table)
    np.testing.assert_array_equal(
        plane.spread(table.columns["product"].values), np.outer([16, 64], [2, 4, 8])
    )


def test_a_hole_in_the_grid_is_nan_and_a_row_without_value_is_left_out():
    axes = Axis("w", (1, 2, 2, None)), Axis("b", (1, 1, 2, 2))
    plane = Plane.of(CellTable("t", axes, {}), "w", "b")
    np.testing.assert_array_equal(plane.spread(np.arange(4.0)), [[0, 1], [np.nan, 2]])


def test_load_lies_across_and_temperature_upwards_whatever_comes_first():
    table = grid()
    turned = CellTable("t", table.axes[::-1], {})
    for plane in (Plane.of(table), Plane.of(turned)):
        assert (plane.x.axis.name, plane.y.axis.name) == ("architecture.width", "train.batch_size")
    swapped = Plane.of(table, x="batch_size")
    assert swapped.y.axis.name == "architecture.width"


def test_one_row_one_column_and_one_axis_are_planes_too():
    assert Plane.of(grid(widths=(2,))).rows.shape == (2, 1)
    assert Plane.of(grid(batches=(16,))).rows.shape == (1, 3)
    assert Plane.of(CellTable("t", (Axis("a.width", (1, 2)),), {})).rows.shape == (1, 2)


def test_a_third_axis_that_varies_is_an_error_that_says_what_to_choose():
    axes = (
        Axis("architecture.width", (2, 2, 4)),
        Axis("train.batch_size", (16, 16, 32)),
        Axis("train.learning_rate", (0.1, 0.2, 0.1)),
    )
    with pytest.raises(RequestError) as told:
        Plane.of(CellTable("t", axes, {}))
    assert "width=2, batch_size=16" in told.value.what
    assert 'where "learning_rate == 0.1"' in told.value.next_step


def test_a_constant_third_axis_does_no_harm_and_is_not_drawn():
    table = grid()
    third = Axis("perturbation.data_subset.fraction", (0.1,) * len(table), "load")
    plane = Plane.of(CellTable("t", (third, *table.axes), {}))
    assert plane.x.axis.name == "architecture.width"


@pytest.mark.parametrize(
    ("axes", "says"),
    [((), "no axis"), ((Axis("a", ()),), "no cells"), ((Axis("a", (None,)),), "no cell of t has")],
)
def test_a_table_without_a_plane_says_why(axes, says):
    table = CellTable("t", axes, {}, models=np.zeros(1 if not axes else 0, dtype=np.int64))
    with pytest.raises(RequestError, match=says):
        Plane.of(table)


def test_one_axis_twice_is_refused():
    with pytest.raises(RequestError, match="both"):
        Plane.of(grid(), "width", "width")


@pytest.mark.parametrize(
    ("name", "kind", "downward"),
    [
        ("train.batch_size", "temperature", True),
        ("train.learning_rate", "temperature", False),
        ("train.weight_decay", "temperature", False),
        ("architecture.width", "load", False),
        ("perturbation.label_noise.fraction", "load", False),
    ],
)
def test_hot_is_on_top(name, kind, downward):
    ruler = Ruler.along(Axis(name, (1, 4)))
    assert ruler.facts.kind == kind
    assert ruler.downward is downward
    if kind == "temperature":
        assert ruler.title(upright=True).endswith("(temperature →)")


def test_what_a_sweep_says_of_an_axis_counts_more():
    assert axis_facts(Axis("train.batch_size", (1, 2), "load")).more is None


def test_ticks_stand_at_levels_and_do_not_overlap():
    ruler = Ruler.along(Axis("w.width", (2, 3, 4, 6, 8, 11, 16, 23, 32, 45, 64, 91, 128)))
    assert ticks(ruler, 6.0, False) == list(range(13))
    assert [ruler.levels[place] for place in ticks(ruler, 2.0, False)] == [2, 4, 8, 16, 32, 64, 128]
    many = Ruler.along(Axis("b.batch_size", tuple(range(8, 808, 8))))
    named = [np.log(many.levels[place]) for place in ticks(many, 2.0, True)]
    assert 8 < len(named) < 20
    assert np.diff(named).min() * 2.0 / np.log(many.edges[-1] / many.edges[0]) >= 0.14 - 1e-9


def test_logarithms_of_what_has_none_are_nan_and_errors_are_relative():
    facts = metric_facts("hessian_trace")
    shown = facts.shown(np.array([np.e, 0.0, -1.0, np.nan]))
    np.testing.assert_array_equal(np.isnan(shown), [False, True, True, True])
    assert shown[0] == pytest.approx(1)
    assert facts.errors(np.array([4.0]), np.array([1.0]))[0] == pytest.approx(0.25)
