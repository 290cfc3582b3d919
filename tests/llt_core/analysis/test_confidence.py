"""Probabilities of phases: against all draws there are, and against the normal distribution."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from llt_core.analysis import PHASES, Axis, CellTable, Column, PhaseRule, Sample, classify
from llt_core.analysis.confidence import phase_probabilities

nan = float("nan")
PAIRS = list(itertools.combinations(range(3), 2))
LOSS, TRACE = [0.02, 0.03, 0.09], [200.0, 250.0, 700.0]
MC, CKA = [-0.2, -2.5, -0.4], [0.6, 0.7, 0.72]


def column(name, singles=None, pairs=None):
    """Make a column of one cell of three models."""
    samples = [Sample((i,), v) for i, v in enumerate(singles or [])]
    samples += [Sample(pair, v) for pair, v in zip(PAIRS, pairs or [], strict=False)]
    values = [s.value for s in samples if math.isfinite(s.value)]
    return Column(name, np.array([np.mean(values)]), samples=(tuple(samples),))


def cell(mc=MC):
    columns = [
        column("train_loss", LOSS),
        column("hessian_trace", TRACE),
        column("mode_connectivity", pairs=mc),
        column("cka", pairs=CKA),
    ]
    return CellTable("t", (Axis("w", (1,)),), {c.name: c for c in columns})


def by_definition(mc=MC):
    """Go through all 27 draws of three models out of three."""
    found = np.zeros(6)
    for drawn in itertools.product(range(3), repeat=3):
        both = [
            PAIRS.index((min(a, b), max(a, b)))
            for a, b in itertools.combinations(drawn, 2)
            if a != b
        ]
        conn = [mc[pair] for pair in both if math.isfinite(mc[pair])]
        if not conn:
            continue
        means = (
            np.mean([LOSS[m] for m in drawn]),
            np.log(np.mean([TRACE[m] for m in drawn])),
            np.mean(conn),
            np.mean([CKA[pair] for pair in both]),
        )
        found[PhaseRule().codes(*(np.array(v) for v in means)).item()] += 1
    return found / found.sum()


@pytest.mark.parametrize("mc", [MC, [nan, -2.5, -0.4]])
def test_all_draws_of_three_models(mc):
    expected = by_definition(mc)
    assert (expected > 0.02).sum() >= 2  # a cell that could be several things
    found = phase_probabilities(cell(mc), draws=20_000)
    assert found.shape == (1, 6)
    assert found[0] == pytest.approx(expected, abs=0.015)
    assert found.sum() == pytest.approx(1)


def normal(**errors):
    values = {"train_loss": 0.01, "hessian_trace": 300.0, "mode_connectivity": 0.0, "cka": 0.66}
    columns = {
        name: Column(name, np.array([v]), standard_errors=np.array([errors.get(name, 0.0)]))
        for name, v in values.items()
    }
    return CellTable("t", (), columns)


def test_standard_errors_stand_in():
    (found,) = phase_probabilities(normal(cka=0.04), draws=40_000)
    above = stats.norm.sf(0.68, 0.66, 0.04)
    assert found[PHASES.index("IV-B")] == pytest.approx(above, abs=0.01)
    assert found[PHASES.index("IV-A")] == pytest.approx(1 - above, abs=0.01)
    # A trace is as likely to be twice as large as half as large.
    (found,) = phase_probabilities(normal(hessian_trace=150.0), draws=40_000)
    assert found[PHASES.index("II")] + found[PHASES.index("I")] == pytest.approx(
        stats.norm.sf(6, np.log(300), 0.5), abs=0.01
    )
    (found,) = phase_probabilities(normal())
    assert found.tolist() == [0, 0, 0, 1, 0, 0]


def test_what_nobody_knows_is_not_made_up():
    table = normal(cka=nan)
    assert np.isnan(phase_probabilities(table)).all()
    columns = {name: c for name, c in table.columns.items() if name != "cka"}
    # No CKA at all: certainly undetermined.
    assert phase_probabilities(CellTable("t", (), columns))[0].tolist() == [0, 0, 0, 0, 0, 1]
    assert phase_probabilities(CellTable("t", (), {})).shape == (0, 6)


def test_the_most_probable_phase_is_that_of_the_means_where_all_is_clear():
    held = cell()
    many = CellTable(
        "t",
        (Axis("w", tuple(range(40))),),
        {
            name: Column(
                name,
                np.repeat(c.values * 5 if name == "train_loss" else c.values, 40),
                samples=tuple(
                    tuple(
                        Sample(s.models, s.value * (5 if name == "train_loss" else 1))
                        for s in c.samples[0]
                    )
                    for _ in range(40)
                ),
            )
            for name, c in held.columns.items()
        },
    )
    found = phase_probabilities(many, seed=1)
    assert (found.argmax(axis=1) == classify(many).codes).all()
    assert (found[:, 0] == 1).all()
    again = phase_probabilities(many, seed=1)
    assert np.array_equal(found, again)


def test_cells_are_independent_draws():
    table = cell()
    twice = CellTable(
        "t",
        (Axis("w", (1, 2)),),
        {
            n: Column(n, np.repeat(c.values, 2), samples=c.samples * 2)
            for n, c in table.columns.items()
        },
    )
    first, second = phase_probabilities(twice, draws=2000)
    assert first == pytest.approx(second, abs=0.05)
    from llt_core.analysis.confidence import ModelDraws

    values, _ = ModelDraws(twice, ["train_loss"], 2000, 0).values(twice.columns["train_loss"])
    assert abs(np.corrcoef(values)[0, 1]) < 0.1
    assert values[0].std() == pytest.approx(np.std(LOSS) / np.sqrt(3), rel=0.05)


def test_two_models_say_nothing_of_pairs():
    def of(models):
        pairs = itertools.combinations(range(models), 2)
        samples = (tuple(Sample(pair, -0.2) for pair in pairs),)
        singles = (tuple(Sample((m,), 0.02) for m in range(models)),)
        columns = (
            Column("train_loss", np.array([0.02]), samples=singles),
            Column("hessian_trace", np.array([0.02]), samples=singles),
            Column("mode_connectivity", np.array([-0.2]), samples=samples),
            Column("cka", np.array([0.7]), samples=samples),
        )
        return CellTable("t", (Axis("w", (1,)),), {c.name: c for c in columns})

    assert np.isnan(phase_probabilities(of(2))).all()
    assert np.isfinite(phase_probabilities(of(3))).all()


def test_means_alone_are_no_samples():
    columns = [
        Column(name, np.array([value]), samples=((Sample((), value),),))
        for name, value in (
            ("train_loss", 0.02), ("hessian_trace", 200.0),
            ("mode_connectivity", -0.2), ("cka", 0.7),
        )
    ]  # fmt: skip
    table = CellTable("t", (Axis("w", (1,)),), {c.name: c for c in columns})
    assert np.isnan(phase_probabilities(table)).all()
