"""The claims of the paper: on tables where they hold, where they do not, and where who knows."""

import runpy
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from llt_core.analysis import Axis, CellTable, Column, classify
from llt_core.analysis.claims import accuracy_order, best_predictor, check_claims, matched_curvature
from llt_core.analysis.intervals import mean_interval, welch_interval
from llt_core.analysis.matching import closest_pairs
from llt_core.analysis.statistics import correlate
from llt_core.analysis.student import t_quantile
from llt_core.analysis.transitions import transitions

tables = runpy.run_path(str(Path(__file__).parent / "phase_tables.py"))
by_hand, published, shuffled = tables["by_hand"], tables["published"], tables["shuffled"]
needs_published = pytest.mark.skipif(not tables["there"](), reason="published tables not here")

# One cell of each phase: I, II, III, IV-A, IV-B.
LOSS, TRACE = [0.9, 0.9, 0.01, 0.01, 0.01], [900.0, 900.0, 20.0, 20.0, 20.0]
MC, CKA = [-5.0, 5.0, -5.0, 0.0, 0.0], [0.1, 0.1, 0.1, 0.1, 0.9]


def phases_with(accuracies):
    """Make a table with such accuracies in each of the five phases."""
    rows = [(phase, a) for phase, held in enumerate(accuracies) for a in held]
    column = {
        name: [values[phase] for phase, _ in rows]
        for name, values in (
            ("train_loss", LOSS), ("hessian_trace", TRACE), ("mode_connectivity", MC), ("cka", CKA),
        )
    }  # fmt: skip
    return by_hand(test_accuracy=[a for _, a in rows], **column)


def checked(table):
    return {claim.name: claim for claim in check_claims(
        table, classify(table), correlate(table, "converged")
    )}  # fmt: skip


def near(mean, spread=1.0):
    """Return the accuracies of five cells about a mean."""
    return mean + spread * np.array([-1.5, -0.5, 0, 0.5, 1.5])


@pytest.mark.parametrize(
    ("means", "verdict", "number", "why"),
    [
        ((10, 20, 25, 30, 40), "holds", "gap III to IV-A: +5.00 [", "of 9 gaps; all lie above"),
        ((10, 25, 20, 30, 40), "holds", "gap II to IV-A: +5.00 [", "of 9 gaps; all lie above"),
        ((10, 35, 20, 30, 40), "does not hold", "gap II to IV-A: -5.00 [", "II is above IV-A;"),
        ((30, 35, 20, 40, 50), "does not hold", "gap I to III: -10.00 [", "I is above III;"),
        ((10, 20, 20, 40, 30), "does not hold", "gap IV-A to IV-B: -10.00 [", "for 9 gaps"),
        ((10, 20, 20, 40, None), "cannot be said", "gap I to II: +10.00 [", "no cells: IV-B"),
        ((50, None, None, 40, None), "does not hold", "gap I to IV-A: -10.00", "I is above IV-A"),
        ((10, 60, None, None, 50), "does not hold", "gap II to IV-B: -10.00", "II is above IV-B"),
        ((10, 20, 20, 30, 30.2), "cannot be said", "gap IV-A to IV-B: +0.20 [-", "chance, either"),
        ((10, 20, 20, 30, 29.8), "cannot be said", "gap IV-A to IV-B: -0.20 [-", "chance, either"),
        ((10, None, None, None, None), "cannot be said", "–", "fewer than two"),
        ((None,) * 5, "cannot be said", "–", "fewer than two"),
    ],
)
def test_the_order_of_means(means, verdict, number, why):
    table = phases_with([[] if mean is None else near(mean) for mean in means])
    claim = accuracy_order(table, classify(table))
    assert claim.verdict == verdict, claim
    assert claim.number.startswith(number), claim
    assert why in claim.explanation, claim


def test_the_interval_of_each_gap_is_welchs():
    held = [near(10, 3), near(20), near(24, 2)[:3], near(30), near(33, 2)]
    table = phases_with(held)
    claim = accuracy_order(table, classify(table))
    gaps = claim.details["gaps"]
    test = stats.ttest_ind(held[3], held[2], equal_var=False).confidence_interval()
    assert (gaps["III < IV-A"]["low"], gaps["III < IV-A"]["high"]) == pytest.approx(tuple(test))
    least = min(gaps, key=lambda pair: gaps[pair]["low"])
    assert claim.details["deciding"] == least
    assert f"[{gaps[least]['low']:.2f}, {gaps[least]['high']:.2f}] percent" in claim.number


def test_a_phase_of_one_cell_has_no_interval():
    table = phases_with([near(10), [20.0], near(24), near(30), near(40)])
    claim = accuracy_order(table, classify(table))
    assert claim.verdict == "cannot be said"
    assert claim.explanation == "one cell alone, so no interval: II"
    assert claim.number == "gap I to II: +10.00 percent"


def test_chance_is_seldom_taken_for_an_order():
    """IV-A and IV-B have the same mean: each sure verdict comes in 2.5 % of cases at most."""
    rng = np.random.default_rng(3)
    draws, verdicts = 150, []
    for _ in range(draws):
        table = phases_with([rng.normal(mean, 1, 6) for mean in (10, 20, 20, 40, 40)])
        verdicts.append(accuracy_order(table, classify(table)).verdict)
    most = stats.binom.ppf(0.999, draws, 0.025)
    assert verdicts.count("holds") <= most
    assert verdicts.count("does not hold") <= most


def test_the_best_predictor():
    accuracy = np.arange(10.0)
    noisy = np.array([1, 0, 3, 2, 5, 4, 7, 6, 9, 8.0])
    held = {"test_accuracy": accuracy, "train_accuracy": np.full(10, 100.0)}

    def claim(**columns):
        table = by_hand(**held, **columns)
        return best_predictor(table, correlate(table, "converged"))

    won = claim(cka=accuracy, l2_distance=-noisy, test_loss=-accuracy)
    assert won.verdict == "holds"
    assert won.details["other"] == "l2_distance"  # what looks at the test set does not compete
    assert won.details["n"] == 10
    lost = claim(cka=noisy, l2_distance=-accuracy)
    assert lost.verdict == "does not hold"
    assert lost.details["difference"]["value"] < 0
    # The column cka is CKA; another stands in only where it is missing, and is named.
    assert claim(cka_logits=accuracy, cka=-noisy, l2_distance=accuracy).verdict == "does not hold"
    other = claim(cka_logits=accuracy, l2_distance=noisy)
    assert other.verdict == "holds"
    assert "CKA (cka_logits)" in other.statement
    assert claim(l2_distance=noisy).explanation == "no cka in the table"
    assert claim(cka=accuracy).verdict == "cannot be said"
    held["train_accuracy"] = np.r_[np.full(3, 100.0), np.full(7, 90.0)]
    assert claim(cka=accuracy, l2_distance=noisy).explanation.startswith("3 cells have a train")


def test_matched_curvature():
    def table(offset, n=6):
        rng = np.random.default_rng(1)
        logs = np.linspace(1, 5, n)
        return by_hand(
            train_loss=[0.01] * (2 * n),
            hessian_trace=np.exp(np.r_[logs, logs + 0.1]),
            mode_connectivity=[-5.0] * n + [0.0] * n,
            cka=[0.1] * (2 * n),
            test_accuracy=np.r_[logs * 3, logs * 3 + offset + rng.normal(0, 0.5, n)],
        )

    for offset, verdict in ((2, "holds"), (-2, "does not hold"), (0, "cannot be said")):
        held = table(offset)
        claim = matched_curvature(held, classify(held))
        assert (claim.verdict, claim.details["pairs"]) == (verdict, 6)
        accuracy = held.columns["test_accuracy"].values
        test = stats.ttest_rel(accuracy[6:], accuracy[:6]).confidence_interval()
        found = claim.details["difference"]
        assert (found["low"], found["high"]) == pytest.approx((test.low, test.high))
        assert claim.details["mean_log_trace_difference"] == pytest.approx(0.1)
    few = table(2, n=2)
    claim = matched_curvature(few, classify(few))
    assert claim.verdict == "cannot be said"
    assert claim.explanation.startswith("2 of 2 cells in III have a partner among 2")
    assert matched_curvature(held, classify(held), caliper=0.05).verdict == "cannot be said"


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 30), max_size=12), st.lists(st.integers(0, 30), max_size=12))
def test_pairs_are_the_closest_first(first, second):
    """Against the definition: take the closest two of all that are left, again and again."""
    a, b = (np.array(values, dtype=float) for values in (first, second))
    pairs = closest_pairs(a, b, (a, b), caliper=4)
    found = np.abs(a[pairs[:, 0]] - b[pairs[:, 1]])
    assert (found <= 4).all()
    assert (np.diff(found) >= 0).all()
    assert len(set(pairs[:, 0])) == len(set(pairs[:, 1])) == len(pairs)
    left = [sorted(set(range(len(v))) - set(pairs[:, side])) for side, v in enumerate((a, b))]
    for distance, (i, j) in reversed(list(zip(found, pairs, strict=True))):
        # Nothing that was left when these two met was closer.
        apart = np.abs(a[[*left[0], i]][:, None] - b[[*left[1], j]][None, :])
        assert apart.min() == distance
        left = [[*left[0], i], [*left[1], j]]
    rest = np.abs(a[left[0][: len(a) - len(pairs)]][:, None] - b[left[1][: len(b) - len(pairs)]])
    assert not rest.size or rest.min() > 4


def test_where_loss_and_hessian_change():
    width = [1, 2, 4, 8, 16, 32]
    table = by_hand(
        {"architecture.width": width * 2, "train.batch_size": [16] * 6 + [32] * 6},
        {"architecture.width": "load"},
        train_loss=[1, 0.5, 0.1, 0.01, 0.005, 0.001] * 2,
        hessian_trace=[1e3, 1e3, 900, 20, 18, 15, 2e3, 100, 90, 20, 18, 15],
    )
    first, second = transitions(table, table.axis("width"), 0.05)
    # From 0.1 to 0.01 the logarithm passes that of 0.05 after 0.301 of the way.
    assert first.loss_place == pytest.approx(2 + np.log10(2))
    assert (first.hessian_place, first.hessian_at) == (2.5, 6)
    assert first.distance == pytest.approx(0.5 - np.log10(2))
    assert second.hessian_place == 0.5
    chance = np.mean(np.abs(np.arange(5) + 0.5 - first.loss_place))
    assert first.by_chance == pytest.approx(chance)
    claim = checked(table)["hessian_jump:architecture.width"]
    assert claim.verdict == "does not hold"
    assert claim.details["within_one"] == 1
    assert transitions(table, table.axis("batch_size"), 0.05) == []
    table = table.select(np.arange(12) < 6)
    assert checked(table)["hessian_jump:architecture.width"].verdict == "cannot be said"


def test_intervals_are_students():
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=7), rng.normal(3, 4, size=12)
    assert mean_interval(a) == pytest.approx(tuple(stats.ttest_1samp(a, 0).confidence_interval()))
    expected = stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.9)
    assert welch_interval(a, b, 0.9) == pytest.approx(tuple(expected))
    assert np.isnan([mean_interval(a[:1]), welch_interval(a, b[:1])]).all()
    assert welch_interval(np.ones(2), np.zeros(3)) == (1, 1)


@pytest.mark.parametrize("freedom", [1, 1.3, 2, 4, 17.5, 99, 1e4, 1e6])
def test_quantiles_are_scipys(freedom):
    for probability in (0.5, 0.6, 0.9, 0.975, 0.9995):
        expected = stats.t.ppf(probability, freedom)
        assert t_quantile(probability, freedom) == pytest.approx(expected, rel=1e-8, abs=1e-12)


@needs_published
@pytest.mark.parametrize("name", ["lr_decay", "constant_lr"])
def test_the_published_tables(name):
    claims = checked(published(name))
    for held in ("accuracy_order", "best_predictor", "matched_curvature"):
        assert claims[held].verdict == "holds", claims[held]
    assert claims["hessian_jump:architecture.width"].verdict == "holds"
    # With decay, the batch axis has six lines that cross, and the jump is one step off on most.
    batch = claims["hessian_jump:train.batch_size"]
    assert batch.verdict == ("does not hold" if name == "lr_decay" else "holds")
    assert batch.details["median"] < 1.2 < batch.details["by_chance"]
    descent = {
        claims[f"double_descent:{a}"].verdict for a in ("architecture.width", "train.batch_size")
    }
    assert descent == {"does not hold" if name == "lr_decay" else "holds"}


@needs_published
def test_the_order_of_rows_changes_nothing():
    table = published("lr_decay")
    assert checked(table) == checked(shuffled(table)[0])


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_small_tables_are_answered(rows):
    table = phases_with([[10.0]] * 5).select(np.arange(5) < rows)
    for claim in checked(table).values():
        assert claim.verdict == "cannot be said" or rows == 3
        assert claim.explanation
    assert set(checked(CellTable("nothing", (), {}))) == {
        "accuracy_order", "best_predictor", "matched_curvature"
    }  # fmt: skip


def test_columns_are_compared_with_cka_on_the_same_cells():
    accuracy = np.arange(20.0)
    cka = accuracy.copy()
    cka[[0, 19]] = cka[[19, 0]]  # two cells make CKA worse
    few, most = np.full(20, np.nan), accuracy.copy()
    few[1:7] = accuracy[1:7]  # perfect, on too few cells
    most[[0, 19]] = np.nan  # perfect, on the cells where CKA is perfect too
    most[[9, 10]] = most[[10, 9]]
    held = {"test_accuracy": accuracy, "train_accuracy": np.full(20, 100.0), "cka": cka}
    table = by_hand(**held, few=few, most=most)
    claim = best_predictor(table, correlate(table, "converged"))
    assert claim.verdict == "cannot be said"
    assert "which could be chance" in claim.explanation
    assert claim.details["other"] == "most"
    assert (claim.details["n"], claim.details["common_n"]) == (20, 18)
    assert claim.details["common_spearman"] == pytest.approx(1.0)
    assert "n = 20" in claim.number
    assert "18 cells with both" in claim.number


def test_without_train_accuracies_the_training_loss_says_what_is_converged():
    accuracy = np.arange(14.0)
    loss = np.where(accuracy >= 4, 0.01, 1.0)
    table = by_hand(test_accuracy=accuracy, train_loss=loss, cka=accuracy, l2_distance=-loss)
    assert all(c.n == 0 for c in correlate(table, "converged"))
    found = correlate(table, "converged", loss_below=0.05)
    assert {c.n for c in found} == {10}
    noisy = by_hand(
        test_accuracy=accuracy, train_loss=loss, cka=accuracy, l2_distance=-(accuracy % 3)
    )
    claim = best_predictor(noisy, correlate(noisy, "converged", loss_below=0.05), loss_below=0.05)
    assert claim.verdict == "holds"
    assert "training loss below 0.05" in claim.explanation


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("threshold", [0.0, -1.0])
def test_no_loss_crosses_zero(threshold):
    columns = {"train_loss": np.geomspace(1, 0.01, 6), "hessian_trace": np.geomspace(1, 9, 6)}
    held = {name: Column(name, values) for name, values in columns.items()}
    table = CellTable("t", (Axis("width", tuple(range(6))),), held)
    assert len(transitions(table, table.axes[0], 0.05)) == 1
    assert transitions(table, table.axes[0], threshold) == []
