"""Phases that were concluded, beside those that were measured."""

from dataclasses import replace

import numpy as np
import pytest

from llt_core.analysis import PHASES, Axis, CellTable, Column, PhaseRule
from llt_core.report.inferred import OTHER_RULE, REASON, InferredMap, joined
from llt_core.report.page.payload import payload

TABLE = CellTable(
    "t",
    (Axis("width", (1, 2, 3)), Axis("batch", (8, 8, 8))),
    {"cka": Column("cka", np.array([0.5, np.nan, 0.7]))},
    models=np.array([2, 0, 2]),
)
MAP = InferredMap(
    (Axis("batch", (8, 8, 16)), Axis("width", (1, 2, 1))),
    ("I", "II", None),
    np.array([0.9, 0.8, np.nan]),
)


def test_measured_cells_stay_and_others_are_added():
    table, marked = joined(TABLE, MAP)
    assert len(table) == 4
    assert [axis.values[3] for axis in table.axes] == [1, 16]
    assert marked == {1: 1, 3: 2}
    assert table.column("cka").reasons[3] == REASON
    assert table.models.tolist() == [2, 0, 2, 0]


def test_payload_says_which_cells_are_inferred():
    data = payload(TABLE, inferred=MAP)
    assert data["rows"] == 4
    assert data["inferred"] == {
        "at": [0, 1, 0, 1],
        "codes": [-1, PHASES.index("II"), -1, -1],
        "confidence": [None, 0.8, None, None],
    }
    assert payload(TABLE)["inferred"] is None
    assert data["findings"][-1] == {
        "heading": "Inferred",
        "text": "2 cells were not measured; phases there are inferred. "
        "They are right with a mean probability of 0.80.",
    }


def test_lengths_must_agree():
    with pytest.raises(ValueError, match="need 2 entries"):
        InferredMap((Axis("width", (1,)),), ("I", "II"))


def test_phases_inferred_with_other_thresholds_are_left_out():
    found = replace(MAP, rule=PhaseRule())
    assert payload(TABLE, inferred=found)["inferred"] is not None
    data = payload(TABLE, inferred=found, rule=PhaseRule(cka=0.6))
    assert data["inferred"] is None
    assert data["rows"] == len(TABLE)
    assert data["findings"][-1] == {"heading": "Inferred", "text": OTHER_RULE}
