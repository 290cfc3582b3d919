"""Axes, ticks, bins and colour scales."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from llt_core.report.scales import Axis, ColourScale, bin_edges

ordinary = st.floats(-1e12, 1e12, allow_subnormal=False)
vectors = arrays(np.float64, st.integers(1, 30), elements=ordinary)


@given(vectors)
def test_an_axis_holds_its_values_and_its_ticks(values):
    axis = Axis.around(values)
    place = axis.position(values)
    assert ((place >= 0) & (place <= 1)).all()
    ticks = axis.ticks(5)
    assert 2 <= len(ticks) <= 7
    assert ticks == sorted(ticks)
    slack = 1e-9 * (axis.high - axis.low)
    assert axis.low - slack <= ticks[0] <= ticks[-1] <= axis.high + slack


@given(arrays(np.float64, st.integers(1, 30), elements=st.floats(1e-12, 1e12)))
def test_a_logarithmic_axis_too(values):
    axis = Axis.around(values, log=True)
    place = axis.position(values)
    assert (place <= 1 + 1e-12).all()
    assert (place[values >= values.max() / 1e11] >= -1e-12).all()
    assert axis.high <= 1.001e12 * axis.low or axis.high == 2 * values.max()
    assert 1 <= len(axis.ticks(5)) <= 5
    assert np.isnan(axis.position([0.0, -1.0])).all()


def test_neighbours_of_one_logarithm_have_a_place():
    values = np.array([1e-12, np.nextafter(1e-12, 1)])
    assert Axis.around(values, log=True).position(values) == pytest.approx([0.5, 0.5])


def test_extreme_values_do_not_break_an_axis():
    axis = Axis.around(np.array([-1.7e308, 1.7e308]))
    assert axis.position([0.0])[0] == pytest.approx(0.5)
    assert axis.ticks(5) == [-1.7e308, 1.7e308]
    assert Axis.around(np.array([np.nan, np.inf])).position([0.5])[0] == 0.5


@given(vectors, st.integers(1, 20))
def test_bins_hold_every_value(values, most):
    edges = bin_edges(values, log=False, most=most)
    assert len(edges) <= most + 1
    assert (np.diff(edges) > 0).all()
    assert np.histogram(values, edges)[0].sum() == len(values)


def test_heavy_tails_do_not_ask_for_millions_of_bins():
    values = np.concatenate([np.linspace(0, 1, 100), [1e9]])
    assert len(bin_edges(values, log=False, most=60)) == 61
    edges = bin_edges(values[1:], log=True, most=60)
    assert np.allclose(np.diff(np.log(edges)), np.diff(np.log(edges))[0])


def test_colours_follow_the_values():
    assert ColourScale.of(np.array([-3.0, 1.0, np.nan])) == ColourScale("diverging", -3.0, 3.0)
    assert ColourScale.of(np.array([0.1, 200.0]), steep=True) == ColourScale("log", 0.1, 200.0)
    assert ColourScale.of(np.array([0.1, 2.0]), steep=True).kind == "sequential"
    assert ColourScale.of(np.array([0.1, 200.0])).kind == "sequential"
    assert ColourScale.of(np.array([0.0, 200.0]), steep=True) == ColourScale(
        "sequential", 0.0, 200.0
    )
    constant = ColourScale.of(np.array([2.0]))
    assert constant.low < 2 < constant.high
