"""The document in the page is the table, number by number."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from llt_core.analysis import Axis, CellTable, Column, PhaseRule
from llt_core.report.page.html import build_page, encode
from llt_core.report.page.payload import payload


def decoded(values):
    return np.array([math.nan if value is None else float(value) for value in values])


def test_every_number_is_as_it_is_in_the_table(make_table):
    table = make_table(seed=3, missing=0.2)
    data = json.loads(encode(payload(table)))
    assert data["rows"] == len(table) == 30
    assert [column["name"] for column in data["columns"]] == list(table.columns)
    for column in data["columns"]:
        original = table.column(column["name"])
        np.testing.assert_array_equal(decoded(column["values"]), original.values)
        errors = column["errors"] or [None] * len(table)
        finite = np.where(np.isnan(original.standard_errors), np.nan, original.standard_errors)
        np.testing.assert_array_equal(decoded(errors), finite)
        assert column["n"] == original.n.tolist()
        assert column["unit"] == original.unit
        reasons = column["reasons"]
        texts = tuple(reasons["texts"][at] for at in reasons["at"])
        assert texts == original.reasons
    for axis, original in zip(data["axes"], table.axes, strict=True):
        assert tuple(axis["levels"][at] for at in axis["at"]) == original.values
        assert axis["kind"] == original.kind
    assert data["models"] == 5


def test_the_logarithm_is_that_of_the_rule(make_table):
    table = make_table(seed=1)
    trace = table.column("hessian_trace").values
    with np.errstate(all="ignore"):
        expected = np.where(trace <= 0, -np.inf, np.log(trace))
    found = decoded(payload(table)["log_trace"])
    np.testing.assert_array_equal(found, expected)
    assert np.isneginf(found).any()


def test_thresholds_are_all_of_the_rule(make_table):
    rule = PhaseRule(cka=0.5, cka_quantile=0.25)
    found = {t["name"]: t["value"] for t in payload(make_table(), rule=rule)["thresholds"]}
    assert found == rule.model_dump()


def test_json_has_no_nan(make_table):
    text = encode(payload(make_table(missing=0.5)))
    assert "NaN" not in text
    json.loads(text, parse_constant=lambda word: pytest.fail(word))


HOSTILE = [
    "</script><script>alert(1)</script>",
    "<!-- <script>",
    "]]>&amp;\u2028",
    '"><img src=x onerror=alert(1)>',
]


@pytest.mark.parametrize("name", HOSTILE)
def test_names_cannot_end_the_script(name):
    column = Column(name, np.array([1.0]), unit=name, reasons=(name,))
    table = CellTable(name, (Axis(name, (name,)),), {name: column}, origin=name)
    plain = replace(table, name="x", origin="x", axes=(Axis("x", ("x",)),), columns={})
    page = build_page(table, title=name)
    for sign in ("<script", "</script", "<!--", "<img"):
        assert page.lower().count(sign) == build_page(plain, title="x").lower().count(sign)
    start = page.index('id="data">') + len('id="data">')
    held = page[start : page.index("</script>", start)]
    assert not set("<>&\u2028") & set(held)
    data = json.loads(held)
    assert data["name"] == data["axes"][0]["levels"][0] == data["columns"][0]["unit"] == name


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_small_tables(rows):
    values = np.linspace(0.01, 1, rows)
    columns = {"train_loss": Column("train_loss", values, "nats")}
    table = CellTable("small", (Axis("architecture.width", tuple(range(1, rows + 1))),), columns)
    data = json.loads(encode(payload(table)))
    assert data["rows"] == rows
    assert data["findings"][0]["text"]


def test_without_axes_rows_are_numbered():
    table = CellTable("bare", (), {"cka": Column("cka", np.array([0.1, 0.2]))})
    (axis,) = payload(table)["axes"]
    assert (axis["name"], axis["levels"]) == ("row", [1, 2])


def test_values_of_axes_may_be_missing_or_words():
    axes = (Axis("task", ("digits", None, "svhn")), Axis("train.nesterov", (True, False, None)))
    table = CellTable("mixed", axes, {"cka": Column("cka", np.array([0.1, 0.2, 0.3]))})
    task, nesterov = payload(table)["axes"]
    assert (task["levels"], task["at"], task["numeric"]) == (["digits", "svhn"], [0, -1, 1], False)
    assert (nesterov["levels"], nesterov["numeric"]) == (["False", "True"], False)


def test_ten_thousand_cells(make_table):
    import time

    table = make_table(100, 100, missing=0.05)
    start = time.perf_counter()
    page = build_page(table, compare=replace(table, name="other"))
    assert time.perf_counter() - start < 20
    assert len(page.encode()) < 12 * 2**20


def test_the_page_asks_for_nothing(make_table):
    page = build_page(make_table())
    shell = page[: page.index('id="data">')] + page[page.index("</script>") :]
    code = shell.replace("http://www.w3.org/2000/svg", "")
    assert "default-src 'none'" in code
    for word in ("http:", "https:", "@import", "url(//", "fetch(", "XMLHttpRequest", "innerHTML"):
        assert word not in code


def test_unverified_data_is_measured_here_all_the_same():
    said = "llt (data files that are not the published ones)"
    data = payload(CellTable("t", (), {}, origin=said))
    assert not data["imported"]
    assert data["measured"] == f"measured by {said}"
    assert payload(CellTable("t", (), {}, origin="file a.csv"))["imported"]
