"""From a table to the text of one HTML file."""

from __future__ import annotations

import html
import json
from importlib.resources import files
from string import Template
from typing import Any

from llt_core.analysis import CellTable, PhaseRule
from llt_core.analysis.table import Floats
from llt_core.report.inferred import InferredMap
from llt_core.report.page.details import Details
from llt_core.report.page.payload import payload

STYLES = ("page.css", "screens.css")
SCRIPTS = (
    "format.js",
    "rule.js",
    "scales.js",
    "state.js",
    "charts.js",
    "plane.js",
    "paints.js",
    "scatter.js",
    "cell.js",
    "thresholds.js",
    "compare.js",
    "table.js",
    "main.js",
)
"""Concatenated in this order: each uses only what stands before it."""


def build_page(
    table: CellTable,
    *,
    rule: PhaseRule | None = None,
    compare: CellTable | None = None,
    inferred: InferredMap | None = None,
    details: Details | None = None,
    probabilities: Floats | None = None,
    title: str = "",
) -> str:
    """Return the report of a table as one self-contained HTML document.

    Parameters
    ----------
    rule
        The thresholds that the page opens with.
    compare
        Another table; its values are subtracted on the cells that both have.
    inferred
        Phases of cells that were not measured, shown apart from those that were.
    details
        Curves, spectra, histories and provenance of the cells.
    probabilities
        Of each phase in each cell of the table, and of being undetermined, shape (N, 6); a row
        of NaN where nobody knows.

    Raises
    ------
    RequestError
        The two tables have no axis or no cell in common.
    """
    data = payload(
        table,
        rule=rule,
        compare=compare,
        inferred=inferred,
        details=details,
        probabilities=probabilities,
        title=title,
    )
    return Template(_asset("template.html")).substitute(
        title=html.escape(data["title"]),
        css="".join(_asset(name) for name in STYLES),
        data=encode(data),
        script="".join(_asset(name) for name in SCRIPTS),
    )


def encode(data: Any) -> str:
    r"""Return JSON that may stand inside a script element, whatever is in it.

    This is for names like ``</script>``: no ``<``, ``>`` or ``&`` is left in the text.

    >>> encode({"name": "</script>", "value": 0.1})
    '{"name":"\\u003c/script\\u003e","value":0.1}'
    """
    text = json.dumps(data, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def _asset(name: str) -> str:
    return (files("llt_core.report.page") / "assets" / name).read_text(encoding="utf-8")
