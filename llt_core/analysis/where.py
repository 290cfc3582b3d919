"""Conditions on the rows of a table: ``width > 1 and batch_size <= 256``. Never eval.

The text is parsed as Python and read node by node; what is not listed here is refused.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np

from llt_core.analysis.table import CellTable, Mask
from llt_core.errors import RequestError

LONGEST = 2000
"""Characters of a condition."""
_Objects = np.ndarray[Any, Any]
_SIGNS: Mapping[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_NUMBERS = (bool, int, float, np.number)
_EXPECTED = "comparisons such as width > 1 or task in ('svhn', 'cifar10'), joined by and, or, not"


def where(
    table: CellTable, condition: str, more: Mapping[str, tuple[Any, ...]] | None = None
) -> Mask:
    """Return the rows of which ``condition`` is true, shape (N,).

    Names are those of axes (also by their last part) and columns. A comparison with what a
    row does not have is false, ``!=`` too; by ``not`` it becomes true. Numbers and texts are
    never equal, and asking which of the two is larger is an error.

    Parameters
    ----------
    more
        Further names, with N values each.

    Raises
    ------
    RequestError
        The condition cannot be read, or names what the table does not have.

    >>> from llt_core.analysis import Axis
    >>> table = CellTable("t", (Axis("architecture.width", (1, 2, 4)),), {})
    >>> where(table, "1 < width <= 4 and not width in (2, 3)").tolist()
    [False, False, True]
    """
    return _Reader(table, condition, more or {}).read()


@dataclass(frozen=True)
class _Value:
    """N values, or one; ``numeric`` if none is a text."""

    values: _Objects
    numeric: bool
    node: ast.expr


@dataclass(frozen=True)
class _Reader:
    """Reads one condition on one table."""

    table: CellTable
    text: str
    more: Mapping[str, tuple[Any, ...]]

    def read(self) -> Mask:
        try:
            if len(self.text) > LONGEST:
                raise self._wrong(f"longer than {LONGEST} characters")
            tree = ast.parse(self.text.strip(), mode="eval")
            return self._truth(tree.body)
        except SyntaxError as error:
            raise self._wrong(error.msg, (error.offset or 1) - 1) from error
        except (RecursionError, MemoryError, TypeError, ValueError) as error:
            raise self._wrong("cannot be read") from error

    def _truth(self, node: ast.expr) -> Mask:
        match node:
            case ast.BoolOp():
                join = np.logical_and if isinstance(node.op, ast.And) else np.logical_or
                found: Mask = join.reduce([self._truth(part) for part in node.values])
                return found
            case ast.UnaryOp(op=ast.Not()):
                return ~self._truth(node.operand)
            case ast.Compare():
                return self._comparison(node)
            case ast.Constant(value=bool(value)):
                return np.full(len(self.table), value)
        raise self._wrong(f"{ast.unparse(node)} is neither true nor false", node.col_offset)

    def _comparison(self, node: ast.Compare) -> Mask:
        result = np.ones(len(self.table), dtype=np.bool_)
        left = node.left
        for sign, right in zip(node.ops, node.comparators, strict=True):
            if isinstance(sign, ast.In | ast.NotIn):
                result &= self._membership(left, sign, right)
            elif type(sign) in _SIGNS:
                result &= self._compare(self._value(left), sign, self._value(right))
            else:
                raise self._wrong("'is' compares nothing here; write == or !=", node.col_offset)
            left = right
        return result

    def _membership(self, left: ast.expr, sign: ast.cmpop, right: ast.expr) -> Mask:
        if not isinstance(right, ast.Tuple | ast.List | ast.Set):
            raise self._wrong("after in comes a list: (1, 2)", right.col_offset)
        value = self._value(left)
        among = np.zeros(len(self.table), dtype=np.bool_)
        for member in right.elts:
            among |= self._compare(value, ast.Eq(), self._value(member))
        # What a row does not have is neither in a list nor out of it.
        return among if isinstance(sign, ast.In) else self._there(value) & ~among

    def _compare(self, left: _Value, sign: ast.cmpop, right: _Value) -> Mask:
        there = self._there(left) & self._there(right)
        equality = isinstance(sign, ast.Eq | ast.NotEq)
        if left.numeric != right.numeric and not equality:
            text = left if right.numeric else right
            raise self._wrong(
                f"{ast.unparse(text.node)} is a text, neither larger nor smaller than a number",
                text.node.col_offset,
            )
        if left.numeric and right.numeric:
            with np.errstate(invalid="ignore"):
                found = _SIGNS[type(sign)](left.values.astype(float), right.values.astype(float))
        else:
            same = np.frompyfunc(_SIGNS[type(sign)], 2, 1)
            # Of rows that lack a value nothing is asked: None has no order.
            texts = (np.where(self._there(v), v.values, "") for v in (left, right))
            found = same(*texts)
        return there & np.broadcast_to(np.asarray(found, dtype=np.bool_), there.shape)

    def _there(self, value: _Value) -> Mask:
        known = np.frompyfunc(lambda v: v is not None and v == v, 1, 1)(value.values)
        return np.broadcast_to(np.asarray(known, dtype=np.bool_), (len(self.table),)).copy()

    def _value(self, node: ast.expr) -> _Value:
        match node:
            case ast.Constant(value=bool() | int() | float() | str() as value):
                held = np.empty((), dtype=object)
                held[()] = value
                return _Value(held, not isinstance(value, str), node)
            case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign, operand=ast.Constant() as inner):
                found = self._value(inner)
                if not found.numeric:
                    raise self._wrong("a sign before a text", node.col_offset)
                held = np.empty((), dtype=object)
                held[()] = -found.values[()] if isinstance(sign, ast.USub) else found.values[()]
                return _Value(held, True, node)
            case ast.Name() | ast.Attribute():
                return self._named(node)
        raise self._wrong(f"{ast.unparse(node)} is no name, number or text", node.col_offset)

    def _named(self, node: ast.expr) -> _Value:
        name = ast.unparse(node)
        if name in self.more:
            return self._held(self.more[name], node)
        if name in self.table:
            return self._held(tuple(self.table.columns[name].values.tolist()), node)
        if any(f".{axis.name}".endswith(f".{name}") for axis in self.table.axes):
            return self._held(self.table.axis(name).values, node)
        known = self._names()
        near = get_close_matches(name, known) or known
        raise RequestError(
            f"the table {self.table.name} has nothing called {name!r}",
            where=self._at(node.col_offset),
            expected=f"one of {', '.join(near) or 'none: it is empty'}; a text stands in quotes",
        )

    def _held(self, values: tuple[Any, ...], node: ast.expr) -> _Value:
        array = np.empty(len(values), dtype=object)
        array[:] = values
        numeric = all(value is None or isinstance(value, _NUMBERS) for value in values)
        return _Value(array, numeric, node)

    def _names(self) -> list[str]:
        short = self.table.short
        return [*short.values(), *short, *self.table.columns, *self.more]

    def _wrong(self, what: str, place: int | None = None) -> RequestError:
        return RequestError(
            f"the condition cannot be used: {what}",
            where=self.text[:LONGEST] if place is None else self._at(place),
            expected=_EXPECTED,
        )

    def _at(self, place: int) -> str:
        """Return the condition with a mark before what is wrong; ``place`` counts from 0."""
        text = self.text.strip()
        # The parser counts bytes.
        characters = len(text.encode()[:place].decode(errors="ignore"))
        return f"{text[:characters]}⟶{text[characters:]}"
