"""A whole result as one picture file. Importing this imports matplotlib."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from llt_core.errors import RequestError
from llt_core.report.axes import draw_panel
from llt_core.report.naming import subtitle, title
from llt_core.report.result import Result
from llt_core.store.output import written_whole

FORMATS = ("png", "pdf", "svg")
MOST_COLUMNS = 3
STYLE: Any = {
    "axes.axisbelow": True,
    "axes.edgecolor": "0.3",
    "axes.labelsize": 9,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 10,
    "font.size": 9,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "lines.markersize": 4,
    "pdf.fonttype": 42,  # text stays text
    "savefig.dpi": 160,
    "svg.fonttype": "none",
    "svg.hashsalt": "llt",  # else two pictures of one result differ
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
}


def picture(result: Result) -> Figure:
    """Return one matplotlib figure with a panel for each stored figure.

    No display is needed and pyplot knows nothing of it.

    Raises
    ------
    RequestError
        The cell has no figures.
    DrawingError
        A figure and the stored arrays do not go together.
    """
    if not result.panels:
        raise _nothing_to_draw(result)
    with matplotlib.rc_context(STYLE):
        count = len(result.panels)
        columns = 2 if count == 4 else min(count, MOST_COLUMNS)
        rows = -(-count // columns)
        width = 4.8 * columns + (1.2 if columns == 1 else 0)
        heading = _heading(result, width)
        height = 3.6 * rows * _stretch(result) + 0.17 * len(heading.splitlines())
        layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12)
        figure = Figure(figsize=(width, height), layout=layout)
        FigureCanvasAgg(figure)
        grid = figure.subplots(rows, columns, squeeze=False).ravel()
        for panel, axes in zip(result.panels, grid, strict=False):
            draw_panel(panel, axes)
        for axes in grid[count:]:
            axes.remove()
        figure.suptitle(heading, fontsize=9, linespacing=1.4)
    return figure


def save(result: Result, path: Path) -> None:
    """Draw ``result`` into ``path``, as its ending says, beside it first, then renamed.

    The file names the cell in its metadata, and the same result gives the same bytes with
    the same version of matplotlib.

    Raises
    ------
    RequestError
        The ending is not one of :data:`FORMATS`, or there is nothing to draw.
    LltError
        The folder is missing or cannot be written.
    """
    check_ending(path)
    record = result.record
    write(
        picture(result),
        path,
        what=f"{title(record)} · {subtitle(record)}",
        source=f"llt cell {record.digest}",
        made=f"llt {record.provenance.get('llt', '')}".strip(),
    )


def check_ending(path: Path) -> str:
    """Return the format that the ending of ``path`` names.

    Raises
    ------
    RequestError
        It is not one of :data:`FORMATS`.
    """
    form = path.suffix.lstrip(".").lower()
    if form not in FORMATS:
        raise RequestError(
            f"the ending of {path.name!r} names no picture format",
            expected=f"one of {', '.join(FORMATS)}",
            next_step=f"-o {path.stem or 'picture'}.png",
        )
    return form


def write(figure: Figure, path: Path, *, what: str, source: str, made: str) -> None:
    """Write a figure whole, with its title, source and maker in the file, without the time.

    Raises
    ------
    RequestError
        The ending of ``path`` is not one of :data:`FORMATS`.
    LltError
        The folder is missing or cannot be written.
    """
    form = check_ending(path)
    fields: dict[str, Any]
    match form:
        case "pdf":
            fields = {"Title": what, "Subject": source, "Creator": made, "CreationDate": None}
        case "svg":
            fields = {"Title": what, "Identifier": source, "Creator": made, "Date": None}
        case _:
            fields = {"Title": what, "Source": source, "Software": made}
    with written_whole(path, "picture") as file, matplotlib.rc_context(STYLE):
        figure.savefig(file, format=form, metadata=fields)


def _stretch(result: Result) -> float:
    """Return how much higher panels must be so that the names of bars do not overlap."""
    bars = (p for p in result.panels if p.figure.kind == "bars")
    most = max((len(p.column(p.figure.y[0])) for p in bars), default=0)
    return min(max(most / 20, 1.0), 5.0)


def _heading(result: Result, width: float) -> str:
    below = textwrap.wrap(subtitle(result.record), int(width * 15))
    return "\n".join((title(result.record), *below))


def _nothing_to_draw(result: Result) -> RequestError:
    short = result.record.digest[:8]
    what = f"{title(result.record)} ({short})"
    return RequestError(
        f"{what} has arrays but says not how to draw them"
        if result.arrays
        else f"there is nothing to draw of {what}: it is numbers alone",
        where=str(result.folder),
        expected="a train cell, or a result with figures",
        next_step=f"llt show-result {short}",
    )
