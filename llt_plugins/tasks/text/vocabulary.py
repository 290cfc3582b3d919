"""One vocabulary of sub-words for both languages, and the cache it is kept in."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llt_core.interfaces import RequestError

if TYPE_CHECKING:
    from sentencepiece import SentencePieceProcessor

PADDING, BOS, EOS, UNKNOWN = range(4)
"""Token numbers with a meaning of their own: filling, beginning, end, unknown."""

_SPECIAL = 4
_SETTINGS: dict[str, Any] = {
    # Byte-pair encoding merges by counts, which are whole numbers: the same text gives the
    # same pieces on every machine. (The unigram model adds up floating-point numbers.)
    "model_type": "bpe",
    "pad_id": PADDING,
    "bos_id": BOS,
    "eos_id": EOS,
    "unk_id": UNKNOWN,
    "character_coverage": 1.0,
    # The text stays what it is, so that decoding gives it back.
    "normalization_rule_name": "identity",
    "remove_extra_whitespaces": False,
    # Little text has fewer pieces than asked for, and that is no error.
    "hard_vocab_limit": False,
    # Longer lines would be left out, and their characters unknown.
    "max_sentence_length": 1 << 24,
    "num_threads": 1,
}


@dataclass(frozen=True)
class Vocabulary:
    """Sub-words by byte-pair encoding (Sennrich, Haddow and Birch 2016).

    Attributes
    ----------
    model
        The trained model of sentencepiece (Kudo and Richardson 2018), as it would lie in a
        file: whoever has the examples can decode.
    """

    model: bytes

    @classmethod
    def trained(cls, texts: Sequence[str], size: int) -> Vocabulary:
        """Return the vocabulary of ``texts`` with at most ``size`` tokens.

        Trained once: the model is kept in the user's cache folder under the digest of
        texts, settings and version of sentencepiece.
        """
        check_alphabet(texts, size)
        path = cache_folder() / f"{_digest(texts, size)}.model"
        found = _load(path, size)
        if found is None:
            found = cls(_train(texts, size))
            _keep(path, found.model)
        return found

    @classmethod
    def uncached(cls, texts: Sequence[str], size: int) -> Vocabulary:
        """Return the vocabulary of a few ``texts``; nothing is read from or written to disk."""
        check_alphabet(texts, size)
        return cls(_train(texts, size))

    def __len__(self) -> int:
        """Return the number of tokens, the four special ones included."""
        return int(self._processor.get_piece_size())

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the tokens of each text, without beginning and end."""
        tokens: list[list[int]] = self._processor.encode(list(texts), num_threads=1)
        return tokens

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of ``tokens`` up to the first end; what is unknown becomes ⁇.

        Special tokens are left out. A model may have more outputs than there are tokens:
        numbers without a piece are unknown.
        """
        size, chosen = len(self), []
        for token in tokens:
            if token == EOS:
                break
            if token not in (PADDING, BOS):
                chosen.append(token if token < size else UNKNOWN)
        text: str = self._processor.decode(chosen)
        return text

    @cached_property
    def _processor(self) -> SentencePieceProcessor:
        from sentencepiece import SentencePieceProcessor

        return SentencePieceProcessor(model_proto=self.model)

    def __getstate__(self) -> dict[str, Any]:
        """Pickle the model alone; the processor is made anew from it."""
        return {"model": self.model}


def check_alphabet(texts: Sequence[str], size: int) -> None:
    """Refuse a vocabulary that cannot hold every character of ``texts``.

    Raises
    ------
    RequestError
        Says how many tokens it takes at least.
    """
    least = len(set("▁".join(texts).replace(" ", "▁")) | {"▁"}) + _SPECIAL
    if size < least:
        raise RequestError(
            f"a vocabulary of {size} tokens cannot hold the {least - _SPECIAL} different "
            "characters of the training text",
            where="task.vocabulary",
            expected=f"at least {least}, better some thousands",
            next_step=f"--set task.vocabulary={max(2000, 2 * least)}",
        )


def cache_folder() -> Path:
    """Return where vocabularies are kept: ``llt/vocabularies`` in the user's cache folder."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "llt" / "vocabularies"


def _digest(texts: Sequence[str], size: int) -> str:
    import sentencepiece

    settings = {**_SETTINGS, "vocab_size": size, "sentencepiece": sentencepiece.__version__}
    total = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for text in texts:
        total.update(b"\n" + text.encode())
    return total.hexdigest()


def _train(texts: Sequence[str], size: int) -> bytes:
    from sentencepiece import SentencePieceTrainer

    model = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_writer=model,
        vocab_size=size,
        minloglevel=2,
        **_SETTINGS,
    )
    return model.getvalue()


def _load(path: Path, size: int) -> Vocabulary | None:
    """Return the vocabulary kept at ``path``; None where it is missing or damaged."""
    try:
        found = Vocabulary(path.read_bytes())
        fits = _SPECIAL < len(found) <= size
    except (OSError, RuntimeError):
        return None
    return found if fits else None


def _keep(path: Path, model: bytes) -> None:
    """Write beside, then rename; a cache that cannot be written is no reason to fail."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".partial")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(model)
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
