"""What ``llt phases`` prints."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding

from llt_core.analysis.claims import Claim
from llt_core.cli.layout import fitted
from llt_core.fields import short_fields

STYLES = {"holds": "green", "does not hold": "red", "cannot be said": "yellow"}
_WIDTH = 80
_FEW = 10
"""Columns of a table whose correlations are all shown."""
_STRONGEST = 3


def print_phases(facts: Mapping[str, Any], every: bool = False) -> None:
    """Print counts, claims, correlations, double descent and what is undetermined.

    Correlations are those of a few columns or ``every`` one.
    """
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=max(console.width, _WIDTH))
    part = f" of {facts['rows']}, where {facts['where']}" if facts["where"] else ""
    head = f"[bold]{escape(facts['table'])}[/]: {facts['cells']} cells{escape(part)}"
    origin = "" if facts["origin"] == "llt" else f"  [yellow]({escape(facts['origin'])})[/]"
    console.print(head + origin)
    console.print(escape(_rule(facts)), style="dim")
    _print_fit(console, facts["fit"], facts["rule"])
    _print_counts(console, facts)
    _print_inferred(console, facts)
    _print_claims(console, facts["claims"])
    _print_correlations(console, facts, every)
    _print_descent(console, facts["double_descent"])
    _print_certainty(console, facts["by_cell"])


def _rule(facts: Mapping[str, Any]) -> str:
    rule = facts["rule"]
    quantile = facts["relative_cka"]
    relative = "" if quantile is None else f" (quantile {quantile:g})"
    connectivity = facts["columns"].get("connectivity", "connectivity")
    return (
        f"sharp: train_loss ≥ {rule['train_loss']:.4g} or log trace ≥ {rule['log_trace']:.4g}, "
        f"then I if {connectivity} < {rule['sharp_connectivity']:.4g}, else II; "
        f"flat: III below {rule['poorly_connected']:.4g}, II above {rule['unconverged']:.4g}, "
        f"else IV-B from CKA {rule['cka']:.4g}{relative}"
    )


def _print_fit(console: Console, fit: Mapping[str, Any] | None, rule: Mapping[str, float]) -> None:
    if fit is None:
        return
    what = "R²" if fit["target"] == "test_accuracy" else "share met"
    console.print(
        f"fitted to {fit['n']} cells: {what} {fit['score']:.3f}, fixed thresholds "
        f"{fit['default_score']:.3f}; on left-out cells ({fit['folds']}-fold) "
        f"{fit['held_out_score']:.3f} against {fit['held_out_default_score']:.3f}; "
        f"left-out phases agree with the full fit on {fit['agreement']:.1%}"
    )
    if fit["unused"]:
        console.print(f"not used, beyond all cells: {', '.join(fit['unused'])}", style="dim")
    options = " ".join(f"--rule {name}={value!r}" for name, value in rule.items())
    console.print(f"in other commands: {options}", style="dim", soft_wrap=True)


def _print_counts(console: Console, facts: Mapping[str, Any]) -> None:
    console.print()
    rows = []
    for phase in facts["phases"]:
        mean, interval = phase["mean_test_accuracy"], _interval(phase["interval"], 2)
        accuracy = "–" if mean is None else f"{mean:.2f} {interval}".rstrip()
        rows.append((phase["phase"], str(phase["cells"]), escape(accuracy)))
    undetermined = facts["counts"]["undetermined"]
    if undetermined:
        rows.append(("[yellow]undetermined[/]", str(undetermined), "–"))
    columns = ("phase", "cells", "mean test accuracy [95 %], percent")
    console.print(fitted(console, columns, rows, right=("cells",)))
    for group in facts["undetermined"][:5]:
        console.print(f"  {group['cells']} undetermined: {escape(group['reason'])}", style="yellow")
    if len(facts["undetermined"]) > 5:
        more = len(facts["undetermined"]) - 5
        console.print(f"  and {more} more reasons: --json has all", style="dim")


def _print_inferred(console: Console, facts: Mapping[str, Any]) -> None:
    inferred = facts["inferred"]
    if not inferred or not inferred["cells"]:
        return
    each = ", ".join(f"{count} in {phase}" for phase, count in inferred["counts"].items())
    console.print(
        f"Not measured, but inferred: {inferred['cells']} "
        f"cell{'s' if inferred['cells'] != 1 else ''}: {each}; right with a mean probability of "
        f"{inferred['mean_probability']:.2f}. Claims and correlations leave them out"
    )
    held = {name: value for name, value in facts["rule"].items() if name in inferred["rule"]}
    if any(value != inferred["rule"][name] for name, value in held.items()):
        console.print("  by the thresholds of the sweep, not by those above", style="yellow")


def _print_claims(console: Console, claims: list[Mapping[str, Any]]) -> None:
    console.print("\n[bold]Claims[/]")
    for claim in (Claim(**held) for held in claims):
        console.print(f"[{STYLES[claim.verdict]}]{claim.verdict}[/]: {escape(claim.statement)}")
        console.print(Padding(f"[dim]{escape(claim.evidence)}[/]", (0, 0, 0, 2)))


def _print_correlations(console: Console, facts: Mapping[str, Any], every: bool) -> None:
    for among, found in facts["correlations"].items():
        if not found:
            continue
        cells = "all cells"
        if among == "converged":
            by = f"train accuracy ≥ {facts['converged_at']:g} %"
            if facts["converged_by"] == "train_loss":
                by = f"train loss < {facts['rule']['train_loss']:.4g}, for want of train accuracies"
            cells = f"{facts['converged']} converged ({by})"
        console.print(f"\n[bold]Correlation with test accuracy[/], {cells}")
        ordered = sorted(found, key=lambda c: (not c["predictor"], -_size(c["spearman"]["value"])))
        shown = ordered if every or len(found) <= _FEW else _few(ordered, facts)
        rows = [
            (
                escape(c["column"]) + ("" if c["predictor"] else "*"),
                str(c["n"]),
                _number(c["pearson"]["value"], 2) + ("†" if c["transform"] else ""),
                escape(f"{_number(c['spearman']['value'])} {_ends(c['spearman'])}".rstrip()),
                _number(c["kendall"]["value"], 2),
                _number(c["partial"]["value"], 2),
            )
            for c in shown
        ]
        columns = ("column", "n", "r", "ρ [95 %]", "τ", "ρ at load")
        table = fitted(console, columns, rows, spare=("τ", "r"), right=("n",), whole=columns[1:])
        console.print(table)
        if len(shown) < len(found):
            console.print(
                f"and {len(found) - len(shown)} more columns: --all, or --json", style="dim"
            )
        notes = ["r Pearson, ρ Spearman, τ Kendall; ρ at load: within levels of the load axis"]
        notes += ["† of the natural logarithm"] * any(c["transform"] for c in shown)
        notes += ["* looks at the test set: no predictor"] * any(not c["predictor"] for c in shown)
        if most := max(c["missing"] for c in shown):
            notes.append(f"cells without a value are left out, up to {most} a column")
        console.print("; ".join(notes), style="dim")


def _few(ordered: list[Mapping[str, Any]], facts: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return what the rule reads and CKA is compared with, and the strongest predictors."""
    (claim,) = (claim for claim in facts["claims"] if claim["name"] == "best_predictor")
    wanted = {*facts["columns"].values(), claim["details"].get("other")}
    wanted |= {c["column"] for c in ordered[:_STRONGEST]}
    return [c for c in ordered if c["column"] in wanted or c["column"].startswith("cka")]


def _print_descent(console: Console, descents: Mapping[str, list[Mapping[str, Any]]]) -> None:
    rows = []
    short = short_fields(descents)
    for axis, found in descents.items():
        for peak in (p for p in found if p["significant"]):
            sure = "by height" if math.isnan(peak["p"]) else f"p {peak['adjusted_p']:.2g}"
            jump = "–" if math.isnan(peak["hessian_at"]) else f"{peak['hessian_at']:g}"
            rows.append(
                (
                    short[axis],
                    escape(peak["line"]),
                    f"{peak['at']:g}",
                    f"{peak['height']:.2f}",
                    sure,
                    jump,
                )
            )
    if not rows:
        return
    console.print("\n[bold]Double descent[/]: lines with an interior peak of the test error")
    columns = ("along", "where", "peak at", "height, percent", "sure", "Hessian jumps at")
    shown = rows[:20]
    console.print(fitted(console, columns, shown, right=("peak at", "height, percent")))
    if len(rows) > len(shown):
        console.print(f"and {len(rows) - len(shown)} more: --json has all", style="dim")


def _print_certainty(console: Console, rows: list[Mapping[str, Any]]) -> None:
    known = [
        row["probabilities"][row["phase"]] for row in rows if row["probabilities"] and row["phase"]
    ]
    if not known:
        return
    sure = sum(p >= 0.95 for p in known)
    console.print(
        f"\nWith other models of the same kind, {sure} of {len(known)} cells with a phase "
        "keep it with a probability of 95 % or more"
    )


def _interval(ends: list[float], places: int) -> str:
    return "" if math.isnan(ends[0]) else f"[{ends[0]:.{places}f}, {ends[1]:.{places}f}]"


def _ends(estimate: Mapping[str, float]) -> str:
    return _interval([estimate["low"], estimate["high"]], 2)


def _number(value: float, places: int = 3) -> str:
    return "–" if math.isnan(value) else f"{value:+.{places}f}"


def _size(value: float) -> float:
    return 0.0 if math.isnan(value) else abs(value)
