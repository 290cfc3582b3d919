"""The errors a user can cause, and what they must say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar


class LltError(Exception):
    """A wrong request, told to the user without a traceback.

    The message answers four questions, in this order: *what* is wrong, *where* it
    was found, what was *expected*, and what to type *next*.

    >>> print(LltError("no task is called 'shvn'", next_step="--task svhn"))
    no task is called 'shvn'
      next: --task svhn
    """

    exit_code = 2
    failure: ClassVar[str] = "request"
    """What kind of failure it is for a cell (see ``FailureKind`` of the executors)."""

    def __init__(
        self, what: str, *, where: str = "", expected: str = "", next_step: str = ""
    ) -> None:
        self.what = what
        self.where = where
        self.expected = expected
        self.next_step = next_step
        super().__init__(what)

    @property
    def hints(self) -> dict[str, str]:
        """What is known beyond *what* is wrong, each by the word that begins its line."""
        known = {"where": self.where, "expected": self.expected, "next": self.next_step}
        return {label: text for label, text in known.items() if text}

    def __str__(self) -> str:
        return "\n".join([self.what, *(f"  {label}: {text}" for label, text in self.hints.items())])

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.what, self.where, self.expected, self.next_step))


def _rebuild(cls: type[LltError], what: str, where: str, expected: str, next_step: str) -> LltError:
    """Rebuild an error that crossed a process boundary."""
    return cls(what, where=where, expected=expected, next_step=next_step)


def wanted(problem: Mapping[str, Any]) -> str:
    """Say what was expected where pydantic found a value wrong, as people say it.

    Parameters
    ----------
    problem
        One of the ``errors()`` of a ``ValidationError``.

    Examples
    --------
    >>> wanted({"type": "greater_than_equal", "ctx": {"ge": 1}, "msg": "Input should be …"})
    'at least 1'
    """
    known = _WANTED.get(problem["type"])
    if known is None:
        return str(problem["msg"]).removeprefix("Value error, ")
    return known.format(**problem.get("ctx", {}))


_WANTED = {
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "a whole number"),
    **dict.fromkeys(("float_type", "float_parsing"), "a number"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "true or false"),
    **dict.fromkeys(("tuple_type", "list_type"), "a list, such as [0.5, 0.75]"),
    **dict.fromkeys(("dict_type", "mapping_type", "model_type"), "a table of names and values"),
    "finite_number": "a finite number",
    "string_type": "text",
    "literal_error": "{expected}",
    "greater_than": "more than {gt:g}",
    "greater_than_equal": "at least {ge:g}",
    "less_than": "less than {lt:g}",
    "less_than_equal": "at most {le:g}",
}
"""What pydantic's types of errors expect, with the names of their context."""


class RequestError(LltError):
    """The composition asked for is impossible or malformed."""


class DataError(LltError):
    """The data of a task is missing, unreadable or not what it should be."""
