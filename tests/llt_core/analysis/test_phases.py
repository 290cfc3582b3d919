"""The rule of the phases: three-valued, independent of order, readable."""

import runpy
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from llt_core.analysis import PHASES, PhaseRule, classify

tables = runpy.run_path(str(Path(__file__).parent / "phase_tables.py"))
by_hand, published, shuffled = tables["by_hand"], tables["published"], tables["shuffled"]
needs_published = pytest.mark.skipif(not tables["there"](), reason="published tables not here")

USES = ("train_loss", "log_trace", "connectivity", "cka")
TRIED = {
    "train_loss": (0.0, 0.05, 0.3),
    "log_trace": (-np.inf, 5.0, 6.0, 9.0),
    "connectivity": (-9.0, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 3.0, 9.0),
    "cka": (0.0, 0.5, 0.68, 1.0),
}
rules = st.builds(
    PhaseRule,
    train_loss=st.sampled_from((0.01, 0.05, 0.3)),
    log_trace=st.sampled_from((4.0, 6.0)),
    poorly_connected=st.sampled_from((-1.0, 0.0)),
    unconverged=st.sampled_from((0.0, 1.0)),
    sharp_connectivity=st.sampled_from((-1.0, 0.0, 2.0)),
    cka=st.sampled_from((0.4, 0.68)),
)
cells = st.tuples(*(st.one_of(st.just(np.nan), st.sampled_from(TRIED[use])) for use in USES))


@settings(max_examples=400, deadline=None)
@given(rules, cells)
def test_a_cell_has_a_phase_exactly_if_all_completions_agree(rule, cell):
    fillings = [TRIED[use] if np.isnan(v) else (v,) for use, v in zip(USES, cell, strict=True)]
    complete = np.array(np.meshgrid(*fillings)).reshape(4, -1)
    phases = set(rule.codes(*complete).tolist())
    assert -1 not in phases
    code = int(rule.codes(*(np.array([value]) for value in cell))[0])
    assert {code} == phases if code >= 0 else len(phases) > 1


def test_every_phase_and_its_reason():
    table = by_hand(
        train_loss=[0.9, 0.01, 0.01, 0.01, 0.01, 0.01, np.nan, np.nan, 0.9, 0.01, 0.01],
        hessian_trace=[20, 3000, 20, 20, 20, 20, 20, 20, 20, 0, 20],
        mode_connectivity=[-5, 0.5, 3, -3, 0, 0, 3, 0, np.nan, np.nan, 0.0],
        cka=[0.1, 0.1, 0.1, 0.9, 0.5, 0.8, 0.1, 0.9, 0.9, 0.9, np.nan],
    )
    verdicts = classify(table)
    expected = ("I", "II", "II", "III", "IV-A", "IV-B", "II", None, None, None, None)
    assert verdicts.phases == expected
    assert verdicts.reasons == (
        "sharp (train_loss 0.9 ≥ 0.05), poorly connected (mode_connectivity -5 < 0)",
        "sharp (log hessian_trace 8.006 ≥ 6), connected (mode_connectivity 0.5 ≥ 0)",
        "flat, ends not converged (mode_connectivity 3 > 1)",
        "flat, poorly connected (mode_connectivity -3 < -1)",
        "flat, well connected (mode_connectivity 0), cka 0.5 < 0.68",
        "flat, well connected (mode_connectivity 0), cka 0.8 ≥ 0.68",
        "sharp or flat, not poorly connected (mode_connectivity 3, beyond 1)",
        "no train_loss: not in the table",
        "no mode_connectivity: not in the table",
        "no mode_connectivity: not in the table",
        "no cka: not in the table",
    )
    assert verdicts.counts == {"I": 1, "II": 3, "III": 1, "IV-A": 1, "IV-B": 1, "undetermined": 4}


def test_what_the_table_lacks_is_named():
    verdicts = classify(by_hand(train_loss=[0.01, 0.9], hessian_trace=[3.0, 3.0]))
    assert verdicts.reasons == ("no mode_connectivity or linear_connectivity in the table",) * 2
    assert classify(by_hand(train_loss=[0.01])).reasons == ("no hessian_trace in the table",)
    assert classify(by_hand()).reasons == ()


def test_linear_connectivity_stands_in_for_the_other():
    verdicts = classify(by_hand(train_loss=[0.9], hessian_trace=[3.0], linear_connectivity=[-4.0]))
    assert verdicts.phases == ("I",)
    assert verdicts.columns["connectivity"] == "linear_connectivity"


def test_the_relative_threshold_is_a_quantile_of_the_flat_connected_cells():
    table = by_hand(
        train_loss=[0.01, 0.01, 0.01, 0.9, 0.01],
        hessian_trace=[9.0] * 5,
        mode_connectivity=[0.0, 0.0, 0.0, 0.0, -7.0],
        cka=[0.1, 0.2, 0.3, 0.9, 0.95],
    )
    verdicts = classify(table, PhaseRule(cka_quantile=0.5))
    assert verdicts.rule.cka == 0.2
    assert verdicts.rule.cka_quantile is None
    assert verdicts.phases == ("IV-A", "IV-B", "IV-B", "II", "III")


def test_impossible_rules_are_refused():
    with pytest.raises(ValidationError, match="no cell would be well connected"):
        PhaseRule(poorly_connected=2, unconverged=1)
    for bad in (np.inf, np.nan):
        with pytest.raises(ValidationError):
            PhaseRule(train_loss=bad)


@needs_published
@pytest.mark.parametrize(
    ("name", "counts"), [("lr_decay", (28, 13, 14, 16, 20)), ("constant_lr", (44, 87, 5, 17, 16))]
)
def test_the_published_tables(name, counts):
    table = published(name)
    verdicts = classify(table)
    assert tuple(verdicts.counts.values()) == (*counts, 0)
    accuracy = table.columns["test_accuracy"].values
    one, two, three, poor, good = (accuracy[verdicts.codes == k].mean() for k in range(len(PHASES)))
    assert one < min(two, three) <= max(two, three) < poor < good


@needs_published
def test_phases_do_not_depend_on_the_order_of_rows():
    table = published("lr_decay")
    other, order = shuffled(table)
    for rule in (PhaseRule(), PhaseRule(cka_quantile=0.3)):
        assert np.array_equal(classify(other, rule).codes, classify(table, rule).codes[order])
