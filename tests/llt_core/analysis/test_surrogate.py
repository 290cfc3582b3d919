"""Phase probabilities: against draws, and against the truth of maps nobody tuned anything to."""

import numpy as np
import pytest

from llt_core.analysis import Axis, PhaseRule
from llt_core.analysis.design import spread
from llt_core.analysis.phases import UNDETERMINED
from llt_core.analysis.process import Posterior, fit
from llt_core.analysis.simulate import Grid
from llt_core.analysis.surrogate import Bend, Boxes, Surrogate, unit_cube
from llt_core.testing.phase_maps import FAMILIES, phase_map


def test_places_are_by_logarithm_by_number_or_by_order():
    axes = (
        Axis("a.width", (2, 8, 128)),
        Axis("a.noise", (0.0, 0.2, 0.8)),
        Axis("a.name", ("b", "a", "c")),
        Axis("a.same", (1, 1, 1)),
    )
    assert unit_cube(axes) == pytest.approx(np.array([[0, 0, 0.5], [1 / 3, 0.25, 0], [1, 1, 1]]))
    assert unit_cube(axes[3:]) == pytest.approx(np.full((3, 1), 0.5))


@pytest.mark.parametrize("logarithm", [True, False])
def test_a_bend_keeps_order_and_bears_infinities(logarithm):
    values = np.array([0.0, 1e-4, 0.04, 0.05, 0.3, 2.0, np.inf])
    bend = Bend.of(values, np.array([0.05]), logarithm)
    bent = bend(values)
    assert np.isfinite(bent).all()
    assert (np.diff(bent) >= 0).all()
    assert np.diff(bent)[1:5].min() > 0
    assert bend(np.array([0.05])) == pytest.approx(bent[3])


def test_the_scale_of_several_thresholds_is_their_own():
    bend = Bend.of(np.array([-20.0, 3.0]), np.array([-1.0, 0.0, 1.0]), logarithm=False)
    assert (bend.middle, bend.scale) == (0.0, 1.0)


@pytest.mark.parametrize("rule", [PhaseRule(), PhaseRule(sharp_connectivity=-1.0, cka=0.5)])
def test_probabilities_are_the_shares_of_draws_under_the_rule(rule):
    boxes = Boxes.of(rule)
    means = [np.array([m]) for m in (0.06, 5.8, -0.5, rule.cka + 0.05)]
    spreads = [np.array([s]) for s in (0.03**2, 0.5**2, 1.5**2, 0.1**2)]
    exact = boxes.probabilities(means, spreads, boxes.cuts)
    generator = np.random.default_rng(0)
    draws = [
        m + np.sqrt(s) * generator.standard_normal(200_000)
        for m, s in zip(means, spreads, strict=True)
    ]
    codes = rule.codes(*draws)
    assert exact.sum() == pytest.approx(1)
    assert exact[0] == pytest.approx([np.mean(codes == k) for k in range(5)], abs=0.005)


def given(table, share, seed=0):
    grid = Grid.of(table)
    measured = np.zeros(len(grid), dtype=bool)
    count = int(share * len(grid))
    measured[np.random.default_rng(seed).choice(len(grid), count, replace=False)] = True
    return grid, measured, Surrogate.given(grid.places, grid.facts, measured, grid.rule)


def test_phases_are_as_likely_as_they_say():
    likely, right = [], []
    for family in FAMILIES:
        for seed in range(100, 106):
            grid, measured, surrogate = given(phase_map(family, (9, 13), seed=seed), 0.25, seed)
            likely.append(surrogate.probabilities()[~measured].max(axis=1))
            guess = surrogate.probabilities()[~measured].argmax(axis=1)
            right.append(guess == grid.codes[~measured])
    likely, right = np.concatenate(likely), np.concatenate(right)
    assert likely.mean() == pytest.approx(right.mean(), abs=0.04)
    for low, high in ((0.3, 0.6), (0.6, 0.8), (0.8, 0.95), (0.95, 1.01)):
        inside = (likely >= low) & (likely < high)
        assert right[inside].mean() == pytest.approx(likely[inside].mean(), abs=0.12)


def test_only_measured_cells_are_looked_at():
    grid, measured, surrogate = given(phase_map("plain", seed=101), 0.2)
    hidden = {name: np.where(measured, values, np.nan) for name, values in grid.facts.items()}
    again = Surrogate.given(grid.places, hidden, measured, grid.rule)
    assert (again.probabilities() == surrogate.probabilities()).all()


def test_transposing_the_axes_changes_nothing():
    grid, measured, surrogate = given(phase_map("plain", (7, 13), seed=102), 0.3)
    turned = Surrogate.given(grid.places[:, ::-1].copy(), grid.facts, measured, grid.rule)
    assert turned.probabilities() == pytest.approx(surrogate.probabilities(), abs=0.02)


def test_a_quantity_nobody_measured_leaves_its_side_open():
    grid, measured, _ = given(phase_map("plain", seed=103), 0.3)
    facts = {**grid.facts, "cka": np.full(len(grid), np.nan)}
    surrogate = Surrogate.given(grid.places, facts, measured, grid.rule)
    likely = surrogate.probabilities()
    assert np.isfinite(likely).all()
    assert likely[:, 3] == pytest.approx(likely[:, 4])


def test_whether_a_measurement_tells_a_phase_is_learnt():
    grid = Grid.of(phase_map("plain", (9, 11), seed=104, diverged=1 / 3), whole=True)
    has = grid.codes != UNDETERMINED
    measured = np.zeros(len(grid), dtype=bool)
    measured[spread(grid.places, 30, np.random.default_rng(0))] = True
    answers = Surrogate.given(grid.places, grid.facts, measured, grid.rule).answers
    assert ((answers > 0.5) == has)[~measured].mean() > 0.9
    assert answers.mean() == pytest.approx(has.mean(), abs=0.07)
    without = Surrogate.given(grid.places, grid.facts, measured & has, grid.rule)
    assert (without.answers == 1).all()


def test_where_nothing_was_told_nothing_is_expected():
    grid = Grid.of(phase_map("plain", (5, 5), seed=105, diverged=0.5), whole=True)
    measured = grid.codes == UNDETERMINED
    surrogate = Surrogate.given(grid.places, grid.facts, measured, grid.rule)
    assert (surrogate.answers[measured] < 0.1).all()
    assert np.isfinite(surrogate.probabilities()).all()


def test_one_measured_cell_and_three_cells_are_enough():
    table = phase_map("plain", (3, 1), seed=3)
    grid = Grid.of(table)
    measured = np.zeros(3, dtype=bool)
    measured[spread(grid.places, 1, np.random.default_rng(0))] = True
    surrogate = Surrogate.given(grid.places, grid.facts, measured, grid.rule)
    assert surrogate.probabilities().sum(axis=1) == pytest.approx(np.ones(3))


def steps(jump, seed=0):
    """Return how far off, with the loss known everywhere and the trace at few cells, the trace is.

    The first number is that of the surrogate, the second that of a process over the axes alone.
    """
    places = np.stack(np.meshgrid(np.linspace(0, 1, 9), np.linspace(0, 1, 9)), -1).reshape(-1, 2)
    low = places @ np.array([1.0, 0.6]) > 0.8  # a step oblique to the axes
    noise = 0.05 * np.random.default_rng(seed).standard_normal((4, 81))
    truth = np.where(low, 4.0, 8.0) if jump else 6 + np.sin(3 * places[:, 0])
    few = spread(places, 15, np.random.default_rng(seed))
    facts = {
        "train_loss": np.exp(np.where(low, -6.0, -0.5) + noise[0]),
        "log_trace": np.where(np.isin(np.arange(81), few), truth + noise[1], np.nan),
        "connectivity": noise[2],
        "cka": 0.7 + noise[3],
    }
    surrogate = Surrogate.given(places, facts, np.ones(81, dtype=bool))
    bend = surrogate.bends[1]
    bent = bend(facts["log_trace"][few])
    alone = Posterior(places[few], bent, fit(places[few], bent)).marginal(places)[0]
    mine = surrogate.posteriors[1].marginal(surrogate.places[1])[0]
    return tuple(float(np.sqrt(np.mean((mean - bend(truth)) ** 2))) for mean in (mine, alone))


def test_a_quantity_that_jumps_where_the_loss_does_follows_it():
    followed, alone = np.mean([steps(True, seed) for seed in range(5)], axis=0)
    assert followed < 0.7 * alone


def test_a_loss_that_tells_nothing_does_no_harm():
    followed, alone = np.mean([steps(False, seed) for seed in range(5)], axis=0)
    assert followed < 1.2 * alone
