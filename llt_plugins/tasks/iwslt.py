"""IWSLT 2016, German and English: transcripts of TED talks and their translations."""

from __future__ import annotations

import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import ClassVar, Literal, Self

from pydantic import model_validator

from llt_core.interfaces import DataError, parameter
from llt_plugins.tasks.published import reading
from llt_plugins.tasks.text.mteval import mteval_segments
from llt_plugins.tasks.text.reading import Pairs, Sentence, Text, decoded_lines, pair_up, tidy
from llt_plugins.tasks.text.translation import TranslationTask

HeldOut = Literal["dev2010", "tst2010", "tst2011", "tst2012", "tst2013", "tst2014"]

_FOLDER = "iwslt/de-en"
_ARCHIVES = ("iwslt/de-en.tgz", "iwslt/2016-01.tgz")
_INNER = "texts/de/en/de-en.tgz"
_STANDIN = "README.stand-in.json"
_TALK = "<url"
_TAGS = (
    _TALK, "<keywords", "<talkid", "<description", "<reviewer", "<translator", "<title",
    "<speaker", "<doc", "</doc",
)  # fmt: skip
"""Lines of the training files that hold one of these are about a talk, not of it."""


class Iwslt(TranslationTask):
    """The evaluation campaign's German-English talks (Cettolo et al. 2016).

    Files and conventions are those of torchtext 0.6.0 (``torchtext.datasets.IWSLT``): the
    folder ``iwslt/de-en`` below the data root, or the archive ``de-en.tgz`` it comes from.
    Unlike there, nothing is unpacked or written, and files that do not fit together are
    refused instead of being paired up to the shorter one.
    """

    summary: ClassVar[str] = "IWSLT 2016: TED talks, German to English (or back), 4,000 pairs"
    split_policy: ClassVar[str] = (
        "The published files: train.tags for training, tst2013 for validation and tst2014 for "
        "testing unless other sets are named; of the training pairs the first `pairs` of one "
        "permutation (numpy RandomState, seed 0)."
    )

    direction: Literal["de-en", "en-de"] = parameter(
        "de-en",
        description="Language translated from, and language translated to; both ways read the "
        "de-en files",
    )
    validation: HeldOut = parameter("tst2013", description="Published set to validate on")
    test: HeldOut = parameter("tst2014", description="Published set to test on")

    @model_validator(mode="after")
    def _two_sets(self) -> Self:
        if self.validation == self.test:
            raise ValueError(f"validation and test are the same set, {self.test}")
        return self

    def files(self, data_root: Path) -> tuple[Path, ...]:
        """Return the files of the unpacked folder; where there is none, the archive."""
        folder = data_root / _FOLDER
        if not folder.is_dir():
            for archive in _ARCHIVES:
                if (data_root / archive).is_file():
                    return (data_root / archive,)
        marker = folder / _STANDIN
        names = [name for pair in self._names().values() for name in pair]
        return (*(folder / name for name in names), *([marker] if marker.is_file() else []))

    def read(self, data_root: Path) -> Mapping[str, Pairs]:
        """Return all pairs of each split."""
        (first, *_) = files = self.files(data_root)
        if first.suffix == ".tgz":
            names = [name for pair in self._names().values() for name in pair]
            raw = _members(first, names)
            texts = {name: _text(name, raw[name], f"{first.absolute()}: {name}") for name in raw}
        else:
            texts = {path.name: _file_text(path) for path in files if path.name != _STANDIN}
        splits = {}
        for split, pair in self._names().items():
            source, target = (texts[name] for name in pair)
            splits[split] = pair_up(source, target, self.blank_lines)
        return splits

    def _names(self) -> dict[str, tuple[str, str]]:
        """Return the names of source and target file of each split."""
        source, target = self.direction.split("-")
        patterns = {
            "train": "train.tags.de-en.{}",
            "validation": f"IWSLT16.TED.{self.validation}.de-en.{{}}.xml",
            "test": f"IWSLT16.TED.{self.test}.de-en.{{}}.xml",
        }
        return {
            split: (pattern.format(source), pattern.format(target))
            for split, pattern in patterns.items()
        }

    def missing(self, names: str, data_root: Path) -> DataError:
        """Say which files to fetch, where to put them, and what to do without them."""
        return DataError(
            f"files of IWSLT 2016 are missing: {names}",
            where=str(data_root),
            expected=f"the unpacked files in {_FOLDER}, or the archive as published in "
            f"{' or '.join(_ARCHIVES)}; the address torchtext downloads it from "
            "(wit3.fbk.eu/archive/2016-01) is dead",
            next_step="fetch 2016-01.tgz through https://wit3.fbk.eu/2016-01 and put it into "
            f"{data_root / 'iwslt'}, or name the folder that has it with --data-root DIR or "
            "LLT_DATA, or translate text of your own with --task parallel_text",
        )


def _file_text(path: Path) -> Text:
    with reading(path):
        raw = path.read_bytes()
    return _text(path.name, raw, str(path.absolute()))


def _text(name: str, raw: bytes, where: str) -> Text:
    """Return the sentences of one published file."""
    if name.endswith(".xml"):
        return mteval_segments(raw, where)
    sentences, talk = [], 0
    for number, line in enumerate(decoded_lines(raw, where), start=1):
        if "<" in line and any(tag in line for tag in _TAGS):
            talk += _TALK in line
        else:
            sentences.append(Sentence(tidy(line), number, talk))
    return Text(where, tuple(sentences))


def _members(path: Path, names: Iterable[str]) -> dict[str, bytes]:
    """Return the content of the files called ``names`` in an archive; nothing is unpacked.

    ``de-en.tgz`` holds the folder ``de-en``; ``2016-01.tgz`` holds ``de-en.tgz`` among the
    archives of other languages.
    """
    with reading(path), tarfile.open(path) as archive:
        for member in archive:
            if member.isfile() and member.name.endswith(_INNER):
                inner = archive.extractfile(member)
                with tarfile.open(fileobj=inner) as nested:
                    return _pick(nested, path, names)
        return _pick(archive, path, names)


def _pick(archive: tarfile.TarFile, path: Path, names: Iterable[str]) -> dict[str, bytes]:
    wanted, found = set(names), {}
    for member in archive:
        at = PurePosixPath(member.name)
        if member.isfile() and at.name in wanted and at.parent.name == "de-en":
            content = archive.extractfile(member)
            assert content is not None  # it is a file
            found[at.name] = content.read()
    missing = sorted(wanted - set(found))
    if missing:
        raise DataError(
            f"the archive lacks {len(missing)} file(s): {', '.join(missing)}",
            where=str(path.absolute()),
            expected="the archive as published, complete",
            next_step="fetch it again",
        )
    return found
