"""Text and tables that fit the terminal."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

ITEM = re.compile(r"[-*] |\d+\. ")
INLINE = re.compile(
    r"(?::\w+:)?``(?P<double>.+?)``|(?::\w+:)?`(?P<code>.+?)`"
    r"|\*\*(?P<strong>.+?)\*\*|(?<![\w*])\*(?P<stress>\w[^*]*?)\*(?![\w*])"
)
STYLES = {"double": "cyan", "code": "cyan", "strong": "bold", "stress": "italic"}


def edgeless(*columns: str) -> Table:
    """Return a table without lines."""
    return Table(*columns, box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")


def break_between(parts: Sequence[str], separator: str, width: int) -> str:
    r"""Join ``parts``, with a line end in place of a separator's spaces where needed.

    >>> break_between(["a = 1", "b = 2", "c = 3"], ", ", 13)
    'a = 1, b = 2,\nc = 3'
    """
    text, column = "", 0
    for number, part in enumerate(parts):
        piece = part if number == len(parts) - 1 else part + separator
        if column and column + len(piece.rstrip()) > width:
            text, column = f"{text.rstrip()}\n", 0
        text += piece
        # The console itself breaks a part that is longer than a line.
        column = len(piece) % width if len(piece) > width else column + len(piece)
    return text


def fitted(
    console: Console,
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    spare: Sequence[str] = (),
    right: Sequence[str] = (),
    whole: Sequence[str] = (),
) -> Table:
    """Return a table; where it would not fit, without some of its ``spare`` columns.

    Parameters
    ----------
    rows
        Cells in markup, one for each column.
    spare
        Columns one can do without, the least useful first.
    right
        Columns that end at the same place.
    whole
        Columns whose cells take one line each, as long as there is room for anything else.
    """
    held, kept = list(rows), list(range(len(columns)))  # places: two columns may be called alike
    for name in (None, *spare):
        kept = [place for place in kept if columns[place] != name]
        table = edgeless()
        for column in (columns[place] for place in kept):
            table.add_column(
                column,
                justify="right" if column in right else "left",
                no_wrap=column in whole,
                overflow="ellipsis" if column in whole else "fold",
            )
        for row in held:
            table.add_row(*(row[place] for place in kept))
        unbounded = console.options.update(max_width=10_000)
        if console.measure(table, options=unbounded).maximum <= console.width:
            break
    return table


def reflow(description: str, width: int) -> Text:
    """Return a docstring in lines of ``width``, its marks of code and stress as styles.

    Blank lines part paragraphs; indented lines stay as they are, list items begin lines.

    >>> print(reflow("It is\\nthe *best* of ``x``.", 30))
    It is the best of x.
    """
    lines: list[Text] = []
    for paragraph in re.split(r"\n\s*\n", description):
        if lines:
            lines.append(Text())
        for block in _blocks(paragraph.splitlines()):
            if block.startswith(" "):
                lines.append(Text(block))
                continue
            hanging = len(match[0]) if (match := ITEM.match(block)) else 0
            wrapped = _styled(block).wrap(Console(width=width), width - hanging)
            lines += [
                Text(" " * hanging * (number > 0)).append_text(line)
                for number, line in enumerate(wrapped)
            ]
    for line in lines:
        line.rstrip()
    return Text("\n").join(lines)


def _blocks(lines: list[str]) -> list[str]:
    """Join the lines of each running text and each list item; others stand alone."""
    blocks: list[str] = []
    for line in lines:
        continues = blocks and not ITEM.match(line) and not blocks[-1].startswith(" ")
        if continues and (not line.startswith(" ") or ITEM.match(blocks[-1])):
            blocks[-1] += " " + line.strip()
        else:
            blocks.append(line)
    return blocks


def _styled(text: str) -> Text:
    styled, end = Text(), 0
    for match in INLINE.finditer(text):
        kind = match.lastgroup or ""
        styled.append(text[end : match.start()])
        styled.append(match[kind], style=STYLES[kind])
        end = match.end()
    return styled.append(text[end:])
