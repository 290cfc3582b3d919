"""Sentences out of files: every fault is told with the file and the line it is on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from llt_core.interfaces import DataError
from llt_plugins.tasks.published import reading

BlankLines = Literal["refuse", "skip"]
"""What happens to a pair of sentences one of which is empty."""


class Sentence(NamedTuple):
    """One sentence as read; a tuple, for there are hundreds of thousands.

    Attributes
    ----------
    text
        Without white space at the ends; runs of white space inside are one space.
    line
        Number of its line in the file, from 1.
    part
        Which talk or document it belongs to; sentences are paired within a part.
    """

    text: str
    line: int
    part: int = 0


@dataclass(frozen=True, slots=True)
class Text:
    """The sentences of one file, in order; ``where`` names the file in messages."""

    where: str
    sentences: tuple[Sentence, ...]


@dataclass(frozen=True, slots=True)
class Pairs:
    """Sentences and their translations, as many of the one as of the other."""

    sources: tuple[str, ...]
    targets: tuple[str, ...]

    def __len__(self) -> int:
        """Return the number of pairs N."""
        return len(self.sources)

    def at(self, rows: Iterable[int]) -> Pairs:
        """Return the pairs at ``rows``, in that order."""
        rows = list(rows)
        return Pairs(
            tuple(self.sources[row] for row in rows), tuple(self.targets[row] for row in rows)
        )

    def lower(self) -> Pairs:
        """Return the pairs in lower case."""
        return Pairs(
            tuple(text.lower() for text in self.sources),
            tuple(text.lower() for text in self.targets),
        )


def plain_text(path: Path) -> Text:
    """Return the sentences of a text file, one a line."""
    with reading(path):
        raw = path.read_bytes()
    where = str(path.absolute())
    lines = decoded_lines(raw, where)
    return Text(where, tuple(Sentence(tidy(line), n) for n, line in enumerate(lines, start=1)))


def tidy(text: str) -> str:
    """Return ``text`` with one space for each run of white space, and none at the ends."""
    return " ".join(text.split())


def decoded_lines(raw: bytes, where: str) -> list[str]:
    r"""Return the lines of UTF-8 text; lines end with ``\n``, and with nothing else.

    A mark of byte order at the start is left out.

    Raises
    ------
    DataError
        Some bytes are not UTF-8, or there are NUL characters, as in UTF-16.
    """
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"byte 0x{raw[error.start]:02x} at position {error.start} is not UTF-8",
            where=f"{where}, line {line}",
            expected="UTF-8 text from the first byte to the last",
            next_step="convert the file first, for example: iconv -f LATIN1 -t UTF-8",
        ) from None
    if "\0" in text:
        raise DataError(
            "the text contains NUL characters",
            where=f"{where}, line {text.count(chr(10), 0, text.index(chr(0))) + 1}",
            expected="UTF-8 text",
            next_step="convert the file first, for example: iconv -f UTF-16 -t UTF-8",
        )
    lines = text.removeprefix("\ufeff").split("\n")
    return lines if lines[-1] else lines[:-1]


def pair_up(source: Text, target: Text, blank_lines: BlankLines) -> Pairs:
    """Return the sentences of two aligned files in pairs.

    Raises
    ------
    DataError
        The files do not hold the same number of sentences, in the whole or in some part;
        a sentence is empty and ``blank_lines`` is ``refuse``; or nothing is left.
    """
    for text in (source, target):
        if not text.sentences:
            raise DataError(
                "the file holds no sentences",
                where=f"{text.where}, line 1",
                expected="one sentence for each of its translations",
                next_step="replace the file",
            )
    _check_alignment(source, target)
    kept = []
    for one, other in zip(source.sentences, target.sentences, strict=True):
        if one.text and other.text:
            kept.append((one.text, other.text))
        elif blank_lines == "refuse":
            raise _blank(source, one, target, other)
    if not kept:
        raise DataError(
            "every pair of sentences lacks one side",
            where=f"{source.where} and {target.where}",
            expected="at least one sentence with its translation",
        )
    sources, targets = zip(*kept, strict=True)
    return Pairs(sources, targets)


def _check_alignment(source: Text, target: Text) -> None:
    """Find the first sentence that has no partner, and say where it is."""
    for one, other in zip(source.sentences, target.sentences, strict=False):
        if one.part != other.part:
            # The side that has gone on to the next part is the one that lacks a sentence.
            behind, rest = (target, other) if one.part > other.part else (source, one)
            raise _unpaired(source, target, behind, rest)
    counts = len(source.sentences), len(target.sentences)
    if counts[0] != counts[1]:
        longer = source if counts[0] > counts[1] else target
        raise _unpaired(source, target, longer, longer.sentences[min(counts)])


def _unpaired(source: Text, target: Text, longer: Text, sentence: Sentence) -> DataError:
    other = target if longer is source else source
    return DataError(
        f"this sentence has no translation in {other.where}: the two files hold "
        f"{len(source.sentences)} and {len(target.sentences)} sentences",
        where=f"{longer.where}, line {sentence.line}",
        expected="aligned files: a sentence and its translation at the same place of both",
        next_step="find where the files go apart, at or before this line, and repair them",
    )


def _blank(source: Text, one: Sentence, target: Text, other: Sentence) -> DataError:
    (empty, line), (full, partner) = (source.where, one.line), (target.where, other.line)
    if one.text:
        (empty, line), (full, partner) = (full, partner), (empty, line)
    both = not one.text and not other.text
    also = "so is" if both else "its translation is"
    return DataError(
        f"the sentence is empty; {also} {full}, line {partner}",
        where=f"{empty}, line {line}",
        expected="a sentence on each side of every pair",
        next_step="repair the files, or leave such pairs out with --set task.blank_lines=skip",
    )
