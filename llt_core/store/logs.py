"""What workers had to say about cells: one file a cell, every attempt appended."""

from __future__ import annotations

from pathlib import Path

from llt_core.store.cells import Store


def log_file(store: Store, digest: str) -> Path:
    """Return the log of a cell, whether it exists or not."""
    return store.root / "logs" / f"{digest}.log"


def read_log(store: Store, digest: str, last: int | None = None) -> str:
    """Return the log of a cell, empty when there is none.

    Parameters
    ----------
    last
        The last so many lines only; None for all.
    """
    try:
        text = log_file(store, digest).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return last_lines(text, last)


def last_lines(text: str, count: int | None) -> str:
    r"""Return the last ``count`` lines of a text; None for all.

    >>> last_lines("a\nb\nc\n", 2)
    'b\nc\n'
    """
    lines = text.splitlines(keepends=True)
    return text if count is None else "".join(lines[max(0, len(lines) - count) :])
