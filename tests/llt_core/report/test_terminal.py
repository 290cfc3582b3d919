"""Plots of characters: the dots, bars and shades are where the values are."""

import runpy
from pathlib import Path

import numpy as np
import pytest

from llt_core.interfaces import Figure
from llt_core.report import Panel
from llt_core.report.canvas import Canvas
from llt_core.report.terminal import HEIGHT, draw

kit = runpy.run_path(str(Path(__file__).with_name("conftest.py")))
ARRAYS, FIGURES = kit["ARRAYS"], kit["FIGURES"]


def drawn(figure, arrays=ARRAYS, width=80):
    return [line.plain for line in draw(Panel("wave", figure, arrays), width)]


def dots(lines):
    """Return which dots of braille characters are set, (4·rows, 2·columns), from the top."""
    bits = [[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]]
    found = np.zeros((4 * len(lines), 2 * max(map(len, lines))), dtype=bool)
    for row, line in enumerate(lines):
        for column, character in enumerate(line):
            code = ord(character) - 0x2800
            if 0 <= code < 256:
                for down in range(4):
                    for right in range(2):
                        found[4 * row + down, 2 * column + right] = bool(code & bits[down][right])
    return found


def picture(lines):
    """Return what stands to the right of the axis."""
    return [line[line.index(mark) + 1 :] for line in lines for mark in "┤│" if mark in line]


def test_a_canvas_sets_the_dots_of_a_line():
    canvas = Canvas(8, 4)
    canvas.line(np.array([0.0, 1.0]), np.array([0.0, 1.0]), 0)
    assert np.array_equal(dots([line.plain.ljust(8) for line in canvas.lines()]), np.eye(16)[::-1])


def test_a_gap_stays_a_gap():
    x = np.linspace(0, 1, 5)
    canvas = Canvas(20, 1)
    canvas.line(x, np.array([0.5, 0.5, np.nan, 0.5, 0.5]), 0)
    columns = dots([line.plain.ljust(20) for line in canvas.lines()]).any(0)
    assert columns[:11].all()
    assert not columns[11:29].any()
    assert columns[29:].all()


def test_a_deep_valley_of_a_density_does_not_flatten_its_peaks():
    x = np.linspace(-3, 3, 201)
    arrays = {"x": x, "y": np.exp(-300 * (x**2 - 4) ** 2)}
    figure = Figure(kind="line", title="Two peaks", x="x", y=("y",), y_log=True)
    rows = picture(drawn(figure, arrays, 60))
    reached = [row for row in range(HEIGHT) if rows[row].strip()]
    assert reached == list(range(HEIGHT))
    middle = [row[25:31].strip() for row in rows]
    assert middle == [""] * HEIGHT


def test_every_point_of_a_curve_is_at_its_height():
    t = np.linspace(0, 1, 101)
    arrays = {"t": t, "y": 3 + 2 * np.sin(2 * np.pi * t)}
    lines = drawn(Figure(kind="line", title="Sine", x="t", y=("y",)), arrays, 60)
    found = dots([row.ljust(60) for row in picture(lines)])
    width = 2 * max(len(row) for row in picture(lines))
    for at, value in zip(t, arrays["y"], strict=True):
        column, height = round(at * (width - 1)), (value - 1) / 4 * (4 * HEIGHT - 1)
        rows = 4 * HEIGHT - 1 - np.flatnonzero(found[:, column])
        assert np.abs(rows - height).min() <= 1


def test_axis_numbers_stand_at_their_height_and_place():
    arrays = {"x": np.array([1.0, 1000.0]), "y": np.array([0.0, 10.0])}
    figure = Figure(
        kind="line", title="T", x="x", y=("y",), x_log=True, x_label="width", y_label="error (%)"
    )
    lines = drawn(figure, arrays, 60)
    assert lines[:2] == ["T", "error (%)"]
    assert lines[2].startswith("10 ┤")
    assert lines[1 + HEIGHT].startswith(" 0 ┤")
    assert lines[-2].split() == ["1", "10", "100", "1000"]
    assert lines[-2].index("1000") == 56
    assert lines[-1].strip() == "width"


def test_several_curves_are_told_apart_without_colours():
    lines = drawn(FIGURES["line"])
    text = "\n".join(picture(lines))
    assert text.count("a") == 5
    assert text.count("b") == 4  # the value that is not finite has no place
    assert lines[-1] == "  a training   b held out (dots: ± one standard error)"
    one = drawn(Figure(kind="line", title="T", x="t", y=("train",)))
    assert "\n".join(one).count("•") == 5


def test_bands_surround_their_curve():
    arrays = {"t": np.linspace(0, 1, 50), "y": np.zeros(50), "e": np.ones(50)}
    figure = Figure(kind="line", title="T", x="t", y=("y",), band=("e",))
    found = dots([row.ljust(80) for row in picture(drawn(figure, arrays))])
    filled = np.flatnonzero(found[:, 0])
    assert filled.min() <= 2
    assert filled.max() >= 4 * HEIGHT - 3
    plain = figure.model_copy(update={"band": ()})
    assert not dots([row.ljust(80) for row in picture(drawn(plain, arrays))])[:9].any()


def test_bars_are_as_long_as_their_values():
    arrays = {"v": np.array([4.0, -2.0, 1.0, np.nan]), "e": np.array([0.5, 0.1, 0.2, 0.1])}
    names = ("conv1", "bn1", "fc", "lost")
    figure = Figure(kind="bars", title="B", y=("v",), band=("e",), labels=names, y_label="nats")
    title, unit, *rows = drawn(figure, arrays, 80)
    assert (title, unit) == ("B", "nats")
    lengths = [row.count("█") for row in rows]
    assert lengths[0] == pytest.approx(2 * lengths[1], abs=1)
    assert lengths[0] == pytest.approx(4 * lengths[2], abs=4)
    assert lengths[3] == 0
    assert [row.split()[0] for row in rows] == list(names)
    assert rows[0].endswith("4 ± 0.5")
    assert rows[3].endswith("  not finite")
    # Zero is where bars of both signs begin.
    assert rows[1].rindex("█") + 1 == rows[0].index("█") == rows[2].index("█")


def test_many_bars_are_cut_with_a_word():
    rows = drawn(Figure(kind="bars", title="B", y=("v",)), {"v": np.ones(50)})
    assert len(rows) == 42
    assert rows[-1] == "… 10 more"


def test_a_histogram_counts_everything():
    figure = Figure(kind="histogram", title="H", y=("a", "b"), labels=("one", "two"))
    arrays = {"a": np.arange(100.0), "b": np.array([5.0, 5.0, np.nan])}
    rows = drawn(figure, arrays)
    start = rows.index("two")
    counts = [int(row.split()[-1]) for row in rows[rows.index("one") + 1 : start]]
    assert sum(counts) == 100
    assert sum(int(row.split()[-1]) for row in rows[start + 1 : -1]) == 2
    assert rows[-1] == "1 not finite or not on the axis"


def test_a_small_matrix_shows_its_numbers():
    title, first, second, legend = drawn(FIGURES["matrix"])
    assert title == "Pairs"
    assert first.split() == ["a", "@", "1", ":", "-0.5"]
    assert second.split() == ["b", "-", "-0.25", "#", "0.5"]
    assert legend == "cosine: ' ' -1 … '@' 1, zero between = and +"


def test_a_large_matrix_is_shaded():
    z = np.add.outer(np.arange(100.0), np.arange(60.0))
    z[0, 0] = np.nan
    rows = drawn(Figure(kind="matrix", title="M", z="z"), {"z": z}, 70)[1:]
    assert rows[0].startswith(" 0 ?")
    assert rows[-2].startswith("99 ")
    assert len(rows) == 25
    assert rows[-2][-1] == "@"
    assert "? not finite" in rows[-1]


def test_a_surface_has_y_upwards():
    arrays = ARRAYS | {"bowl": np.add.outer(4 * np.arange(4.0), np.arange(9.0))}
    rows = drawn(FIGURES["surface"], arrays)[1:]
    assert rows[0].split()[0] == "-0.25"
    assert rows[0].endswith("@@")
    assert rows[3].split()[0] == "-1"
    assert rows[3].split("-1 ")[1].startswith("  ")
    assert rows[5].strip() == "x: first direction   y: second direction"
    assert rows[6] == "loss (nats): ' ' 0 … '@' 20"


@pytest.mark.parametrize("kind", FIGURES)
@pytest.mark.parametrize("width", [10, 40, 61, 200])
def test_no_line_is_wider_than_asked(kind, width):
    long = FIGURES[kind].model_copy(update={"title": "long " * 60, "y_label": "y" * 300})
    for line in draw(Panel("wave", long, ARRAYS), width):
        assert line.cell_len <= max(width, 30)


def test_one_value_is_enough():
    arrays = {"x": np.array([3.0]), "y": np.array([2.0]), "z": np.array([[2.0]])}
    for figure in (
        Figure(kind="line", title="", x="x", y=("y",)),
        Figure(kind="line", title="", x="x", y=("y",), x_log=True, y_log=True),
        Figure(kind="scatter", title="", x="x", y=("y",)),
        Figure(kind="histogram", title="", y=("y",)),
        Figure(kind="matrix", title="", z="z"),
        Figure(kind="surface", title="", x="x", y=("y",), z="z"),
    ):
        assert len(drawn(figure, arrays)) >= 3
    assert "█" in drawn(Figure(kind="bars", title="", y=("y",)), arrays)[1]
