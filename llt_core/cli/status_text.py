"""What ``llt status`` shows: tables for a terminal, or one line a change."""

from __future__ import annotations

from typing import Any

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.text import Text

from llt_core.cli.layout import edgeless, fitted
from llt_core.sweep.standing import KINDS

MOST = 20
"""Running cells, or failures, told one by one where the output is no screen to fit, about."""
ALWAYS = ("all", "done", "failed", "waiting")
STATES = ("all", "done", "diverged", "failed", "blocked", "running", "waiting")


def drawn(
    facts: dict[str, Any], console: Console, root: str = "", lines: int | None = None
) -> RenderableType:
    """Return the facts as tables, at most ``lines`` lines of them."""
    if "sweeps" in facts:
        return Group(*_everything(facts, console, root))
    return Group(*_one(facts, console, lines))


def told(facts: dict[str, Any]) -> str:
    """Return the facts in one line.

    >>> told({"sweep": "a", "points": {"all": 2, "complete": 1}, "drivers": [],
    ...       "models": {"all": 2, "done": 1, "running": 1}, "measurements": {"all": 0}})
    'a: 1/2 points, models 1/2 (1 running), measurements 0/0'
    """
    if "sweeps" in facts:
        sweeps = [told(sweep) for sweep in facts["sweeps"] if "error" not in sweep]
        return "; ".join([*sweeps, f"{len(facts['drivers'])} at work"])
    points = facts["points"]
    parts = [f"{points['complete']}/{points['all']} points"]
    for kind in KINDS:
        counts = facts[kind]
        rest = [f"{counts[s]} {s}" for s in STATES[2:-1] if counts.get(s)]
        parts.append(
            f"{kind} {counts.get('done', 0)}/{counts['all']}"
            + (f" ({', '.join(rest)})" if rest else "")
        )
    return f"{facts['sweep']}: {', '.join(parts)}"


def _everything(facts: dict[str, Any], console: Console, root: str) -> list[RenderableType]:
    found: list[RenderableType] = []
    readable = [sweep for sweep in facts["sweeps"] if "error" not in sweep]
    counted = [
        state
        for state in ("running", "blocked", "failed")
        if state == "failed" or any(sweep[kind].get(state) for sweep in readable for kind in KINDS)
    ]
    columns = ("sweep", "points", *KINDS, *counted, "planned", "title")
    rows = [
        [
            escape(sweep["sweep"]),
            f"{sweep['points']['complete']}/{sweep['points']['all']}",
            *(f"{_ended(sweep[kind])}/{sweep[kind]['all']}" for kind in KINDS),
            *(str(sum(sweep[kind].get(state, 0) for kind in KINDS)) for state in counted),
            sweep["planned"],
            escape(sweep["title"]),
        ]
        for sweep in readable
    ]
    if rows:
        right = columns[1:-2]
        found.append(fitted(console, columns, rows, spare=("title", "planned"), right=right))
    if not facts["sweeps"]:
        found.append(Text(f"no sweeps in {root}" if root else "no sweeps"))
    for sweep in facts["sweeps"]:
        if "error" in sweep:
            text = f"[red]{escape(sweep['sweep'])}[/]: cannot be read: {escape(sweep['file'])}"
            found.append(Text.from_markup(text, overflow="fold"))
    if facts["drivers"]:
        found.append(Text())
    found += [_driver(driver) for driver in facts["drivers"]]
    return found


def _adaptive(facts: dict[str, Any] | None) -> list[RenderableType]:
    if facts is None:
        return []
    why = facts["stopped"] or "more are to be measured"
    return [Text(f"adaptive: {facts['measured']} measured, {facts['inferred']} inferred; {why}")]


def _one(facts: dict[str, Any], console: Console, lines: int | None) -> list[RenderableType]:
    title = f": {escape(facts['title'])}" if facts["title"] else ""
    points = facts["points"]
    counted = [
        state for state in STATES if state in ALWAYS or any(facts[k].get(state) for k in KINDS)
    ]
    rows = [[kind, *(str(facts[kind].get(state, 0)) for state in counted)] for kind in KINDS]
    found: list[RenderableType] = [
        Text.from_markup(f"[bold]{escape(facts['sweep'])}[/]{title}"),
        Text(f"{points['complete']} of {points['all']} grid points are complete"),
        *_adaptive(facts["adaptive"]),
        fitted(console, ("cells", *counted), rows, right=counted),
        *(_line(_driver(driver), lines) for driver in facts["drivers"]),
    ]
    running, failures = facts["running"], facts["failures"]
    left = MOST * 3 if lines is None else lines - len(found) - 2  # the table has three lines
    kept = min(2 * len(failures), max(1, left // 2)) if failures else 0
    shown = _fitting(len(running), left - kept, each=1, head=1)
    if shown:
        found.append(_table(running[:shown]))
    found += _more(len(running) - shown, "running")
    left -= (shown + 1 if shown else 0) + (shown < len(running))
    shown = _fitting(len(failures), left, each=2, head=0)
    for failure in failures[:shown]:
        first = (failure["message"].splitlines() or [""])[0]
        name = f"{failure['digest'][:12]} ({failure['cell']}, attempt {failure['attempts']})"
        found.append(_line(Text.assemble((name, "red"), f": {first}"), lines))
        found.append(_line(Text(f"  {failure['folder']}", style="dim"), lines))
    return found + _more(len(failures) - shown, "failed: llt logs CELL, or --json")


def _fitting(count: int, lines: int, *, each: int, head: int) -> int:
    """Return how many of ``count`` things fit, with a line that says how many more there are."""
    if head + count * each <= lines:
        return count
    return max(0, (lines - head - 1) // each)


def _line(text: Text, lines: int | None) -> Text:
    """Return a text that stays on one line where lines are counted."""
    if lines is not None:
        text.no_wrap, text.overflow = True, "ellipsis"
    return text


def _ended(counts: dict[str, int]) -> int:
    """Return how many cells have a result; a model that diverged has one."""
    return counts.get("done", 0) + counts.get("diverged", 0)


def _table(running: list[dict[str, Any]]) -> RenderableType:
    """Return one line for each running cell: what, how far, and where."""
    table = edgeless("running", "", "", "by")
    for column in table.columns:
        column.no_wrap, column.overflow = True, "ellipsis"
    for cell in running:
        share = f"{100 * cell['done'] // cell['total']} %" if cell["total"] else ""
        where = f"{cell['host']}, process {cell['pid']}" if "host" in cell else "its driver is gone"
        if cell["handle"]:
            where = f"job {cell['handle']}, {where}"
        by = f"{cell['executor'] or 'a driver'} ({where})"
        label = cell["label"] or cell["digest"][:12]
        table.add_row(escape(label), share, escape(cell["text"]), escape(by))
    return table


def _driver(driver: dict[str, Any]) -> Text:
    count = driver["running"]
    what = driver["sweep"] or "a run"
    where = f"{driver['host']}, process {driver['pid']}, {driver['executor'] or 'inline'}"
    cells = f"{count} cell{'' if count == 1 else 's'}"
    return Text.assemble(
        ("at work", "green"), f" on {what}: {cells} ({where}, since {driver['since']})"
    )


def _more(count: int, what: str) -> list[RenderableType]:
    return [Text(f"… and {count} more {what}", style="dim")] if count > 0 else []
