"""Pages of real tables, made by the command line: imported ones, and the quickstart sweep."""

import io
import json
import os
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from llt_core.analysis import CellTable, PhaseRule, classify
from llt_core.analysis.claims import Claim
from llt_core.analysis.coefficients import spearman_of_pairs
from llt_core.cli.main import main
from llt_core.report.page import Details
from llt_core.report.page.details import split_curves
from llt_core.store import Store
from llt_core.store.tables import open_table

pytestmark = pytest.mark.browser

SHARED = Path(os.environ.get("LLT_SHARED", Path(__file__).resolve().parents[4] / "../shared"))
QUICKSTART = Path(__file__).parents[4] / "experiments" / "quickstart.toml"
TITLE = "Digits: width of a ResNet-18 against batch size"
TABLES = (
    "lr_decay",
    "constant_lr",
    "quickstart-mini",
    pytest.param("quickstart", marks=pytest.mark.long),
)
PHONE = {"width": 390, "height": 844, "has_touch": True, "is_mobile": True}


@dataclass(frozen=True)
class Real:
    """A table (its curves apart, which are pictures), and what ``llt`` made of it.

    That is the page of ``llt report``, and the claims of ``llt phases``.
    """

    table: CellTable
    text: str
    swept: bool
    claims: list[dict]


@pytest.fixture(scope="module", params=TABLES)
def real(request, tmp_path_factory):
    """An imported table, or a sweep that is trained and measured for it."""
    folder = tmp_path_factory.mktemp("real")
    name, swept = request.param, request.param.startswith("quickstart")
    if swept:
        profile = ("--profile", "mini") * name.endswith("mini")
        llt("sweep", QUICKSTART, *profile, "--store", folder / "store", "--threads", "1", "-q")
    else:
        path = SHARED / "published" / f"resnet18_cifar10_{name}.csv"
        if not path.is_file():
            pytest.skip(f"no {path}")
        llt("import", "table", path, "--name", name, "--store", folder / "store")
    llt("report", name, "--store", folder / "store", "-o", folder / "page.html", "--quiet")
    table, _ = split_curves(open_table(name, Store(folder / "store", create=False)), Details())
    with redirect_stdout(io.StringIO()) as said:
        llt("phases", name, "--store", folder / "store", "--json")
    claims = json.loads(said.getvalue())["claims"]
    return Real(table, (folder / "page.html").read_text(encoding="utf-8"), swept, claims)


def llt(*words):
    assert main([str(word) for word in words]) == 0


def test_every_number_is_there(real, open_page):
    opened = open_page(real.text)
    if real.swept:
        assert opened.page.inner_text("h1") == TITLE
    told = f"Measured by llt, sweep {real.table.name}." if real.swept else real.table.origin
    assert told in opened.page.inner_text("#origin")
    verdicts, found = classify(real.table), opened.csv()
    assert [row["phase"] for row in found] == [p or "undetermined" for p in verdicts.phases]
    assert [row["why"] for row in found] == list(verdicts.reasons)
    for name, column in real.table.columns.items():
        read = np.array([float(row[name]) if row[name] else np.nan for row in found])
        np.testing.assert_array_equal(read, column.values)
    assert opened.cards() == verdicts.counts
    assert opened.drawn_cells("#phase-canvas") == len(real.table)


def test_a_cell_shows_its_numbers_and_pictures(real, open_page):
    opened = open_page(real.text)
    page, table = opened.page, real.table
    for row in range(min(len(table), 24)):
        page.click(f"#table tr[data-row='{row}'] td:nth-child(2)")
        opened.settle()
        assert opened.shown == table.label(row)
        for name, column in table.columns.items():
            cell = page.locator(f"#cell tr[data-metric={name}] td").first
            if np.isfinite(column.values[row]):
                assert float(cell.get_attribute("data-value")) == column.values[row]
        if real.swept:
            titles = page.locator("#cell .figure-title").all_inner_texts()
            assert "Error along the path · error (percent)" in titles
            assert "Training loss · loss (nats)" in titles
            facts = page.locator("#cell .group .fact-list").inner_text()
            assert ", ".join(map(str, range(table.models[row]))) in facts
            assert "torch" in facts


def test_pointing_at_the_plane(real, open_page):
    opened = open_page(real.text)
    labels = [real.table.label(row) for row in range(len(real.table))]
    seen = set()
    for x in (0.25, 0.5, 0.75):
        for y in (0.15, 0.4, 0.7):
            opened.page.mouse.move(*opened.centre("#heat-canvas svg", x, y))
            opened.settle()
            row = labels.index(opened.shown)
            assert opened.page.inner_text("#cell-why") == classify(real.table).reasons[row]
            seen.add(row)
    assert len(seen) >= min(4, len(labels))


@pytest.mark.parametrize(
    "name", ["train_loss", "log_trace", "poorly_connected", "sharp_connectivity", "cka"]
)
def test_sliders_redraw_the_phases(real, open_page, name):
    """A threshold through the middle of the values, and then further by the keyboard."""
    opened = open_page(real.text)
    before = getattr(PhaseRule(), name)
    for value in (before, middle(real.table, name)):
        opened.set_threshold(name, value)
        verdicts = classify(real.table, PhaseRule(**{name: value}))
        assert opened.cards() == verdicts.counts
        assert [row["why"] for row in opened.csv()] == list(verdicts.reasons)
    slider = opened.page.locator(f"#slider-{name}")
    slider.focus()
    for _ in range(5):
        slider.press("ArrowRight")
    opened.settle()
    moved = float(opened.page.input_value(f"#threshold-{name}"))
    assert moved != value
    assert opened.cards() == classify(real.table, PhaseRule(**{name: moved})).counts


def middle(table, name):
    """A threshold between the cells, as a person would type it."""
    quantity = {"log_trace": "hessian_trace"}.get(name, name)
    if "connect" in name:
        return -0.25 if name == "poorly_connected" else 0.25
    values = table.column(quantity).values
    found = np.nanmedian(values[np.isfinite(values)])
    return float(f"{np.log(found) if name == 'log_trace' else found:.3g}")


def test_every_claim_that_llt_phases_checks_is_on_the_page(real, open_page):
    page = open_page(real.text).page
    items = page.locator("#claims li").all()
    found = [
        (
            item.locator(".outcome").get_attribute("data-verdict"),
            *item.locator("p").all_inner_texts(),
        )
        for item in items
    ]
    expected = [
        (claim["verdict"], claim["statement"], Claim(**claim).evidence) for claim in real.claims
    ]
    assert found == expected
    kinds = {claim["name"].partition(":")[0] for claim in real.claims}
    assert {"matched_curvature", "hessian_jump", "double_descent"} < kinds


def test_brushing_the_scatter_selects_cells_of_the_plane(real, open_page):
    opened = open_page(real.text)
    page = opened.page
    opened.drag("#scatter-canvas svg", (0.1, 0.02), (0.99, 0.55))
    low, high, bottom, top = (
        float(page.input_value(f"#range-{axis}-{end}")) for axis in "xy" for end in ("from", "to")
    )
    across, up = (real.table.column(page.input_value(f"#scatter-{axis}")).values for axis in "xy")
    inside = (across >= low) & (across <= high) & (up >= bottom) & (up <= top)
    assert 0 < inside.sum() < len(real.table)
    assert page.get_attribute("#phase-canvas .veil", "data-cells") == str((~inside).sum())
    rho, n = spearman_of_pairs(across[inside], up[inside])
    said = page.inner_text("#scatter-sub").replace("−", "-")
    assert f"the selected {n} cell" in said
    assert n < 3 or f"Spearman {rho:+.2f}" in said


def test_a_card_selects_its_cells(real, open_page):
    opened = open_page(real.text)
    counts = {phase: n for phase, n in opened.cards().items() if n}
    for phase, count in counts.items():
        opened.page.click(f"#phases .phase[data-phase='{phase}']")
        opened.settle()
        opened.page.check("#only-selected")
        found = opened.csv()
        assert {row["phase"] for row in found} == {phase}
        assert len(found) == count
        opened.page.click(f"#phases .phase[data-phase='{phase}']")
        opened.settle()


def test_a_phone_scrolls_only_downwards(real, open_page):
    opened = open_page(real.text, **PHONE)
    assert opened.wider_than_the_screen() == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read(real, open_page, scheme):
    opened = open_page(real.text, color_scheme=scheme)
    opened.page.click("#table tr[data-row='0'] td:nth-child(2)")
    opened.settle()
    assert opened.hard_to_read() == []


def test_it_is_small_and_quick(real, open_page):
    assert len(real.text.encode()) < 6 * 2**20
    assert open_page(real.text).first_paint() < 2.0
