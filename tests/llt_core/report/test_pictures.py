"""Pictures: what matplotlib was told to draw is what was stored."""

import runpy
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.collections import PathCollection
from matplotlib.colors import LogNorm, to_hex
from PIL import Image

from llt_core.errors import LltError, RequestError
from llt_core.interfaces import Figure
from llt_core.report.axes import COLOURS, draw_panel
from llt_core.report.pictures import picture, save

kit = runpy.run_path(str(Path(__file__).with_name("conftest.py")))
ARRAYS, FIGURES = kit["ARRAYS"], kit["FIGURES"]


@pytest.fixture
def axes_of(stored):
    """Return a function that draws one figure and returns its axes."""

    def draw(figure, arrays=ARRAYS):
        return picture(stored([figure], arrays)).axes[0]

    return draw


def test_lines_bands_names_and_units(axes_of):
    axes = axes_of(FIGURES["line"])
    for line, name, colour in zip(axes.lines, ("train", "test"), COLOURS, strict=False):
        assert np.array_equal(line.get_xdata(), ARRAYS["t"])
        assert np.array_equal(line.get_ydata(), ARRAYS[name], equal_nan=True)
        assert to_hex(line.get_color()).upper() == colour
    (band,) = axes.collections
    corners = {tuple(point) for point in band.get_paths()[0].vertices}
    for t, y, error in zip(*(ARRAYS[name] for name in ("t", "train", "error")), strict=True):
        assert {(t, y - error), (t, y + error)} <= corners
    assert (axes.get_title(), axes.get_xlabel(), axes.get_ylabel()) == (
        "Along the curve", "t", "loss (nats)",
    )  # fmt: skip
    legend = axes.get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["training", "held out"]
    assert "± 1 standard error" in legend.get_title().get_text()


def test_logarithmic_axes(axes_of):
    figure = FIGURES["line"].model_copy(update={"x_log": True, "y_log": True})
    arrays = ARRAYS | {"error": ARRAYS["train"] * 2}  # bands reach below zero
    axes = axes_of(figure, arrays)
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    (band,) = axes.collections
    assert band.get_paths()[0].vertices[:, 1].min() > 0


def test_scatter_points_with_error_bars(axes_of):
    axes = axes_of(FIGURES["scatter"])
    (points,) = [found for found in axes.collections if isinstance(found, PathCollection)]
    assert np.array_equal(points.get_offsets(), np.stack([ARRAYS["t"], ARRAYS["train"]], axis=1))
    (bars,) = [found for found in axes.collections if not isinstance(found, PathCollection)]
    for bar, y, error in zip(bars.get_segments(), ARRAYS["train"], ARRAYS["error"], strict=True):
        assert bar[:, 1].tolist() == [y - error, y + error]


def test_bars_with_names_and_errors(axes_of):
    axes = axes_of(FIGURES["bars"])
    assert [bar.get_width() for bar in axes.patches] == ARRAYS["train"].tolist()
    assert [text.get_text() for text in axes.get_yticklabels()] == list(FIGURES["bars"].labels)
    (errors,) = axes.collections
    for bar, y, error in zip(errors.get_segments(), ARRAYS["train"], ARRAYS["error"], strict=True):
        assert bar[:, 0].tolist() == [y - error, y + error]
    bottom, top = axes.get_ylim()
    assert bottom > top  # the first entry stands on top
    assert axes.get_xlabel() == "trace (nats), ± 1 standard error"


def test_a_bar_that_is_not_finite_says_so(axes_of):
    figure = Figure(kind="bars", title="B", y=("test",))
    texts = {text.get_text(): text.get_position()[1] for text in axes_of(figure).texts}
    assert texts == {"not finite": 2.0}


def test_histogram_counts(axes_of):
    axes = axes_of(FIGURES["histogram"])
    assert sum(bar.get_height() for bar in axes.patches) == len(ARRAYS["samples"])
    assert axes.get_xlabel() == "value (nats)"
    assert axes.get_ylabel() == "count"


def test_a_signed_matrix_has_zero_in_the_middle_of_diverging_colours(axes_of):
    axes = axes_of(FIGURES["matrix"])
    (image,) = axes.images
    assert np.array_equal(image.get_array(), ARRAYS["signed"])
    assert (image.norm.vmin, image.norm.vmax) == (-1.0, 1.0)
    assert image.cmap.name == "RdBu_r"
    assert [text.get_text() for text in axes.texts] == ["1", "-0.5", "-0.25", "0.5"]
    for ticks in (axes.get_xticklabels(), axes.get_yticklabels()):
        assert [text.get_text() for text in ticks] == ["a", "b"]
    assert [other.get_ylabel() for other in axes.figure.axes[1:]] == ["cosine"]


def test_a_surface_has_contours_and_its_lowest_point(axes_of):
    axes = axes_of(FIGURES["surface"])
    filled, lines = axes.collections
    bowl = ARRAYS["bowl"]
    assert filled.cmap.name == "viridis"
    assert filled.levels[0] <= bowl.min() < bowl.max() <= filled.levels[-1]
    assert set(lines.levels) < set(filled.levels)
    assert (axes.get_xlim(), axes.get_ylim()) == ((-1, 1), (-1, -0.25))
    # The bowl is lowest at x = 0 and, of the rows drawn, at y = -0.25.
    for mark in axes.lines:
        assert (mark.get_xdata(), mark.get_ydata()) == ([0.0], [-0.25])
    assert axes.get_legend().get_texts()[0].get_text() == "lowest: 1.06"


def test_a_steep_surface_has_logarithmic_colours(axes_of):
    arrays = ARRAYS | {"bowl": 10 ** (ARRAYS["bowl"] * 4)}
    filled = axes_of(FIGURES["surface"], arrays).collections[0]
    assert isinstance(filled.norm, LogNorm)
    assert filled.levels[0] <= arrays["bowl"].min() < arrays["bowl"].max() <= filled.levels[-1]


def test_all_figures_become_panels_under_one_heading(stored):
    found = picture(stored(FIGURES.values()))
    titles = [axes.get_title() for axes in found.axes if axes.get_title()]
    assert titles == [figure.title for figure in FIGURES.values()]
    heading = found.get_suptitle()
    assert heading == "wave\ndigits · mlp(width=8) · seed 0 · n = 7 points"


def test_the_heading_names_parameters_seeds_and_perturbations(stored):
    noise = {"name": "llt/label_noise", "version": 1, "parameters": {"fraction": 0.1}}
    result = stored(
        [FIGURES["line"]],
        parameters={"bends": 5},
        seeds=[0, 1],
        perturbations=[noise],
    )
    assert picture(result).get_suptitle() == (
        "wave(bends=5)\n"
        "digits + label_noise(fraction=0.1) · mlp(width=8) · seeds 0+1 · n = 7 points"
    )


def test_a_history_is_drawn(trained):
    loss, accuracy = (axes.lines[0].get_ydata() for axes in picture(trained((2.0, None, 0.5))).axes)
    assert np.array_equal(loss, [2.0, np.nan, 0.5], equal_nan=True)
    assert accuracy.tolist() == [50.0] * 3


def test_every_format_names_its_cell_and_is_the_same_twice(stored, tmp_path):
    result = stored([FIGURES["line"], FIGURES["surface"]])
    before = dict(matplotlib.rcParams)
    for name in ("a.png", "a.pdf", "a.svg"):
        first, second = tmp_path / name, tmp_path / f"again-{name}"
        save(result, first)
        save(result, second)
        assert first.read_bytes() == second.read_bytes()
        if name != "a.png":
            assert result.record.digest.encode() in first.read_bytes()
    assert Image.open(tmp_path / "a.png").info["Source"] == f"llt cell {result.record.digest}"
    assert "wave" in Image.open(tmp_path / "a.png").info["Title"]
    assert dict(matplotlib.rcParams) == before
    assert len(list(tmp_path.glob(".*"))) == 0


def test_what_cannot_be_drawn_or_written(stored, tmp_path):
    result = stored([FIGURES["line"]])
    with pytest.raises(RequestError, match="names no picture format") as caught:
        save(result, tmp_path / "a.jpg")
    assert "png, pdf, svg" in caught.value.expected
    with pytest.raises(LltError, match="cannot write the picture"):
        save(result, tmp_path / "none" / "a.png")
    with pytest.raises(RequestError, match="not how to draw them"):
        save(stored([], number=1), tmp_path / "a.png")
    broken = stored([FIGURES["line"]], arrays={"t": np.zeros(2)}, number=2)
    with pytest.raises(LltError, match="'train', which is not stored"):
        save(broken, tmp_path / "a.png")
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_degenerate_arrays_are_drawn(axes_of, tmp_path):
    one = {"x": np.array([3.0]), "y": np.array([2.0]), "z": np.array([[2.0]])}
    holes = np.array([[1.0, np.nan, 3.0], [2.0, 2.0, np.inf], [np.nan, np.nan, np.nan]])
    axis = np.arange(3.0)
    grids = [{"x": axis, "y": axis, "z": z} for z in (holes, np.ones((3, 3)))]
    for arrays in (one, *grids):
        for figure in (
            Figure(kind="line", title="", x="x", y=("y",), x_log=True, y_log=True),
            Figure(kind="histogram", title="", y=("z",), x_log=True),
            Figure(kind="matrix", title="", z="z"),
            Figure(kind="surface", title="", x="x", y=("y",), z="z"),
        ):
            axes_of(figure, arrays).figure.savefig(tmp_path / "a.png")


def test_panels_can_be_drawn_on_axes_of_ones_own(stored):
    from matplotlib.figure import Figure as Canvas

    (panel,) = stored([FIGURES["line"]]).panels
    axes = Canvas().add_subplot()
    draw_panel(panel, axes)
    assert len(axes.lines) == 2
