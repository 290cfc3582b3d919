"""Fitted thresholds: found where they were put, and no better than they are on unseen cells."""

import runpy
from pathlib import Path

import numpy as np
import pytest

from llt_core.analysis import PhaseRule, classify
from llt_core.analysis.fitting import FACTS, fit_rule
from llt_core.errors import RequestError

tables = runpy.run_path(str(Path(__file__).parent / "phase_tables.py"))
by_hand, published, shuffled = tables["by_hand"], tables["published"], tables["shuffled"]
needs_published = pytest.mark.skipif(not tables["there"](), reason="published tables not here")

TRUE = PhaseRule(
    train_loss=0.2,
    log_trace=4.0,
    poorly_connected=-3.0,
    unconverged=2.0,
    sharp_connectivity=-1.0,
    cka=0.5,
)
MEANS = np.array([10.0, 30.0, 50.0, 70.0, 90.0])


def sorted_by(rule, cells=600, noise=1.0, seed=0):
    """Make cells all over the place, with accuracies that follow their phases."""
    rng = np.random.default_rng(seed)
    values = {
        "train_loss": np.exp(rng.uniform(-6, 1, cells)),
        "hessian_trace": np.exp(rng.uniform(0, 6, cells)),
        "mode_connectivity": rng.uniform(-8, 6, cells),
        "cka": rng.uniform(0, 1, cells),
    }
    codes = classify(by_hand(**values), rule).codes
    return by_hand(**values, test_accuracy=MEANS[codes] + noise * rng.normal(size=cells))


def test_thresholds_are_found_where_they_were_put():
    table = sorted_by(TRUE)
    fit = fit_rule(table)
    assert fit.score > 0.95
    assert fit.held_out_score > 0.94
    assert fit.default_score < fit.score - 0.05
    assert fit.agreement > 0.97
    assert (fit.target, fit.n, fit.unused) == ("test_accuracy", 600, ())
    same = (classify(table, fit.rule).codes == classify(table, TRUE).codes).mean()
    assert same > 0.96


def test_given_phases_are_met():
    table = sorted_by(TRUE)
    given = classify(table, TRUE).phases
    fit = fit_rule(table, given)
    assert fit.target == "phases"
    assert fit.score > 0.96
    assert fit.held_out_score > 0.93
    assert fit.default_score == (classify(table).codes == classify(table, TRUE).codes).mean()
    partly = [phase if row % 2 else None for row, phase in enumerate(given)]
    assert fit_rule(table, partly).n == 300
    with pytest.raises(RequestError, match="V among the given phases"):
        fit_rule(table, ["V", *given[1:]])


def test_scores_are_what_they_say():
    table = sorted_by(TRUE, 100)
    accuracy = table.columns["test_accuracy"].values
    fit = fit_rule(table)
    for rule, score in ((fit.rule, fit.score), (PhaseRule(), fit.default_score)):
        codes = classify(table, rule).codes
        within = sum(((accuracy[codes == k] - accuracy[codes == k].mean()) ** 2).sum()
                     for k in set(codes.tolist()))  # fmt: skip
        assert score == pytest.approx(1 - within / ((accuracy - accuracy.mean()) ** 2).sum())


def test_noise_is_not_learnt():
    """Accuracies that follow nothing: the fit explains some on its own cells, none elsewhere."""
    table = sorted_by(TRUE, 200)
    noise = np.random.default_rng(1).normal(size=200)
    columns = {name: c.values for name, c in table.columns.items() if name != "test_accuracy"}
    fit = fit_rule(by_hand(**columns, test_accuracy=noise))
    assert fit.score > 0
    assert fit.held_out_score < 0.05
    assert fit.held_out_score < fit.score


def test_what_explains_nothing_is_not_used():
    table = sorted_by(TRUE, 200)
    columns = {name: c.values for name, c in table.columns.items() if name != "test_accuracy"}
    accuracy = np.where(columns["train_loss"] < 0.2, 90.0, 20.0)
    fit = fit_rule(by_hand(**columns, test_accuracy=accuracy))
    assert fit.score == pytest.approx(1)
    assert set(fit.unused) == set(FACTS) - {"train_loss"}
    below = columns["train_loss"][columns["train_loss"] < 0.2].max()
    assert below < fit.rule.train_loss <= columns["train_loss"][columns["train_loss"] >= 0.2].min()


def test_too_few_cells():
    with pytest.raises(RequestError, match="19 cells of by hand have all") as error:
        fit_rule(sorted_by(TRUE, 19))
    assert error.value.next_step == "llt phases without --fit uses the fixed thresholds"
    table = sorted_by(TRUE, 30)
    columns = {name: c.values for name, c in table.columns.items() if name != "cka"}
    with pytest.raises(RequestError, match="0 cells") as error:
        fit_rule(by_hand(**columns))
    assert error.value.where == "no cka in the table"
    with pytest.raises(RequestError, match="no column 'test_accuracy'"):
        fit_rule(by_hand(cka=[1.0]))


@needs_published
@pytest.mark.parametrize("name", ["lr_decay", "constant_lr"])
def test_the_published_tables(name):
    table = published(name)
    fit = fit_rule(table)
    assert fit.score > fit.default_score
    assert fit.held_out_score > fit.held_out_default_score
    assert 0.7 < fit.agreement <= 1
    assert fit_rule(shuffled(table)[0]) == fit
