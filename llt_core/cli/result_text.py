"""One result as text: numbers, origin, arrays and plots."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.text import Text

from llt_core.cli.layout import break_between, fitted
from llt_core.cli.tables import describe, format_value, terms_of
from llt_core.errors import LltError
from llt_core.report import Result, describe_array, label
from llt_core.report.terminal import draw
from llt_core.store import Record

LONGEST = 60
"""Characters of a detail that are shown; --json has all of them."""
MOST = 8
"""Entries of a detail that is a dictionary."""


def print_result(result: Result, console: Console) -> None:
    """Print everything about one cell, its figures included."""
    record = result.record
    status = "" if record.status == "done" else f" [red]{record.status}[/]"
    console.print(f"[bold]{escape(label(record))}[/]{status} · {record.digest}", soft_wrap=True)
    composition = break_between(describe(record.composition).split(" · "), " · ", console.width)
    console.print(Text(composition, style="dim"))
    console.print()
    if record.cell.kind == "measure":
        _print_measurements(record, console)
    else:
        _print_training(result, console)
    for panel in result.panels:
        console.print()
        try:
            lines = draw(panel, console.width)
        except LltError as error:  # the numbers are worth showing all the same
            lines = [Text(f"{error.what}: not drawn", style="yellow")]
        for line in lines:
            console.print(line, soft_wrap=True)
    if result.arrays:
        console.print()
        _print_arrays(result, console)
    console.print()
    for name, text in _origin(result):
        line = Text.assemble((f"{name}: ", "dim"), text)
        console.print(line, soft_wrap=name in ("folder", "command"))


def _print_measurements(record: Record, console: Console) -> None:
    columns = ("quantity", "value ± s.e.", "unit", "n", "status")
    rows = []
    for m in record.measurements:
        value = format_value(m.value, m.standard_error)
        texts = map(escape, (m.name, value, m.unit, terms_of(m)))
        rows.append((*texts, m.status if m.status == "ok" else f"[yellow]{m.status}[/]"))
    console.print(fitted(console, columns, rows, spare=("n",)))
    for names, details in _details(record):
        console.print()
        first, *others = details
        text = Text(break_between([f"{names}: {first}", *others], "  ", console.width))
        text.stylize("dim", 0, len(names) + 1)
        console.print(text)


def _details(record: Record) -> Iterable[tuple[str, list[str]]]:
    """Yield the details of the first measurement, and for the others what differs from it."""
    first, *others = record.measurements
    missing = object()
    names: dict[tuple[str, ...], list[str]] = {tuple(_listed(first.details)): [first.name]}
    for other in others:
        own = {k: v for k, v in other.details.items() if first.details.get(k, missing) != v}
        names.setdefault(tuple(_listed(own)), []).append(other.name)
    yield from ((", ".join(group), list(texts)) for texts, group in names.items() if texts)


def _listed(details: dict[str, Any], above: str = "") -> Iterable[str]:
    """Yield ``key = value``, and what is inside a dictionary as ``key.inner = value``."""
    for number, (key, value) in enumerate(details.items()):
        if above and number == MOST:
            yield f"{above}… {len(details) - MOST} more"
            return
        if isinstance(value, dict) and value:
            yield from _listed(value, f"{above}{key}.")
        else:
            yield f"{above}{key} = {_short(value)}"


def _print_training(result: Result, console: Console) -> None:
    record = result.record
    if record.history:
        last = record.history[-1]
        loss, accuracy = (format_value(v, None) for v in (last.train_loss, last.train_accuracy))
        console.print(
            f"{len(record.history)} epochs in {record.seconds:.1f} s; in the last one "
            f"training loss {loss} nats, accuracy {accuracy} percent"
        )
    if record.checkpoint is None:
        console.print("no checkpoint: the loss stopped being finite", style="yellow")
        return
    kept = record.checkpoint
    path = result.folder / kept.file
    size = f"{path.stat().st_size / 2**20:.2f} MiB" if path.is_file() else "[red]missing[/]"
    console.print(
        f"checkpoint: {kept.file}, {size}, after epoch {kept.epoch}, "
        f"{kept.parameters:,} trainable parameters, sha256 {kept.sha256[:16]}…"
    )


def _print_arrays(result: Result, console: Console) -> None:
    columns = ("array", "shape", "type", "range")
    rows = []
    for name, array in result.arrays.items():
        facts = describe_array(name, array)
        shape = " × ".join(map(str, facts["shape"])) or "one number"
        spread = "–" if facts["min"] is None else f"{facts['min']:.4g} … {facts['max']:.4g}"
        lost = f", {facts['not_finite']} not finite" if facts["not_finite"] else ""
        rows.append((escape(name), shape, facts["dtype"], spread + lost))
    console.print(fitted(console, columns, rows, spare=("type",)))


def _origin(result: Result) -> list[tuple[str, str]]:
    """Return what one wants to know first about where a result comes from."""
    record, origin = result.record, result.record.provenance
    versions = origin.get("versions", {})
    made = [f"llt {origin.get('llt', '?')}"]
    made += [f"{name} {versions[name]}" for name in ("torch", "numpy") if name in versions]
    where = [origin.get("device", "?"), record.composition["train"].get("dtype", "")]
    if "threads" in origin:
        where.append(f"{origin['threads']} thread(s)")
    data = origin.get("data", {})
    verified = "published files" if data.get("verified") else "files NOT verified"
    sizes = [f"{count} {name}" for name, count in data.get("sizes", {}).items()]
    seeds = [f"{name} {origin[name]}" for name in ("seed", "sample_seed") if name in origin]
    lines = [
        ("finished", f"{origin.get('finished', '?')}, {record.seconds:.1f} s"),
        ("versions", ", ".join(made)),
        ("device", ", ".join(filter(None, where))),
        ("data", ", ".join([f"{data.get('fingerprint', '?')[:19]}…", verified, *sizes])),
        ("derived seeds", ", ".join(seeds)),
        ("models", ", ".join(digest[:8] for digest in getattr(record.cell, "models", ()))),
        ("command", origin.get("command", "")),
        ("folder", str(result.folder)),
    ]
    return [(name, text) for name, text in lines if text]


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        text = f"[{', '.join(map(_short, value))}]"
    else:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
