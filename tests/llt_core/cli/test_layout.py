"""Text and tables in terminals of any width."""

import io

import pytest
from rich.console import Console
from rich.text import Text

from llt_core.cli.layout import break_between, fitted, reflow

COLUMNS = ("metric", "value", "n", "sec")
ROWS = [("hessian_trace", "3.84 ± 0.19", "84 vectors", "89.2"), ("loss [noisy]", "1", "2", "3")]


def printed(width, **more):
    console = Console(file=io.StringIO(), width=width)
    rows = [[cell.replace("[", r"\[") for cell in row] for row in ROWS]
    console.print(fitted(console, COLUMNS, rows, **more))
    return console.file.getvalue().splitlines()


def test_a_table_gives_up_spare_columns_one_after_the_other():
    wide = printed(80, spare=("sec", "n"))
    assert wide[0].split() == ["metric", "value", "n", "sec"]
    assert printed(41, spare=("sec", "n"))[0].split() == ["metric", "value", "n", "sec"]
    assert printed(40, spare=("sec", "n"))[0].split() == ["metric", "value", "n"]
    narrow = printed(30, spare=("sec", "n"))
    assert narrow[0].split() == ["metric", "value"]
    assert narrow[2].startswith("loss [noisy]")


def test_two_columns_may_be_called_alike():
    console = Console(file=io.StringIO(), width=40)
    console.print(fitted(console, ("seed", "metric", "seed"), [("1", "norm", "1+2")]))
    assert console.file.getvalue().splitlines()[1].split() == ["1", "norm", "1+2"]


def test_a_table_too_narrow_for_what_is_needed_folds():
    lines = printed(18, spare=("sec", "n"), whole=("value",))
    assert max(map(len, lines)) <= 18
    assert all("3.84 ± 0.19" not in line or line.startswith("hess") for line in lines)
    assert "3.84 ± 0.19" in "\n".join(lines)


@pytest.mark.parametrize("width", [20, 33, 80])
def test_lines_break_between_parts_only(width):
    parts = [f"key{number} = {number}" for number in range(12)]
    lines = break_between(parts, "  ", width).split("\n")
    assert [part for line in lines for part in line.split("  ")] == parts
    assert max(map(len, lines)) <= width
    assert len(lines) == 1 or len(lines[0]) + 2 + len(parts[0]) > width - 2


def test_a_docstring_is_reflowed_and_its_marks_become_styles():
    text = reflow(
        "One sentence over\ntwo lines with ``code``.\n\n"
        "*Error.* Of :class:`Thing` and t* too.\n\n"
        "* first item\n  goes on\n* second\n\n"
        "    x = 1\n    y = 2",
        60,
    )
    assert text.plain.split("\n") == [
        "One sentence over two lines with code.",
        "",
        "Error. Of Thing and t* too.",
        "",
        "* first item goes on",
        "* second",
        "",
        "    x = 1",
        "    y = 2",
    ]
    styled = {text.plain[span.start : span.end]: str(span.style) for span in text.spans}
    assert (styled["code"], styled["Thing"], styled["Error."]) == ("cyan", "cyan", "italic")
    assert isinstance(text, Text)


def test_no_line_of_a_docstring_is_too_long():
    lines = reflow("* " + "word " * 40 + "\n\n" + "word " * 40, 33).plain.split("\n")
    assert max(map(len, lines)) <= 33
    assert all(line.startswith(("* ", "  word", "word", "")) for line in lines)
