"""Conditions on the values of a grid point: ``"<= 8"``, ``[1, 2]``, ``16``. Never eval."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

from llt_core.spec.run import parse_value

_SIGNS: dict[str, Callable[[Any, Any], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
}
_COMPARISON = re.compile(r"\s*(<=|>=|==|!=|<|>)(.*)", re.DOTALL)


def holds(condition: Any, value: Any) -> bool:
    """Whether ``value`` is what ``condition`` says.

    A text that begins with ``<``, ``<=``, ``>``, ``>=``, ``==`` or ``!=`` compares; several
    joined by ``and`` must all hold. A list means any of its members; anything else is compared
    for equality.

    Raises
    ------
    ValueError
        A text is compared with a number by size.

    >>> holds("<= 8", 4), holds("> 2 and < 8", 8), holds([1, 2], 2), holds("cosine", "step")
    (True, False, True, False)
    """
    if isinstance(condition, list | tuple):
        return any(holds(member, value) for member in condition)
    if isinstance(condition, str) and _COMPARISON.match(condition):
        return all(_compare(part, value) for part in re.split(r"\s+and\s+", condition.strip()))
    return bool(condition == value)


def all_hold(conditions: Mapping[str, Any], values: Mapping[str, Any]) -> bool:
    """Whether every condition holds for the value of its name."""
    return all(holds(condition, values[name]) for name, condition in conditions.items())


def _compare(text: str, value: Any) -> bool:
    match = _COMPARISON.fullmatch(text)
    if match is None or not match[2].strip():
        raise ValueError(f"cannot read {text!r}: a sign and a value, as in '<= 8'")
    sign, limit = match[1], parse_value(match[2].strip())
    if sign not in ("==", "!=") and not (_is_number(limit) and _is_number(value)):
        raise ValueError(f"{value!r} {text.strip()} compares what is not two numbers")
    return _SIGNS[sign](value, limit)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
