"""The options ``--rule`` and ``--relative-cka``: thresholds between phases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from difflib import get_close_matches
from functools import wraps
from typing import TYPE_CHECKING, Any

import rich_click as click

from llt_core.errors import RequestError, wanted

if TYPE_CHECKING:
    from llt_core.analysis import PhaseRule

_rule_option = click.option(
    "--rule",
    "thresholds",
    metavar="KEY=NUMBER",
    multiple=True,
    help="A threshold of the rule: train_loss, log_trace, poorly_connected, unconverged, "
    "sharp_connectivity or cka",
)


_relative_cka_option = click.option(
    "--relative-cka",
    type=click.FloatRange(0, 1),
    metavar="Q",
    help="As CKA threshold, this quantile of the flat, connected cells",
)


def rule_options(command: Callable[..., int]) -> Callable[..., int]:
    """Add both options to a command, which is given ``rule``: None if neither was used."""

    @wraps(command)
    def ruled(*, thresholds: Sequence[str], relative_cka: float | None, **options: Any) -> int:
        said = bool(thresholds) or relative_cka is not None
        return command(rule=take_rule(thresholds, relative_cka) if said else None, **options)

    return _rule_option(_relative_cka_option(ruled))


def take_rule(assignments: Sequence[str], relative_cka: float | None = None) -> PhaseRule:
    """Return the default rule with these thresholds changed.

    Raises
    ------
    RequestError
        There is no such threshold, or it is no number.
    """
    from pydantic import ValidationError

    from llt_core.analysis import PhaseRule

    known = [name for name in PhaseRule.model_fields if name != "cka_quantile"]
    values: dict[str, Any] = dict(_assignment(text, known) for text in assignments)
    if relative_cka is not None and "cka" in values:
        raise RequestError(
            "a number and a quantile as CKA threshold",
            where=f"--rule cka={values['cka']} --relative-cka {relative_cka:g}",
            expected="one of them",
        )
    try:
        return PhaseRule(**values, cka_quantile=relative_cka)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        said = f"{field}={first['input']}" if field else " --rule ".join(assignments)
        raise RequestError(
            "the rule cannot have such thresholds", where=f"--rule {said}", expected=wanted(first)
        ) from error


def _assignment(text: str, known: Sequence[str]) -> tuple[str, str]:
    """Read ``KEY=NUMBER``; whether it is a number, the rule itself will say."""
    key, sign, value = text.partition("=")
    if key not in known:
        raise RequestError(
            f"the rule has no threshold {key!r}",
            where=f"--rule {text}",
            expected=f"one of {', '.join(get_close_matches(key, known) or known)}",
            next_step="--rule KEY=NUMBER",
        )
    if not sign:
        raise RequestError(
            f"no value for {key}",
            where=f"--rule {text}",
            expected="a finite number",
            next_step=f"--rule {key}=NUMBER",
        )
    return key, value
