"""Maps and panels: the numbers are read back from the figures."""

import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle

from llt_core.analysis import PHASES, Axis, CellTable, Column, PhaseRule, classify
from llt_core.analysis.table import Sample
from llt_core.errors import RequestError
from llt_core.report.captions import Source
from llt_core.report.colours import Colours, phase_colours
from llt_core.report.display import PHASE_COLOURS, metric_facts
from llt_core.report.grids import Plane
from llt_core.report.inferred import InferredMap
from llt_core.report.maps import NO_VALUE, NOT_POSITIVE
from llt_core.report.panels import FIGURE2, figure2, gain_figure, metric_figure, phase_figure
from llt_core.report.phase_maps import PhaseView, boundaries
from llt_core.store.tables import open_table

kit = runpy.run_path(str(Path(__file__).with_name("tables.py")))
grid, published = kit["grid"], kit["published"]
needs_published = pytest.mark.skipif(not kit["PUBLISHED"].is_dir(), reason="no published tables")
HEADINGS = {"lr_decay": kit["LR_DECAY"], "constant_lr": kit["CONSTANT"]}


def cells_of(mesh):
    """Return the value of each cell of a mesh by the point in its middle, from the mesh alone."""
    corners = np.asarray(mesh.get_coordinates())
    values = np.ma.filled(mesh.get_array().astype(float), np.nan)
    return [
        (corners[i : i + 2, j : j + 2].reshape(4, 2), values[i, j])
        for i in range(values.shape[0])
        for j in range(values.shape[1])
    ]


def around(corners, x, y):
    (left, low), (right, high) = corners.min(axis=0), corners.max(axis=0)
    return left < x < right and low < y < high


@needs_published
@pytest.mark.parametrize("name", ["lr_decay", "constant_lr"])
def test_figure_2_shows_the_published_numbers_cell_by_cell(name):
    _, lines = published(name)
    table = open_table(str(kit["PUBLISHED"] / f"resnet18_cifar10_{name}.csv"))
    meshes = figure2(Source(table), Plane.of(table)).meshes
    drawn = [metric for metric in FIGURE2 if metric in HEADINGS[name]]
    assert set(meshes) == {*drawn, "phases"}
    phases = classify(table).phases
    for metric in (*drawn, "phases"):
        cells = cells_of(meshes[metric])
        assert len(cells) == len(lines)
        for line, phase in zip(lines, phases, strict=True):
            (value,) = [
                v for corners, v in cells if around(corners, line["width"], line["batch_size"])
            ]
            if metric == "phases":
                assert PHASES[int(value)] == phase
                continue
            heading = HEADINGS[name][metric]
            logged = metric.startswith("hessian") and not heading.startswith("log_")
            expected = np.log(line[heading]) if logged else line[heading]
            assert value == pytest.approx(expected, rel=1e-12), (metric, line)


@needs_published
def test_the_whole_panel_names_origin_cells_and_models_and_inverts_the_batch_axis():
    table, _ = published("lr_decay")
    figure = figure2(Source(table), Plane.of(table)).figure
    heading = figure.get_suptitle()
    assert "imported: file lr_decay.csv" in heading
    assert "n = 91 cells · 5 models each · seeds not known" in heading
    panels = [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]
    assert len(panels) == 8
    for axes in panels:
        low, high = axes.get_ylim()
        assert low > 1024 > 16 > high
        assert axes.get_xlim()[0] < 2
        assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
        ticks = set(axes.get_xticks())
        assert ticks <= {2, 4, 8, 16, 32, 64, 128}
    assert panels[4].get_xlabel() == "width   (← load)"


def test_what_the_table_lacks_is_an_empty_panel_that_says_so():
    table = grid(train_loss=lambda w, b: 1 / w, cka=lambda w, b: np.nan)
    drawing = figure2(Source(table), Plane.of(table))
    words = [
        text.get_text().replace("\n", " ") for axes in drawing.figure.axes for text in axes.texts
    ]
    assert "no hessian_trace in the table" in words
    assert "cka: no finite value" in words
    assert set(drawing.meshes) == {"train_loss", "phases"}


def test_where_phases_are_told_by_straight_lines_these_are_shown():
    table = grid(**{name.replace("mode_", "linear_"): value for name, value in PHASED.items()})
    drawing = figure2(Source(table), Plane.of(table))
    assert "linear_connectivity" in drawing.meshes
    assert "linear connectivity: of sharp cells 0" in drawing.figure.get_suptitle().replace(
        "\n", " "
    )


def test_a_caption_says_what_a_mean_is_over():
    table = grid(widths=(2,), cka=lambda w, b: 0.5)
    rows = len(table)
    for models, words in (((0, 1), "mean over pairs of models"), ((0,), "mean over models"),
                          ((0, 1, 2), "of a set of models")):  # fmt: skip
        column = replace(table.column("cka"), samples=((Sample(models, 0.5),),) * rows)
        held = replace(table, columns={"cka": column})
        title = metric_figure(Source(held), "cka", Plane.of(held)).figure.get_suptitle()
        assert words in title.replace("\n", " ")


def test_missing_cells_are_hatched_and_explained():
    table = grid(cka=lambda w, b: np.nan if w == 4 and b == 16 else w)
    drawing = metric_figure(Source(table), "cka", Plane.of(table))
    values = drawing.meshes["cka"].get_array()
    np.testing.assert_array_equal(values.mask, [[False, True, False], [False] * 3])
    (axes, *_) = drawing.figure.axes
    (behind,) = [p for p in axes.patches if isinstance(p, Rectangle)]
    assert behind.get_hatch()
    (legend,) = drawing.figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["no value"]
    assert "1 of 6 cells without a value" in drawing.figure.get_suptitle()
    whole = grid(cka=lambda w, b: w)
    assert not metric_figure(Source(whole), "cka", Plane.of(whole)).figure.legends


def test_nothing_finite_is_an_error_with_the_reason():
    table = grid(cka=lambda w, b: np.nan)
    with pytest.raises(RequestError) as told:
        metric_figure(Source(table), "cka", Plane.of(table))
    assert "not in the table" in told.value.expected


def test_diverging_colours_have_zero_in_the_middle_and_sequential_ones_the_whole_range():
    values = np.array([-3.0, 1.0, np.nan])
    diverging = Colours.of(values, metric_facts("mode_connectivity"))
    assert (diverging.norm.vmin, diverging.norm.vmax) == (-3, 3)
    unknown = Colours.of(values, metric_facts("nobody_knows_it"))
    assert (unknown.norm.vmin, unknown.norm.vmax) == (-3, 3)
    sequential = Colours.of(np.array([0.2, 0.9]), metric_facts("cka"))
    assert (sequential.norm.vmin, sequential.norm.vmax) == (0.2, 0.9)
    constant = Colours.of(np.array([2.0, 2.0]), metric_facts("cka"))
    assert constant.norm.vmin < 2 < constant.norm.vmax


def test_each_code_has_the_colour_of_its_phase():
    colours = phase_colours()
    for code, phase in enumerate(PHASES):
        assert to_hex(colours.map(colours.norm(code))) == PHASE_COLOURS[phase].lower()


PHASED = {
    "train_loss": lambda w, b: 1.0 if w == 2 else 0.0,
    "hessian_trace": lambda w, b: 1.0,
    "mode_connectivity": lambda w, b: {2: -5.0, 4: -5.0, 8: 0.0}[w],
    "cka": lambda w, b: 0.9 if b == 16 else 0.1,
}


def test_boundaries_run_between_cells_of_different_phase_and_nowhere_else():
    table = grid(**PHASED)  # by width: I, III, and IV-B above IV-A
    plane = Plane.of(table)
    lines = boundaries(plane.spread(classify(table).codes), plane)
    x, y = plane.x.edges, plane.y.edges
    expected = [
        *[[(x[j], y[i]), (x[j], y[i + 1])] for i in (0, 1) for j in (1, 2)],
        [(x[2], y[1]), (x[3], y[1])],
    ]
    np.testing.assert_allclose(sorted(lines), sorted(expected))
    figure = phase_figure(Source(table), plane).figure
    drawn = [c for c in figure.axes[0].collections if isinstance(c, LineCollection)]
    assert sum(len(c.get_segments()) for c in drawn) == 5
    assert {text.get_text() for text in figure.axes[0].texts} == {"I", "III", "IV-A", "IV-B"}


def test_no_boundary_beside_an_undetermined_cell():
    table = grid(
        widths=(2, 4),
        batches=(16,),
        **PHASED | {"mode_connectivity": lambda w, b: np.nan if w == 4 else -5},
    )
    plane = Plane.of(table)
    assert classify(table).counts["undetermined"] == 1
    assert boundaries(plane.spread(classify(table).codes), plane) == []
    figure = phase_figure(Source(table), plane).figure
    assert any("open: 1" in t.get_text() for t in figure.axes[1].get_yticklabels())


def test_the_shade_of_a_cell_follows_how_often_its_models_repeat_the_phase():
    table = grid(widths=(2,), **PHASED)
    mixed = tuple(Sample((m,), v) for m, v in enumerate((0.0, 0.001, 0.2)))
    same = tuple(Sample((m,), 1.0) for m in range(3))
    samples = tuple(mixed if b == 16 else same for b in table.axes[1].values)
    means = np.array([np.mean([s.value for s in row]) for row in samples])
    loss = Column("train_loss", means, "nats", np.full(2, 0.05), np.full(2, 3), (), samples)
    exact = {
        name: Column(name, column.values, standard_errors=np.zeros(2))
        for name, column in table.columns.items()
    }
    sure = CellTable("t", table.axes, exact | {"train_loss": loss}, models=np.full(2, 3))
    view = PhaseView.of(Source(sure))
    by_batch = dict(zip(sure.axes[1].values, view.sure, strict=True))
    assert by_batch[64] == 1
    assert 0.5 < by_batch[16] < 0.9  # the draws without the third model are flat: (2/3)³ = 0.30
    mesh = phase_figure(Source(sure), Plane.of(sure)).meshes["phases"]
    strength = np.asarray(mesh.get_alpha())
    assert strength[1, 0] == 1
    assert strength[0, 0] == pytest.approx(0.25 + 0.75 * by_batch[16])
    unknown = PhaseView.of(Source(grid(**PHASED)))
    assert np.isnan(unknown.sure).all()
    assert "no shading" in unknown.describe()


def test_inferred_cells_are_pale_and_counted_apart():
    table = grid(widths=(2, 4), **PHASED)
    gone = table.axis("width").numbers == 4
    columns = {
        name: replace(column, values=np.where(gone, np.nan, column.values), reasons=())
        for name, column in table.columns.items()
    }
    part = replace(table, columns=columns)
    rows = np.flatnonzero(gone)
    axes = tuple(Axis(a.name, tuple(a.values[row] for row in rows)) for a in table.axes)
    found = InferredMap(axes, ("III",) * len(rows), rule=PhaseRule())
    source = Source(part, inferred=found)
    drawing = phase_figure(source, Plane.of(part))
    mesh = drawing.meshes["phases"]
    codes, strength = np.asarray(mesh.get_array()), np.asarray(mesh.get_alpha())
    assert (codes[:, 1] == 2).all()
    assert (strength[:, 1] < 0.5).all()
    whole = phase_figure(Source(table), Plane.of(table)).meshes["phases"].get_array()
    assert (codes[:, 0] == np.asarray(whole)[:, 0]).all()
    key = [text.get_text() for text in drawing.figure.axes[1].get_yticklabels()]
    assert f"III: 0 + {len(rows)}" in key
    assert "not measured but inferred" in PhaseView.of(source).describe()
    guessed, measured = drawing.figure.axes[0].collections[-2:]
    assert len(measured.get_segments()) == len(
        boundaries(np.where(np.arange(2) == 0, codes, np.nan), Plane.of(part))
    )
    assert len(guessed.get_segments()) + len(measured.get_segments()) == len(
        boundaries(codes.astype(float), Plane.of(part))
    )
    assert guessed.get_linewidth() < measured.get_linewidth()
    # Other thresholds: nobody has concluded anything with them.
    other = PhaseView.of(source, PhaseRule(cka=0.1))
    assert (other.inferred < 0).all()


def test_a_gain_is_the_difference_of_what_lies_at_the_same_values():
    here = grid(widths=(2, 4, 8), test_accuracy=lambda w, b: 10 * w + b)
    there = grid(widths=(4, 8, 16), name="old", test_accuracy=lambda w, b: 10 * w)
    drawing = gain_figure(Source(here), Source(there), "test_accuracy")
    mesh = drawing.meshes["test_accuracy"]
    values = np.ma.filled(mesh.get_array(), np.nan)
    np.testing.assert_allclose(values, [[np.nan, 16, 16], [np.nan, 64, 64]])
    assert (mesh.norm.vmin, mesh.norm.vmax) == (-64, 64)
    assert "4 cells in both, mean gain 40" in drawing.figure.get_suptitle()


def test_a_gain_of_traces_is_a_ratio():
    here = grid(hessian_trace=lambda w, b: 2.0 * w)
    there = grid(hessian_trace=lambda w, b: 1.0 * w)
    values = gain_figure(Source(here), Source(there), "hessian_trace").meshes["hessian_trace"]
    np.testing.assert_allclose(values.get_array(), np.log(2))


def test_tables_without_a_common_cell_have_no_gain():
    here = grid(widths=(2,), cka=lambda w, b: w)
    there = grid(widths=(4,), cka=lambda w, b: w)
    with pytest.raises(RequestError, match="share no cell"):
        gain_figure(Source(here), Source(there), "cka")


def test_only_missing_cells_are_hatched():
    table = grid(cka=lambda w, b: np.nan if (w, b) == (4, 16) else w)
    axes = metric_figure(Source(table), "cka", Plane.of(table)).figure.axes[0]
    (hatched,) = [p for p in axes.patches if isinstance(p, Rectangle) and p.get_hatch()]
    left, right = hatched.get_x(), hatched.get_x() + hatched.get_width()
    assert left < 4 < right
    assert left > 2
    assert right < 8
    assert hatched.get_y() < 16 < hatched.get_y() + hatched.get_height() < 64


def patches(figure):
    """Return hatch and place of the patches of the first panel, by their label."""
    found = {}
    for patch in figure.axes[0].patches:
        middle = patch.get_x() + patch.get_width() / 2, patch.get_y() + patch.get_height() / 2
        found.setdefault(patch.get_label(), []).append((patch.get_hatch(), middle))
    return found


def test_a_mean_without_a_logarithm_is_not_called_missing():
    traces = {(2, 16): -3.0, (4, 16): 0.0, (8, 16): np.nan}
    table = grid(hessian_trace=lambda w, b: traces.get((w, b), w))
    drawing = metric_figure(Source(table), "hessian_trace", Plane.of(table))
    found = patches(drawing.figure)
    assert {label: len(held) for label, held in found.items()} == {NOT_POSITIVE: 2, NO_VALUE: 1}
    hatches = [{hatch for hatch, _ in held} for held in found.values()]
    assert hatches[0].isdisjoint(hatches[1])
    assert found[NO_VALUE][0][1][0] > 4 * 2**0.5  # beyond the edge between 4 and 8
    (legend,) = drawing.figure.legends
    assert {text.get_text() for text in legend.get_texts()} == {NOT_POSITIVE, NO_VALUE}
    assert "1 of 6 cells without a value" in drawing.figure.get_suptitle()
    (legend,) = figure2(Source(table), Plane.of(table)).figure.legends
    assert {text.get_text() for text in legend.get_texts()} == {NOT_POSITIVE, NO_VALUE}


def test_a_gain_without_a_logarithm_is_not_called_missing():
    here = grid(hessian_trace=lambda w, b: -1.0 if (w, b) == (2, 16) else w)
    there = grid(hessian_trace=lambda w, b: np.nan if (w, b) == (8, 16) else 1.0)
    figure = gain_figure(Source(here), Source(there), "hessian_trace").figure
    counts = {label: len(held) for label, held in patches(figure).items()}
    assert counts == {NOT_POSITIVE: 1, "not in both": 1}


def test_different_fields_have_no_gain():
    here = grid(cka=lambda w, b: w)
    there = replace(here, axes=(replace(here.axes[0], name="data.width"), here.axes[1]))
    with pytest.raises(RequestError, match="varies in one of them only"):
        gain_figure(Source(here), Source(there), "cka")


def test_advice_has_whole_names_where_short_ones_are_two_axes():
    base = grid(cka=lambda w, b: w)
    axes = (
        Axis("data_subset.fraction", (1.0,) * 6),
        Axis("perturbation.label_noise.fraction", (0.1, 0.2) * 3),
        base.axes[1],
    )
    table = replace(base, axes=axes)
    with pytest.raises(RequestError) as caught:
        Plane.of(table, "data_subset.fraction", "batch_size")
    assert '"perturbation.label_noise.fraction == 0.1"' in str(caught.value)
