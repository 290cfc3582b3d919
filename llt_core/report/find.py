"""From what a user types to one finished cell."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from difflib import get_close_matches

from llt_core.errors import LltError, RequestError
from llt_core.spec import MeasureCell, naming
from llt_core.store import Record, Store
from llt_core.store.index import records

SHORTEST = 4
"""Digits of a digest that are enough to try."""
SHOWN = 8
_DIGEST = re.compile(r"[0-9a-f]{1,32}")


def find(store: Store, words: str) -> Record:
    """Return the record of the one cell that ``words`` means.

    Parameters
    ----------
    words
        A digest, the beginning of one (four digits or more), or a label as :func:`label`
        writes it. Of a label the seeds may be left out, and the metric may be called by
        one of its quantities, as long as one cell fits.

    Raises
    ------
    RequestError
        No cell fits, or several do; the message lists them, or what is near.
    """
    words = words.strip()
    if not words:
        raise RequestError("the name of the cell is empty", next_step="llt results")
    digests = _starting_with(store, words.lower())
    if len(digests) > 1:
        raise _ambiguous(store, words, [store.read(digest) for digest in digests])
    if digests:
        return _read(store, digests[0])
    every = list(records(store))
    fitting = [record for record in every if words in _names(record)]
    if len(fitting) > 1:
        raise _ambiguous(store, words, fitting)
    if fitting:
        return fitting[0]
    raise _unknown(store, words, every)


def find_digest(store: Store, prefix: str) -> str:
    """Return the digest of the one cell that ``prefix`` begins, finished or not.

    A cell that is not finished is known by its log, its failures, or who computes it.

    Raises
    ------
    RequestError
        Fewer than four digits, or no cell fits, or several do; the message lists them.
    """
    words = prefix.strip().lower()
    if len(words) < SHORTEST or not _DIGEST.fullmatch(words):
        raise RequestError(
            f"{prefix!r} is no cell",
            expected=f"a digest, or its first {SHORTEST} digits or more",
            next_step="llt status SWEEP, or llt results",
        )
    found = set(_starting_with(store, words))
    for folder in ("logs", "failures", "claims"):
        found |= {path.name.partition(".")[0] for path in (store.root / folder).glob(f"{words}*")}
    if not found:
        raise RequestError(
            f"no cell begins with {prefix!r}",
            where=str(store.root),
            expected="a cell that was started here",
            next_step="llt status SWEEP, or llt results",
        )
    if len(found) > 1:
        choices = sorted(found)
        more = [f"… {len(choices) - 10} more"] if len(choices) > 10 else []
        raise RequestError(
            f"{len(choices)} cells begin with {prefix!r}",
            where=str(store.root),
            expected="\n    ".join(("one of these", *choices[:10], *more)),
            next_step="more digits",
        )
    return found.pop()


def label(record: Record) -> str:
    """Return a few words for a cell: ``train seed 0``, ``cka(samples=64) seed 0+1``."""
    return naming.label(record.cell, record.composition)


def _names(record: Record) -> set[str]:
    """Return every name a cell answers to, digests apart."""
    names = {label(record), naming.work_name(record.cell), *(m.name for m in record.measurements)}
    if isinstance(record.cell, MeasureCell):
        names.add(naming.short_name(record.cell.metric.name))
    return names


def _starting_with(store: Store, prefix: str) -> list[str]:
    if len(prefix) < SHORTEST or not _DIGEST.fullmatch(prefix):
        return []
    # Cells with the same first digits share a folder, so a large store is not walked through.
    folders = sorted(store.path(prefix).parent.glob(f"{prefix}*"))
    return [folder.name for folder in folders if folder.name in store]


def _read(store: Store, digest: str) -> Record:
    record = store.read(digest)
    if record is None:
        raise LltError(
            f"the record of cell {digest} cannot be read and was moved aside",
            where=str(store.root / "broken"),
            next_step="run its command again",
        )
    return record


def _ambiguous(store: Store, words: str, fitting: Iterable[Record | None]) -> RequestError:
    found = sorted((r for r in fitting if r is not None), key=lambda r: (label(r), r.digest))
    choices = [f"{record.digest[:SHOWN]} {_described(record)}" for record in found]
    more = [f"… {len(choices) - 10} more"] if len(choices) > 10 else []
    return RequestError(
        f"{len(choices)} cells answer to {words!r}",
        where=str(store.root),
        expected="\n    ".join(("one of these, by its first digits", *choices[:10], *more)),
        next_step=f"llt show-result {found[0].digest[:SHOWN]}" if found else "llt results",
    )


def _described(record: Record) -> str:
    parts = [record.composition["task"], record.composition["architecture"]]
    names = " · ".join(part["name"].rpartition("/")[2] for part in parts)
    return f"{label(record)} ({names})"


def _unknown(store: Store, words: str, every: list[Record]) -> RequestError:
    near = _near(words, every)
    failure = _last_failure(store, words.lower())
    if failure is not None:
        return failure
    short = _DIGEST.fullmatch(words.lower()) and len(words) < SHORTEST
    return RequestError(
        f"{words!r} is too short for a digest" if short else f"no cell answers to {words!r}",
        where=str(store.root),
        expected=f"did you mean {' or '.join(near)}?"
        if near
        else f"a digest or its first {SHORTEST} digits or more, or a label such as "
        "'hessian_trace seed 0'",
        next_step=f"llt show-result {near[0].split()[0]}" if near else "llt results",
    )


def _near(words: str, every: list[Record]) -> list[str]:
    """Return up to three cells with a digest or a label like ``words``, digest first."""
    names: dict[str, Record] = {}
    for record in every:
        names[record.digest[: len(words)]] = record
        names |= dict.fromkeys(_names(record), record)
    close = get_close_matches(words, names, n=3, cutoff=0.7)
    found = {names[name].digest: names[name] for name in close}
    return [f"{digest[:SHOWN]} ({label(record)})" for digest, record in found.items()]


def _last_failure(store: Store, prefix: str) -> RequestError | None:
    """Return what to say when the only cell with this digest has failed."""
    if len(prefix) < SHORTEST or not _DIGEST.fullmatch(prefix):
        return None
    attempts = (store.root / "failures").glob(f"{prefix}*/*.json")
    last = max(attempts, key=lambda path: path.stat().st_mtime, default=None)
    if last is None:
        return None
    reason = json.loads(last.read_text(encoding="utf-8")).get("message", "")
    return RequestError(
        f"cell {last.parent.name[:SHOWN]} has no result: it failed: {reason}",
        where=str(last),
        next_step="run its command again",
    )
