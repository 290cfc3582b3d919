"""The text of CSV files, column by column."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path

from llt_core.analysis.flat import Flat
from llt_core.errors import RequestError

_DECIMAL_COMMA = re.compile(r"\s*[+-]?\d+,\d+(e[+-]?\d+)?\s*", re.IGNORECASE)
SEPARATORS = (",", ";", "\t")
LONGEST_FIELD = 1_000_000
"""Characters of one field of a CSV file, at most."""


def read_csv(path: Path) -> Flat:
    """Return the text of a CSV file; commas, semicolons or tabs stand between its columns.

    Raises
    ------
    RequestError
        It is empty, no text, or a row has more or fewer fields than there are headings.
    """
    csv.field_size_limit(LONGEST_FIELD)
    rows, lines = [], []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, delimiter=_separator(file.readline()))
            file.seek(0)
            headings = [heading.strip() for heading in next(reader, [])]
            for row in reader:
                if len(row) != len(headings) and row:
                    raise _ragged(path, reader.line_num, len(row), len(headings))
                if reader.dialect.delimiter == ";" and any(map(_DECIMAL_COMMA.fullmatch, row)):
                    raise _decimal_comma(path, reader.line_num, row)
                if row:
                    rows.append(row)
                    lines.append(reader.line_num)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RequestError(
            f"the file cannot be read: {error}", where=str(path), expected="a CSV file in UTF-8"
        ) from error
    twice = sorted({h for h in headings if headings.count(h) > 1})
    if not rows or twice:
        what = f"two columns are called {twice[0]!r}" if twice else "the table has no rows"
        raise RequestError(what, where=str(path), expected="headings, and one row a cell")
    columns = zip(*rows, strict=True)
    return Flat(dict(zip(headings, columns, strict=True)), lines, str(path))


def _separator(headings: str) -> str:
    r"""Return what stands between the columns, by the first line of a file.

    >>> [_separator(line) for line in ("a,b", "a;b", "a\tb", "a")]
    [',', ';', '\t', ',']
    """
    return next((mark for mark in SEPARATORS if mark in headings), SEPARATORS[0])


def _decimal_comma(path: Path, line: int, row: Sequence[str]) -> RequestError:
    found = next(filter(_DECIMAL_COMMA.fullmatch, row)).strip()
    return RequestError(
        f"{found!r} is no number here",
        where=f"{path}, line {line}",
        expected="decimal points",
        next_step="replace the decimal commas, for instance: tr , . < FILE > FILE.points.csv",
    )


def _ragged(path: Path, line: int, found: int, expected: int) -> RequestError:
    return RequestError(
        f"the row has {found} fields, and there are {expected} headings",
        where=f"{path}, line {line}",
        expected="as many fields as headings",
    )
