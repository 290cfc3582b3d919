"""Correlations against scipy, their intervals against coverage, and the published tables."""

import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from llt_core.analysis import resampling, statistics
from llt_core.analysis.coefficients import kendall, partial_spearman, pearson, ranks, spearman
from llt_core.analysis.statistics import correlate

tables = runpy.run_path(str(Path(__file__).parent / "phase_tables.py"))
by_hand, published, shuffled = tables["by_hand"], tables["published"], tables["shuffled"]
needs_published = pytest.mark.skipif(not tables["there"](), reason="published tables not here")

pairs = st.lists(st.tuples(st.integers(-4, 4), st.integers(-4, 4)), min_size=2, max_size=40)


@settings(max_examples=200, deadline=None)
@given(pairs)
def test_each_coefficient_is_scipys(points):
    x, y = np.array(points, dtype=float).T
    assert np.array_equal(ranks(x), stats.rankdata(x))
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        assert np.isnan([pearson(x, y), spearman(x, y), kendall(x, y)]).all()
        return
    assert pearson(x, y) == pytest.approx(stats.pearsonr(x, y)[0], abs=1e-12)
    assert spearman(x, y) == pytest.approx(stats.spearmanr(x, y)[0], abs=1e-12)
    assert kendall(x, y) == pytest.approx(stats.kendalltau(x, y)[0], abs=1e-12)


def test_many_cells_too():
    rng = np.random.default_rng(1)
    x = rng.integers(0, 3000, 10_000).astype(float)
    y = np.round(x / 40 + rng.normal(0, 30, x.size))
    assert kendall(x, y) == pytest.approx(stats.kendalltau(x, y)[0], abs=1e-12)
    assert spearman(x, y) == pytest.approx(stats.spearmanr(x, y)[0], abs=1e-12)
    tiny = 1e-200 * x
    assert pearson(tiny, y) == pytest.approx(pearson(x, y))


def test_weights_are_the_same_as_repeated_cells():
    """The bootstrap never builds a resample; what it computes is that of the resample."""
    rng = np.random.default_rng(2)
    x, y = rng.integers(0, 9, 40).astype(float), rng.normal(size=40)
    groups = rng.integers(0, 4, 40).astype(float)
    (bag,) = resampling.draw_bags(y, groups, 30, seed=3)
    signs = resampling.Signs.of(x)
    found = (
        resampling.pearson_of_draws(x, y, bag.weights),
        bag.spearman(signs),
        bag.kendall(signs),
        bag.partial(signs),
    )
    assert bag.weights.sum(axis=1).tolist() == [40] * 30
    for draw, weights in enumerate(bag.weights):
        rows = np.repeat(np.arange(40), weights.astype(int))
        a, b = x[rows], y[rows]
        expected = (
            stats.pearsonr(a, b)[0],
            stats.spearmanr(a, b)[0],
            stats.kendalltau(a, b)[0],
            partial_spearman(a, b, groups[rows]),
        )
        assert [values[draw] for values in found] == pytest.approx(expected, abs=1e-6)


def test_the_partial_correlation_sees_only_what_happens_inside_levels():
    rng = np.random.default_rng(3)
    groups = np.repeat(np.arange(8.0), 12)
    x, y = rng.normal(size=96), rng.normal(size=96)
    one = groups == 3
    assert partial_spearman(x[one], y[one], groups[one]) == pytest.approx(
        stats.spearmanr(x[one], y[one])[0]
    )
    inside = partial_spearman(x, y, groups)
    # Levels of one size: the mean of what each says.
    each = [stats.spearmanr(x[groups == g], y[groups == g])[0] for g in range(8)]
    assert inside == pytest.approx(np.mean(each))
    # Whatever the load does to both, by whatever curve, changes nothing.
    assert partial_spearman(x + 9 * groups, y + groups**3, groups) == pytest.approx(inside)
    assert spearman(x + 9 * groups, y + groups**3) > 0.9
    # Alone in its level a cell says nothing; without a level too.
    more = (np.r_[x, 5.0, 5.0], np.r_[y, 5.0, 9.0], np.r_[groups, 99.0, np.nan])
    assert partial_spearman(*more) == pytest.approx(inside)
    assert np.isnan(partial_spearman(x, y, np.arange(96.0)))


@pytest.mark.parametrize("cells", [60, 900])
def test_intervals_cover_what_they_promise(cells):
    """Of normal pairs the true coefficients are known; 900 cells use several bags."""
    r, tables_, hits = 0.6, 60, np.zeros(3)
    true = (r, 6 / np.pi * np.arcsin(r / 2), 2 / np.pi * np.arcsin(r))
    for number in range(tables_):
        rng = np.random.default_rng(number)
        y = rng.normal(size=cells)
        x = r * y + np.sqrt(1 - r**2) * rng.normal(size=cells)
        (found,) = correlate(by_hand(test_accuracy=y, metric=x), draws=200)
        for place, e in enumerate((found.pearson, found.spearman, found.kendall)):
            hits[place] += e.low <= true[place] <= e.high
    assert (hits / tables_ >= 0.85).all()
    assert (hits / tables_ < 1).any()


def test_missing_numbers_are_left_out_and_counted():
    nan = np.nan
    table = by_hand(
        test_accuracy=[1, 2, 3, 4, 5, nan],
        cka=[1, 3, 2, nan, 4, 9],
        train_loss=[nan, nan, nan, 1, 2, 3],
        train_accuracy=[99, 99, 50, 99, nan, 99],
    )
    cka, loss, _ = correlate(table)
    assert (cka.n, cka.missing) == (4, 2)
    assert cka.spearman.value == pytest.approx(0.8)
    assert np.isnan(cka.partial.value)
    assert (loss.n, loss.missing) == (2, 4)
    assert np.isnan(loss.spearman.value)
    assert [c.n for c in correlate(table, "converged")] == [2, 1, 3]
    assert correlate(by_hand(cka=[1.0, 2.0])) == []
    assert correlate(by_hand(test_accuracy=[])) == []
    assert not statistics.converged(by_hand(cka=[1.0])).any()


def test_what_looks_at_the_test_set_predicts_nothing():
    names = ("test_loss", "ensemble_accuracy", "mode_connectivity_test_error")
    assert not any(map(statistics.is_predictor, names))
    assert all(map(statistics.is_predictor, ("cka", "train_loss", "mode_connectivity")))


def test_hessian_columns_enter_as_logarithms_if_they_can():
    trace = np.array([1.0, 10.0, 100.0, 1000.0])
    table = by_hand(test_accuracy=[1, 2, 3, 4], hessian_trace=trace, train_loss=trace)
    first, second = correlate(table)
    assert (first.transform, second.transform) == ("log", "")
    assert first.pearson.value == pytest.approx(1)
    assert second.pearson.value < 0.9
    table = by_hand(test_accuracy=[1, 2, 3, 4], hessian_trace=trace - 5)
    assert correlate(table)[0].transform == ""


@needs_published
@pytest.mark.parametrize("name", ["lr_decay", "constant_lr"])
def test_cka_predicts_best_among_converged_cells(name):
    found = [c for c in correlate(published(name), "converged") if c.predictor]
    best = max(found, key=lambda c: abs(c.spearman.value))
    assert best.column == "cka"
    assert (best.n, round(best.spearman.value, 3)) == {
        "lr_decay": (53, 0.948), "constant_lr": (40, 0.956)
    }[name]  # fmt: skip
    assert best.spearman.low > 0.8


@needs_published
def test_nothing_depends_on_the_order_of_rows():
    table = published("constant_lr")
    for among in ("all", "converged"):
        assert correlate(shuffled(table)[0], among) == correlate(table, among)
    other = replace(table, axes=table.axes[::-1])
    assert correlate(other) == correlate(table)


def test_what_reads_held_out_examples_is_no_predictor():
    held_out = (
        "agreement", "js_divergence", "logit_cosine", "prediction_churn", "calibration_error",
        "calibration_error_adaptive", "bleu", "bleu_length_ratio", "ensemble_accuracy", "val_loss",
        "valid_accuracy", "curve_te_err_min", "brier_score", "expected_calibration_error",
        "negative_log_likelihood", "linear_connectivity_test_loss", "mode_connectivity_test_error",
    )  # fmt: skip
    assert [name for name in held_out if statistics.is_predictor(name)] == []
    kept = ("cka", "cka_logits", "train_accuracy", "l2_distance", "curve_tr_err_min", "value_norm")
    assert [name for name in kept if not statistics.is_predictor(name)] == []
