"""A grid of characters with eight dots each (Unicode braille), for plots in a terminal."""

from __future__ import annotations

import numpy as np
from rich.text import Text

from llt_core.report.scales import Floats

STYLES = ("cyan", "yellow", "magenta", "green", "blue", "red")
"""One colour a series; without colours, letters tell them apart."""

_BITS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])
_BRAILLE = 0x2800


class Canvas:
    """``width × height`` characters; positions run from 0 to 1, upwards and to the right."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self._bits = np.zeros((height, width), dtype=np.int64)
        self._owner = np.full((height, width), -1)
        self._letters: dict[tuple[int, int], str] = {}

    def line(self, x: Floats, y: Floats, series: int) -> None:
        """Draw straight lines from point to point; NaN interrupts them.

        Parameters
        ----------
        x, y
            Positions, each ``(N,)``.
        """
        self.points(x, y, series)
        columns, rows = x * (2 * self.width - 1), y * (4 * self.height - 1)
        for start in range(len(x) - 1):
            (x0, x1), (y0, y1) = columns[start : start + 2], rows[start : start + 2]
            length = max(abs(x1 - x0), abs(y1 - y0))
            if np.isfinite(length):
                part = np.linspace(0, 1, int(length) + 2)
                self._set(x0 + part * (x1 - x0), y0 + part * (y1 - y0), series)

    def points(self, x: Floats, y: Floats, series: int) -> None:
        """Draw one dot at each position."""
        self._set(x * (2 * self.width - 1), y * (4 * self.height - 1), series)

    def band(self, x: Floats, low: Floats, high: Floats, series: int) -> None:
        """Fill between ``low`` and ``high``, each ``(N,)``, with every other dot."""
        held = np.isfinite(x) & np.isfinite(low) & np.isfinite(high)
        if held.sum() < 2:
            return
        order = np.argsort(x[held])
        columns = np.arange(0, 2 * self.width, 2)
        places = columns / (2 * self.width - 1)
        places = places[(places >= x[held].min()) & (places <= x[held].max())]
        ends = [np.interp(places, x[held][order], y[held][order]) for y in (low, high)]
        for row in range(0, 4 * self.height, 2):
            level = row / (4 * self.height - 1)
            inside = places[(ends[0] <= level) & (level <= ends[1])]
            self.points(inside, np.full(len(inside), level), series)

    def letter(self, x: float, y: float, letter: str, series: int) -> None:
        """Write a letter over the character at a position."""
        if 0 <= x <= 1 and 0 <= y <= 1:
            column = round(x * (2 * self.width - 1)) // 2
            row = self.height - 1 - round(y * (4 * self.height - 1)) // 4
            self._letters[row, column] = letter
            self._owner[row, column] = series

    def lines(self) -> list[Text]:
        """Return the rows from top to bottom, coloured by series."""
        texts = []
        for row in range(self.height):
            text = Text()
            for column in range(self.width):
                bits = int(self._bits[row, column])
                character = chr(_BRAILLE + bits) if bits else " "
                owner = int(self._owner[row, column])
                text.append(
                    self._letters.get((row, column), character),
                    style=STYLES[owner % len(STYLES)] if owner >= 0 else "",
                )
            texts.append(text)
        return texts

    def _set(self, columns: Floats, rows: Floats, series: int) -> None:
        columns, rows = np.rint(columns), np.rint(rows)
        inside = (columns >= 0) & (columns < 2 * self.width)  # NaN is never inside
        inside &= (rows >= 0) & (rows < 4 * self.height)
        x, down = columns[inside].astype(int), 4 * self.height - 1 - rows[inside].astype(int)
        np.bitwise_or.at(self._bits, (down // 4, x // 2), _BITS[down % 4, x % 2])
        self._owner[down // 4, x // 2] = series
