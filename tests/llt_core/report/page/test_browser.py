"""The page in a real browser: what it draws, and what it answers."""

import dataclasses
import re

import numpy as np
import pytest

from llt_core.analysis import PHASES, Axis, CellTable, Column, PhaseRule, classify
from llt_core.analysis.coefficients import spearman_of_pairs
from llt_core.report.page import Details, InferredMap, build_page
from llt_core.report.page.drawings import Drawn, Series

pytestmark = pytest.mark.browser

CELLS = "#phase-canvas"
HEAT = "#heat-canvas"


def heavy(rows):
    """Figures as rich as those of a large sweep."""
    t = np.linspace(0, 1, 60)
    rng = np.random.default_rng(0)
    found = []
    for row in range(rows):
        series = tuple(Series(f"seed {k}", t, rng.normal(size=60)) for k in range(5))
        found.append(
            tuple(
                Drawn(group, "line", f"{group} {row}", "t", "percent", series=series).thinned(60)
                for group in ("curve", "spectrum", "history")
            )
        )
    origin = {"Seeds": "0, 1, 2, 3, 4", "Device": "cpu", "Finished": "2026-01-01"}
    return Details(tuple(found), (origin,) * rows, (("Seeds", "0, 1, 2, 3, 4"),))


def test_published_table_is_drawn_cell_by_cell(open_page, decay):
    opened = open_page(build_page(decay))
    page = opened.page
    assert opened.drawn_cells(CELLS) == opened.drawn_cells(HEAT) == 91
    assert opened.cards() == classify(decay).counts
    assert page.get_attribute("#scatter-canvas .dots", "data-points") == "91"
    assert "Imported table: published results, lr_decay" in page.inner_text("#origin")
    ticks = page.locator("#phase-canvas .tick").all_text_contents()
    assert ticks[:7] == ["2", "4", "8", "16", "32", "64", "128"]
    assert {"16", "64", "1024"} <= set(ticks[7:])
    rho, n = spearman_of_pairs(decay.column("cka").values, decay.column("test_accuracy").values)
    assert page.inner_text("#scatter-sub") == f"Spearman {rho:+.2f} over {n} cells"


def test_hot_cells_are_on_top(open_page, decay):
    opened = open_page(build_page(decay))
    page = opened.page
    page.mouse.move(*opened.centre("#phase-canvas svg", 0.3, 0.05))
    opened.settle()
    assert opened.shown.endswith("batch_size=16")


def test_pointing_at_a_cell_shows_its_numbers(open_page, make_table):
    table = make_table(seed=5, missing=0.15)
    opened = open_page(build_page(table))
    page = opened.page
    seen = set()
    for x in (0.2, 0.5, 0.8):
        for y in (0.1, 0.4, 0.7):
            page.mouse.move(*opened.centre("#heat-canvas svg", x, y))
            opened.settle()
            row = [table.label(row) for row in range(len(table))].index(opened.shown)
            seen.add(row)
            for name, column in table.columns.items():
                cell = page.locator(f"#cell tr[data-metric={name}] td").first
                if np.isnan(column.values[row]):
                    assert cell.inner_text() == "undefined: 2 of 2"
                    continue
                assert float(cell.get_attribute("data-value")) == column.values[row]
                text = cell.inner_text()
                assert ("±" in text) == np.isfinite(column.standard_errors[row])
                assert text.endswith(column.unit)
                assert page.locator(f"#cell tr[data-metric={name}] td").nth(1).inner_text() == "5"
            assert page.inner_text("#cell-why") == classify(table).reasons[row]
            phase = classify(table).phases[row] or "undetermined"
            assert page.get_attribute("#cell .badge", "data-phase") == phase
    assert len(seen) >= 6


def test_a_click_keeps_a_cell_while_others_are_pointed_at(open_page, decay):
    opened = open_page(build_page(decay))
    page = opened.page
    page.mouse.click(*opened.centre("#phase-canvas svg", 0.3, 0.3))
    opened.settle()
    kept = opened.shown
    page.mouse.move(*opened.centre("#phase-canvas svg", 0.9, 0.6))
    opened.settle()
    assert opened.shown != kept
    page.mouse.move(5, 5)
    opened.settle()
    assert opened.shown == kept
    assert kept in page.inner_text("#live")


def test_arrow_keys_move_and_select(open_page, decay):
    opened = open_page(build_page(decay))
    page = opened.page
    page.mouse.click(*opened.centre("#phase-canvas svg", 0.2, 0.05))
    opened.settle()
    assert opened.shown == "width=2, batch_size=16"
    page.focus("#phase-canvas svg")
    for key, label in (
        ("ArrowRight", "width=4, batch_size=16"),
        ("ArrowDown", "width=4, batch_size=24"),
        ("ArrowDown", "width=4, batch_size=32"),
        ("ArrowLeft", "width=2, batch_size=32"),
        ("ArrowLeft", "width=2, batch_size=32"),
        ("ArrowUp", "width=2, batch_size=24"),
    ):
        page.keyboard.press(key)
        opened.settle()
        assert opened.shown == label
    for key in ("ArrowRight", "ArrowRight", "ArrowDown"):
        page.keyboard.press(f"Shift+{key}")
        opened.settle()
    page.check("#only-selected")
    assert len(opened.csv()) == 6
    assert page.get_attribute("#heat-canvas .veil", "data-cells") == str(91 - 6)
    page.focus("#phase-canvas svg")
    page.keyboard.press("Escape")
    opened.settle()
    assert page.locator(".veil").count() == 0


def test_everything_can_be_reached_with_the_tab_key(open_page, make_table):
    page = open_page(build_page(make_table())).page
    reached = set()
    for _ in range(70):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate("document.activeElement.id || document.activeElement.parentElement.id")
        )
        outlined = page.evaluate(
            "getComputedStyle(document.activeElement).outlineStyle !== 'none' "
            "|| document.activeElement === document.body"
        )
        assert outlined
    wanted = {"phase-canvas", "heat-canvas", "scatter-canvas", "metric", "threshold-cka"}
    assert wanted | {"slider-cka", "range-x-from", "search", "download"} <= reached


RULES = [
    {},
    {"train_loss": 0.5, "log_trace": 5.25},
    {"poorly_connected": -3.5, "unconverged": 2.125, "sharp_connectivity": 1.5},
    {"cka": 0.512},
    {"cka_quantile": 0.37, "log_trace": 7.5, "train_loss": 2},
    {"cka_quantile": 1, "poorly_connected": -20, "unconverged": 20},
    {"cka_quantile": 0, "log_trace": 8, "train_loss": 5},
]


@pytest.mark.parametrize("seed", range(3))
def test_thresholds_sort_the_cells_as_python_does(open_page, make_table, seed):
    table = make_table(12, 12, seed=seed, missing=0.12)
    opened = open_page(build_page(table))
    for changes in RULES:
        rule = PhaseRule(**changes)
        if rule.cka_quantile is not None:
            opened.page.check("#use-quantile")
        for name, value in changes.items():
            opened.set_threshold(name, value)
        expected = classify(table, rule)
        found = opened.csv()
        assert [row["phase"] for row in found] == [p or "undetermined" for p in expected.phases]
        assert [row["why"] for row in found] == list(expected.reasons)
        assert opened.cards() == expected.counts
        assert opened.page.is_enabled("#reset") == bool(changes)
        stale = "you have moved them" in opened.page.inner_text("#findings-note")
        assert stale == bool(changes)
        if changes:
            opened.page.click("#reset")
            opened.settle()
    assert opened.cards() == classify(table).counts


def test_values_on_a_threshold_fall_on_the_same_side(open_page):
    exact = [0.05, np.nextafter(0.05, 0), np.nextafter(0.05, 1), 1e-3, 1e-3, 1e-3, 1e-3]
    traces = [1.0, 1.0, 1.0, np.exp(6), np.exp(6) * (1 - 1e-16), 0.0, -3.0]
    columns = {
        "train_loss": Column("train_loss", np.array(exact), "nats"),
        "hessian_trace": Column("hessian_trace", np.array(traces), "nats"),
        "linear_connectivity": Column(
            "linear_connectivity", np.array([0, -1, 1, 0, -0.0, 1, -1.0])
        ),
        "cka": Column("cka", np.array([0.68, np.nextafter(0.68, 0), 0.68, 0.68, 0.68, 0.1, 0.9])),
    }
    table = CellTable("edges", (Axis("width", tuple(range(1, 8))),), columns)
    found = open_page(build_page(table)).csv()
    expected = classify(table)
    assert [row["phase"] for row in found] == [p or "undetermined" for p in expected.phases]
    assert [row["why"] for row in found] == list(expected.reasons)


@pytest.mark.parametrize(
    "opened_with", [PhaseRule(cka=0.8, log_trace=5), PhaseRule(cka_quantile=0.5)]
)
def test_a_page_opens_with_the_rule_it_was_made_with(open_page, make_table, opened_with):
    table = make_table(8, 8, missing=0)
    opened = open_page(build_page(table, rule=opened_with))
    assert opened.cards() == classify(table, opened_with).counts
    assert not opened.page.is_enabled("#reset")


def test_a_slider_moves_with_the_arrow_keys(open_page, make_table):
    table = make_table(10, 10, missing=0)
    opened = open_page(build_page(table))
    opened.page.focus("#slider-train_loss")
    for _ in range(40):
        opened.page.keyboard.press("ArrowRight")
    opened.settle()
    value = float(opened.page.input_value("#threshold-train_loss"))
    assert value > 0.05
    assert opened.cards() == classify(table, PhaseRule(train_loss=value)).counts


def test_dragging_in_the_scatter_selects_cells_of_the_plane(open_page, decay):
    opened = open_page(build_page(decay))
    page = opened.page
    opened.drag("#scatter-canvas svg", (0.6, 0.05), (0.95, 0.4))
    limits = {
        f"{axis}_{end}": float(page.input_value(f"#range-{axis}-{end}"))
        for axis in "xy"
        for end in ("from", "to")
    }
    cka, accuracy = decay.column("cka").values, decay.column("test_accuracy").values
    inside = (cka >= limits["x_from"]) & (cka <= limits["x_to"])
    inside &= (accuracy >= limits["y_from"]) & (accuracy <= limits["y_to"])
    assert 5 < inside.sum() < 91
    assert page.get_attribute("#phase-canvas .veil", "data-cells") == str((~inside).sum())
    page.check("#only-selected")
    wanted = {decay.label(row) for row in np.flatnonzero(inside)}
    found = {f"width={row['width']}, batch_size={row['batch_size']}" for row in opened.csv()}
    assert found == wanted
    page.click("#clear-selection")
    opened.settle()
    assert page.locator(".veil").count() == 0
    assert page.input_value("#range-x-from") == ""


def test_limits_typed_do_what_dragging_does(open_page, decay):
    opened = open_page(build_page(decay))
    opened.page.fill("#range-y-from", "88")
    opened.page.keyboard.press("Tab")
    opened.settle()
    count = int((decay.column("test_accuracy").values >= 88).sum())
    assert opened.page.get_attribute("#phase-canvas .veil", "data-cells") == str(91 - count)
    rho, _ = spearman_of_pairs(
        *(
            decay.column(n).values[decay.column("test_accuracy").values >= 88]
            for n in ("cka", "test_accuracy")
        )
    )
    sign = "+" if rho > 0 else "−"
    assert opened.page.inner_text("#scatter-sub") == (
        f"Spearman {sign}{abs(rho):.2f} over the selected {count} cells"
    )


def test_dragging_in_the_plane_selects_points_of_the_scatter(open_page, decay):
    opened = open_page(build_page(decay))
    page = opened.page
    opened.drag("#heat-canvas svg", (0.6, 0.1), (0.99, 0.5))
    veiled = int(page.get_attribute("#phase-canvas .veil", "data-cells"))
    bright = page.locator("#scatter-canvas .dots path[opacity='1']").evaluate_all(
        "paths => paths.map((path) => Number(path.dataset.points))"
    )
    assert 0 < sum(bright) == 91 - veiled


def test_a_card_selects_the_cells_of_its_phase(open_page, decay):
    opened = open_page(build_page(decay))
    opened.page.click("#phases .phase[data-phase='IV-B']")
    opened.settle()
    opened.page.check("#only-selected")
    found = opened.csv()
    assert {row["phase"] for row in found} == {"IV-B"}
    assert len(found) == classify(decay).counts["IV-B"]
    assert opened.page.get_attribute("#phases .phase[data-phase='IV-B']", "aria-pressed") == "true"


def test_download_has_every_digit(open_page, make_table):
    table = make_table(9, 9, seed=4, missing=0.2, name='grid, of "nine"')
    found = open_page(build_page(table)).csv()
    assert len(found) == 81
    for name, column in table.columns.items():
        for heading, values in (
            (name, column.values),
            (f"{name}_standard_error", column.standard_errors),
        ):
            read = np.array([float(row[heading]) if row[heading] else np.nan for row in found])
            np.testing.assert_array_equal(read, values)
        assert [int(row[f"{name}_n"]) for row in found] == column.n.tolist()
    assert [int(row["architecture.width"]) for row in found] == list(table.axes[0].values)
    assert {row["origin"] for row in found} == {"llt"}


def test_search_and_order(open_page, decay):
    opened = open_page(build_page(decay))
    page = opened.page
    phases = np.array([str(p) for p in classify(decay).phases])
    for words, expected in (
        ("III", phases == "III"),
        ("i", phases == "I"),
        ("width=8", np.array(decay.axes[0].values) == 8),
        ("width=8 iv-a", (np.array(decay.axes[0].values) == 8) & (phases == "IV-A")),
        ("poorly", (phases == "I") | (phases == "III")),
        ("nothing like it", np.zeros(91, dtype=bool)),
    ):
        page.fill("#search", words)
        labels = [f"width={r['width']}, batch_size={r['batch_size']}" for r in opened.csv()]
        assert labels == [decay.label(row) for row in np.flatnonzero(expected)], words
    page.fill("#search", "")
    accuracy = decay.column("test_accuracy").values
    for direction, order in (("ascending", 1), ("descending", -1)):
        page.click("#table button[data-key=test_accuracy]")
        assert (
            page.locator(f"#table th[aria-sort={direction}]")
            .inner_text()
            .startswith("Test accuracy")
        )
        found = [float(row["test_accuracy"]) for row in opened.csv()]
        assert found == sorted(accuracy, key=lambda value: order * value)
    assert page.locator("#table tbody tr").count() == 25
    page.click("#more")
    assert page.locator("#table tbody tr").count() == 91


def test_missing_values_come_last_in_either_order(open_page, make_table):
    table = make_table(6, 6, missing=0.3)
    opened = open_page(build_page(table))
    missing = int(np.isnan(table.column("cka").values).sum())
    for _ in range(2):
        opened.page.click("#table button[data-key=cka]")
        values = [row["cka"] for row in opened.csv()]
        assert values[-missing:] == [""] * missing
        assert "" not in values[:-missing]


def test_axes_metrics_and_slices_can_be_chosen(open_page):
    rows = [(w, b, f) for f in (0.5, 1.0) for b in (16, 64, 256) for w in (1, 2, 4, 8)]
    values = np.arange(24.0)
    axes = (
        Axis("architecture.width", tuple(w for w, _, _ in rows), "load"),
        Axis("train.batch_size", tuple(b for _, b, _ in rows), "temperature"),
        Axis("data_subset.fraction", tuple(f for _, _, f in rows), "load"),
    )
    columns = {"cka": Column("cka", values), "test_loss": Column("test_loss", values + 1, "nats")}
    opened = open_page(build_page(CellTable("three", axes, columns)))
    page = opened.page
    assert opened.drawn_cells(CELLS) == 12
    assert page.input_value("#slice-fraction") == "1"
    page.select_option("#slice-fraction", "0")
    opened.settle()
    page.mouse.move(*opened.centre("#phase-canvas svg", 0.9, 0.5))
    opened.settle()
    assert opened.shown.endswith("fraction=0.5")
    page.select_option("#axis-x", "data_subset.fraction")
    opened.settle()
    assert opened.drawn_cells(CELLS) == 6
    page.select_option("#axis-y", "data_subset.fraction")
    opened.settle()
    assert (page.input_value("#axis-x"), page.input_value("#axis-y")) == (
        "train.batch_size",
        "data_subset.fraction",
    )
    page.select_option("#metric", "cka")
    opened.settle()
    assert page.inner_text("#heat-title") == "CKA"
    page.select_option("#spacing", "even")
    opened.settle()
    assert opened.drawn_cells(HEAT) == 6


def test_two_tables_are_compared(open_page, decay, constant):
    opened = open_page(build_page(decay, compare=constant))
    page = opened.page
    mine, theirs = decay.column("test_accuracy").values, []
    places = {
        tuple(axis.values[row] for axis in constant.axes): row for row in range(len(constant))
    }
    rows = [places[tuple(axis.values[row] for axis in decay.axes)] for row in range(len(decay))]
    theirs = constant.column("test_accuracy").values[rows]
    up = int((mine > theirs).sum())
    assert f"91 shared cells, higher in {up}, lower in {91 - up}" in page.inner_text("#gain-sub")
    assert opened.drawn_cells("#gain-canvas") == 91
    before, after = classify(constant).codes[rows], classify(decay).codes
    assert page.inner_text("#changes-sub").startswith(f"{int((before != after).sum())} of 91")
    counts = page.locator("#changes-table .count").all_inner_texts()
    assert sum(map(int, counts)) == 91
    page.mouse.move(*opened.centre("#gain-canvas svg", 0.4, 0.4))
    opened.settle()
    row = [decay.label(row) for row in range(91)].index(opened.shown)
    difference = page.locator("#cell tr[data-metric=test_accuracy] td").nth(2).inner_text()
    assert float(difference.replace("−", "-")) == pytest.approx(mine[row] - theirs[row], rel=0.01)
    opened.set_threshold("cka", 0.55)
    rule = PhaseRule(cka=0.55)
    moved = int((classify(constant, rule).codes[rows] != classify(decay, rule).codes).sum())
    assert page.inner_text("#changes-sub").startswith(f"{moved} of 91")


def test_inferred_cells_are_marked_everywhere(open_page, decay):
    half = np.arange(91) % 2 == 0
    rest = decay.select(~half)
    phases = classify(rest).phases
    inferred = InferredMap(rest.axes, phases, np.full(len(rest), 0.9))
    opened = open_page(build_page(decay.select(half), inferred=inferred))
    page = opened.page
    assert opened.drawn_cells(CELLS) == 91
    dotted = page.locator("#phase-canvas path.inferred").get_attribute("d")
    assert dotted.count("M") == 45
    assert opened.cards() == classify(decay).counts
    assert "inferred, not measured" in page.inner_text("#phase-legend")
    found = opened.csv()
    assert [row["measured"] for row in found].count("no") == 45
    by_place = {(row["width"], row["batch_size"]): row for row in found}
    for row, phase in enumerate(phases):
        place = tuple(str(axis.values[row]) for axis in rest.axes)
        assert by_place[place]["phase"] == phase
        assert by_place[place]["why"].endswith("right with probability 0.9")
    opened.set_threshold("train_loss", 1e-9)
    still = [row for row in opened.csv() if row["measured"] == "no"]
    assert {row["phase"] for row in still} == {"undetermined"}
    assert {row["why"] for row in still} == {
        "not measured: its phase was inferred with other thresholds than these"
    }
    moved = classify(decay.select(half), PhaseRule(train_loss=1e-9)).counts
    assert opened.cards() == {**moved, "undetermined": moved["undetermined"] + 45}
    page.click("#reset")
    opened.settle()
    assert opened.cards() == classify(decay).counts


def test_curves_histories_and_provenance_of_a_cell(open_page, make_table):
    table = make_table(4, 4, missing=0)
    opened = open_page(build_page(table, details=heavy(16)))
    page = opened.page
    titles = page.locator("#cell .figure-title").all_inner_texts()
    row = [table.label(row) for row in range(16)].index(opened.shown)
    assert titles == [f"{group} {row} · percent" for group in ("curve", "spectrum", "history")]
    assert page.locator("#cell .small-figure").first.locator("path").count() == 5
    words = page.locator("#cell .small-figure").first.get_attribute("aria-label")
    assert "seed 0: 60 points, from" in words
    assert "0, 1, 2, 3, 4" in page.inner_text("#cell .fact-list")


@pytest.mark.parametrize(
    "name", ["</script><script>alert(1)</script>", "<img src=x onerror=alert(1)>"]
)
def test_hostile_names_are_only_text(open_page, name):
    columns = {name: Column(name, np.array([1.0, np.nan]), name, reasons=("", name))}
    table = CellTable(name, (Axis(name, (name, "b")), Axis("w", (1, 2))), columns, origin=name)
    page = open_page(build_page(table, title=name)).page
    assert page.inner_text("h1") == name
    assert page.locator("img").count() == 0
    assert name in page.inner_text("#cell")


def test_of_many_columns_the_well_known_come_first(open_page, make_table):
    table = make_table(3, 3, missing=0)
    extra = {f"extra_{k}": Column(f"extra_{k}", np.arange(9.0)) for k in range(12)}
    table = dataclasses.replace(table, columns={**table.columns, **extra})
    page = open_page(build_page(table)).page
    assert page.locator("#cell tr[data-metric=extra_3]").is_hidden()
    assert page.locator("#cell tr[data-metric=cka]").is_visible()
    page.click("#cell summary:has-text('12 more metrics')")
    assert page.locator("#cell tr[data-metric=extra_3]").is_visible()
    page.select_option("#metric", "extra_5")
    page.wait_for_function("document.querySelector('#heat-title').textContent === 'Extra 5'")


def test_how_sure_a_phase_is(open_page, make_table):
    table = make_table(2, 2, missing=0)
    shares = np.array(
        [[0.25, 0, 0.75, 0, 0, 0], [0, 0, 0, 0, 0, 1], [np.nan] * 6, [1, 0, 0, 0, 0, 0]]
    )
    opened = open_page(build_page(table, probabilities=shares))
    page = opened.page
    said = {}
    for row in range(4):
        page.click(f"#table tr[data-row='{row}'] td:nth-child(2)")
        opened.settle()
        box = page.locator("#cell-sure")
        said[row] = box.inner_text().strip() if box.count() else None
    assert said == {
        0: "Were the models drawn again: III 75 %, I 25 %.",
        1: "Were the models drawn again: undetermined 100 %.",
        2: None,
        3: "Were the models drawn again: I 100 %.",
    }
    opened.set_threshold("cka", 0.1)
    assert page.locator("#cell-sure").count() == 0


def test_bars_are_named(open_page, make_table):
    bars = Drawn(
        "other",
        "bars",
        "By layer",
        "layer",
        "distance",
        series=(Series("", np.arange(3.0), np.array([1.0, 2.0, np.nan])),),
        names=("stem", "block", "fc"),
    ).thinned(60)
    page = open_page(build_page(make_table(2, 2), details=Details(((bars,),) * 4))).page
    page.click("#cell summary:has-text('More figures')")
    assert page.locator("#cell .bar-name").all_text_contents() == ["stem", "block", "fc"]
    assert page.locator("#cell .bars").count() == 2


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_small_tables_make_sense(open_page, rows):
    columns = {
        "train_loss": Column("train_loss", np.linspace(0.01, 1, rows), "nats"),
        "test_accuracy": Column("test_accuracy", np.linspace(50, 60, rows), "percent"),
    }
    table = CellTable("few", (Axis("width", tuple(range(1, rows + 1)), "load"),), columns)
    opened = open_page(build_page(table))
    assert len(opened.csv()) == rows
    assert opened.cards()["undetermined"] == rows
    if rows:
        assert opened.drawn_cells(CELLS) == rows


def test_constant_columns_and_no_values(open_page):
    columns = {
        "cka": Column("cka", np.full(4, 0.5)),
        "train_loss": Column("train_loss", np.full(4, np.nan), "nats"),
        "l2_distance": Column("l2_distance", np.zeros(4)),
    }
    axes = (Axis("width", (1, 1, 2, 2)), Axis("batch", (1, 2, 1, 2)))
    opened = open_page(build_page(CellTable("flat", axes, columns)))
    for name in columns:
        opened.page.select_option("#metric", name)
        opened.settle()
        assert opened.drawn_cells(HEAT) == 4
        opened.page.select_option("#scatter-x", name)
        opened.settle()
    opened.page.select_option("#metric", "train_loss")
    opened.settle()
    assert opened.page.locator("#heat-canvas path.hatch").get_attribute("d").count("M") == 4


@pytest.mark.parametrize("width", [1000, 1240, 1440])
def test_numbers_of_a_gain_stand_apart(open_page, decay, constant, width):
    page = open_page(build_page(decay, compare=constant), width=width).page
    shortest = page.evaluate(
        """() => {
          const boxes = [...document.querySelectorAll('#gain-map .letters text')]
            .map((text) => text.getBoundingClientRect());
          const gaps = boxes.flatMap((a) => boxes
            .filter((b) => Math.abs(a.top - b.top) < 3 && b.left > a.left)
            .map((b) => b.left - a.right));
          return Math.min(...gaps);
        }"""
    )
    assert 4 <= shortest < 1000


def test_a_phone_scrolls_only_downwards(open_page, decay, constant):
    opened = open_page(
        build_page(decay, compare=constant, details=heavy(91)),
        width=390,
        height=844,
        has_touch=True,
        is_mobile=True,
    )
    page = opened.page
    assert opened.wider_than_the_screen() == []
    x, y = opened.centre("#phase-canvas svg", 0.5, 0.5)
    before = opened.shown
    page.touchscreen.tap(x, y)
    opened.settle()
    assert opened.shown != before
    assert opened.shown in page.inner_text("#glance")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read(open_page, decay, constant, scheme):
    opened = open_page(build_page(decay, compare=constant, details=heavy(91)), color_scheme=scheme)
    opened.set_threshold("cka", 0.7)
    assert opened.hard_to_read() == []


def test_letters_can_be_read_on_their_colours(open_page, decay):
    page = open_page(build_page(decay)).page
    pairs = page.evaluate(
        "[...document.querySelectorAll('.phase .badge')].map((badge) => "
        "[getComputedStyle(badge).color, getComputedStyle(badge).backgroundColor])"
    )
    assert len(pairs) == len(PHASES) + 1
    for pair in pairs:
        ink, ground = (_luminance(colour) for colour in pair)
        assert (max(ink, ground) + 0.05) / (min(ink, ground) + 0.05) >= 4.5


def _luminance(colour):
    channels = [int(c) / 255 for c in re.findall(r"\d+", colour)[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


def test_theme_can_be_chosen(open_page, make_table):
    page = open_page(build_page(make_table())).page
    colour = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(colour)
    page.click("#theme")
    assert page.evaluate(colour) == light
    page.click("#theme")
    assert page.inner_text("#theme") == "Theme: dark"
    assert _luminance(page.evaluate(colour)) < 0.05


def test_two_hundred_cells_are_small_and_quick(open_page, make_table):
    table = make_table(20, 10, missing=0.05)
    text = build_page(table, details=heavy(200))
    assert len(text.encode()) < 6 * 2**20
    opened = open_page(text)
    assert opened.first_paint() < 2.0
    assert opened.drawn_cells(CELLS) == 200


def test_ten_thousand_cells_answer(open_page, make_table):
    table = make_table(100, 100, missing=0.05)
    opened = open_page(build_page(table))
    page = opened.page
    assert opened.drawn_cells(CELLS) == 10_000
    assert opened.cards() == classify(table).counts
    start = page.evaluate("performance.now()")
    opened.set_threshold("train_loss", 0.2)
    assert page.evaluate("performance.now()") - start < 5000
    assert opened.cards() == classify(table, PhaseRule(train_loss=0.2)).counts
    page.mouse.move(*opened.centre("#heat-canvas svg", 0.5, 0.5))
    opened.settle()
    assert "width=" in opened.shown
    assert page.locator("#table tbody tr").count() == 25


def test_reduced_motion_is_respected(open_page, make_table):
    page = open_page(build_page(make_table()), reduced_motion="reduce").page
    assert page.evaluate("getComputedStyle(document.documentElement).scrollBehavior") == "auto"


def test_a_title_is_not_the_name(open_page, make_table):
    table = dataclasses.replace(make_table(), name="grid-1")
    page = open_page(build_page(table, title="Width against batch size")).page
    assert page.title() == page.inner_text("h1") == "Width against batch size"
    assert page.inner_text("#origin") == "Measured by llt, sweep grid-1."


def test_limits_of_flat_cells_cannot_cross(open_page, make_table):
    opened = open_page(build_page(make_table()))
    opened.set_threshold("poorly_connected", 50)
    low, high = (
        float(opened.page.input_value(f"#threshold-{name}"))
        for name in ("poorly_connected", "unconverged")
    )
    assert low == high < 50
    assert "cannot lie above" in opened.page.inner_text('[data-threshold="poorly_connected"]')


def test_a_gain_of_traces_is_one_of_logarithms(open_page, make_table):
    table = make_table(missing=0)
    opened = open_page(build_page(table, compare=make_table(seed=1, missing=0, name="old")))
    opened.page.select_option("#metric", "hessian_trace")
    opened.settle()
    a, b = (make_table(seed=n, missing=0).column("hessian_trace").values for n in (0, 1))
    both = int(((a > 0) & (b > 0)).sum())
    assert 0 < both < len(a)  # some have no logarithm
    assert f"{both} shared cells" in opened.page.inner_text("#gain-sub")
    assert "natural logarithms" in opened.page.inner_text("#gain-legend")
    assert opened.page.inner_text("#gain-title").startswith("Gain in ln ")


def test_what_has_no_logarithm_is_not_called_missing(open_page, make_table):
    table = make_table(8, 8, seed=3, missing=0.15)
    trace = table.column("hessian_trace").values
    below, gone = (trace <= 0), np.isnan(trace)
    assert below.any()
    assert gone.any()
    opened = open_page(build_page(table))
    page = opened.page
    page.select_option("#metric", "hessian_trace")
    opened.settle()
    for fill, expected in (("below", below), ("hatch", gone)):
        path = page.locator(f"#heat-canvas .cells path[data-fill='{fill}']")
        assert path.get_attribute("d").count("M") == expected.sum()
        assert path.get_attribute("fill") == f"url(#{fill})"
    said = f"{gone.sum()} without a value · {below.sum()} not positive"
    assert page.inner_text("#heat-sub").endswith(said)
    assert "not positive: no logarithm" in page.inner_text("#heat-legend")
    assert "logarithmic colours" in page.inner_text("#heat-legend")
    row = int(np.flatnonzero(below)[0])
    page.click(f"#table tr[data-row='{row}'] td:nth-child(2)")
    opened.settle()
    cell = page.locator("#cell tr[data-metric=hessian_trace] td").first
    assert float(cell.get_attribute("data-value")) == trace[row]
    assert cell.inner_text().startswith("−")
    shown = page.locator(f"#table tr[data-row='{row}']").inner_text()
    assert cell.inner_text().split(" ")[0] in shown
    page.select_option("#metric", "cka")
    opened.settle()
    assert "not positive" not in page.inner_text("#heat-legend")


def test_a_gain_of_what_has_no_logarithm_is_marked_so(open_page, make_table):
    here, there = (make_table(seed=n, missing=0.1) for n in (0, 1))
    opened = open_page(build_page(here, compare=there))
    opened.page.select_option("#metric", "hessian_trace")
    opened.settle()
    a, b = (table.column("hessian_trace").values for table in (here, there))
    both = np.isfinite(a) & np.isfinite(b)
    expected = {"below": both & ((a <= 0) | (b <= 0)), "hatch": ~both}
    for fill, cells in expected.items():
        path = opened.page.locator(f"#gain-canvas .cells path[data-fill='{fill}']")
        assert path.get_attribute("d").count("M") == cells.sum() > 0
    assert "not positive: no logarithm" in opened.page.inner_text("#gain-legend")


def test_claims_are_for_the_thresholds_that_the_page_opened_with(open_page, decay):
    opened = open_page(build_page(decay))
    assert "you have moved them" not in opened.page.inner_text("#claims-note")
    opened.set_threshold("cka", 0.5)
    assert "you have moved them" in opened.page.inner_text("#claims-note")


def test_no_boundary_beside_an_undetermined_cell(open_page, make_table):
    table = make_table(wide=2, high=1, missing=0)
    cka = dataclasses.replace(table.column("cka"), values=np.array([0.5, np.nan]))
    loss = dataclasses.replace(table.column("train_loss"), values=np.array([1.0, np.nan]))
    trace = dataclasses.replace(table.column("hessian_trace"), values=np.array([1.0, np.nan]))
    known = {**table.columns, "cka": cka, "train_loss": loss, "hessian_trace": trace}
    known["mode_connectivity"] = dataclasses.replace(
        table.column("mode_connectivity"), values=np.array([-9.0, -9.0])
    )
    opened = open_page(build_page(dataclasses.replace(table, columns=known)))
    assert opened.page.locator("#phase-canvas path.hatch").count() == 1
    drawn = opened.page.locator("#phase-canvas .boundaries path.over").first
    assert not drawn.get_attribute("d")
