"""Where in a plugin's own file something went wrong, and in what words to say it."""

from __future__ import annotations

import linecache
import reprlib
import traceback
from pathlib import Path

from pydantic import PydanticUserError, ValidationError

from llt_core.errors import wanted
from llt_core.interfaces.component import Component


def said(error: BaseException) -> str:
    """Return type and message of ``error``; of pydantic's, one sentence and no address.

    >>> said(ZeroDivisionError("division by zero"))
    'ZeroDivisionError: division by zero'
    """
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        name = ".".join([error.title, *map(str, first["loc"])])
        return f"{name} cannot be {reprlib.repr(first['input'])}; expected {wanted(first)}"
    text = error.message if isinstance(error, PydanticUserError) else str(error)
    return f"{type(error).__name__}: {text}"


def place(error: BaseException, package: str) -> str:
    """Return ``bad.py:8``, the innermost line of ``package`` that ``error`` came through.

    Empty if it came through none. ``package`` is the first part of a module's name.
    """
    found = ""
    if isinstance(error, SyntaxError) and error.filename:
        found = f"{Path(error.filename).name}:{error.lineno}"
    for frame, line in traceback.walk_tb(error.__traceback__):
        if frame.f_globals.get("__name__", "").partition(".")[0] == package:
            found = f"{Path(frame.f_code.co_filename).name}:{line}"
    return found


def quoted(error: BaseException, package: str) -> str:
    """Return :func:`place` with what the line says: ``bad.py:8: power = 2``."""
    found, text = place(error, package), ""
    if isinstance(error, SyntaxError):
        text = error.text or ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        if frame.f_globals.get("__name__", "").partition(".")[0] == package:
            text = linecache.getline(frame.f_code.co_filename, line)
    return f"{found}: {text.strip()}" if text.strip() else found


def culprit(error: BaseException) -> str:
    """Return ``bad.Raises.measure at bad.py:8``: which method of a plugin raised ``error``.

    Empty if no plugin was at work.
    """
    found = ""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        plugin = frame.f_locals.get("self")
        if isinstance(plugin, Component):
            kind = type(plugin)
            line = place(error, kind.__module__.partition(".")[0])
            found = f"{method_of(plugin, frame.f_code.co_name)}{line and f' at {line}'}"
    return found


def method_of(plugin: Component, method: str) -> str:
    """Return ``module.Class.method``, as errors name what is to blame."""
    return f"{type(plugin).__module__}.{type(plugin).__qualname__}.{method}"
