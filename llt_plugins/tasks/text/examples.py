"""Pairs of sentences in memory, as tokens and as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from llt_core.interfaces import Batch, BatchUnit, Examples
from llt_plugins.tasks.text.batches import batches
from llt_plugins.tasks.text.vocabulary import BOS, EOS, PADDING, Vocabulary

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True)
class Sentences:
    """One side of N pairs. Choosing some of them copies no tokens.

    Attributes
    ----------
    tokens
        All tokens one after the other, int32, after one token of padding: ``(1 + sum,)``.
    starts, lengths
        Where each sentence begins in ``tokens`` and how many tokens it has, its end
        included; int64 ``(N,)``, on the CPU, so that shapes are known without waiting.
    texts
        The sentences as read, those left out included.
    rows
        Which of ``texts`` each sentence is; int64 ``(N,)``, on the CPU.
    """

    tokens: Tensor
    starts: Tensor
    lengths: Tensor
    texts: tuple[str, ...]
    rows: Tensor

    @classmethod
    def encoded(cls, texts: Sequence[str], vocabulary: Vocabulary, longest: int) -> Self:
        """Return ``texts`` as tokens, each closed by the end token.

        A sentence of more than ``longest`` tokens, its end included, is cut there; as it
        does not end there, it then has no end token.
        """
        import numpy as np
        import torch

        encoded = [[*tokens, EOS][:longest] for tokens in vocabulary.encode(texts)]
        lengths = np.array([len(tokens) for tokens in encoded], dtype=np.int64)
        flat = np.empty(1 + int(lengths.sum()), dtype=np.int32)
        flat[0] = PADDING
        ends = 1 + lengths.cumsum()
        for tokens, end in zip(encoded, ends, strict=True):
            flat[end - len(tokens) : end] = tokens
        return cls(
            tokens=torch.from_numpy(flat),
            starts=torch.from_numpy(ends - lengths),
            lengths=torch.from_numpy(lengths),
            texts=tuple(texts),
            rows=torch.arange(len(encoded)),
        )

    def __len__(self) -> int:
        """Return the number of sentences N."""
        return len(self.rows)

    def select(self, indices: Tensor) -> Self:
        """Return the sentences at ``indices``, in that order."""
        indices = indices.cpu()
        return replace(
            self,
            starts=self.starts[indices],
            lengths=self.lengths[indices],
            rows=self.rows[indices],
        )

    def to(self, device: torch.device | str) -> Self:
        """Return the sentences with their tokens on ``device``."""
        return replace(self, tokens=self.tokens.to(device))

    def padded(self, indices: Tensor) -> Tensor:
        """Return the tokens at ``indices`` (``(B,)``, on the CPU), int64 ``(B, longest)``."""
        import torch

        lengths = self.lengths[indices, None]
        at = torch.arange(int(lengths.max()) if len(lengths) else 0)
        places = torch.where(at < lengths, self.starts[indices, None] + at, 0)
        return self.tokens[places.to(self.tokens.device)].long()

    def words(self, indices: Tensor) -> list[str]:
        """Return the texts at ``indices``, whole even where the tokens are cut."""
        return [self.texts[row] for row in self.rows[indices.cpu()].tolist()]


@dataclass(frozen=True)
class ParallelExamples(Examples):
    """N sentences with their translations, and what turns tokens back into text."""

    source: Sentences
    target: Sentences
    vocabulary: Vocabulary

    def __len__(self) -> int:
        """Return the number of pairs N."""
        return len(self.source)

    def subset(self, indices: Tensor) -> Self:
        """Return the pairs at ``indices``."""
        return replace(self, source=self.source.select(indices), target=self.target.select(indices))

    def to(self, device: torch.device | str) -> Self:
        """Return the pairs with their tokens on ``device``."""
        return replace(self, source=self.source.to(device), target=self.target.to(device))

    def batch(self, indices: Tensor) -> Batch:
        """Return tokens filled up to the longest sentence of the batch, and no further.

        ``source`` ``(B, S)`` ends with the end token; ``target`` ``(B, T)`` starts with the
        beginning token, and the targets ``(B, T)`` are what follows each of its tokens.
        """
        import torch

        indices = indices.cpu()
        targets = self.target.padded(indices)
        known = torch.full_like(targets, BOS)
        known[:, 1:] = targets[:, :-1]
        # What stands before the first padding is the end token, which nothing follows.
        known.masked_fill_(targets == PADDING, PADDING)
        inputs = {"source": self.source.padded(indices), "target": known}
        return Batch(inputs, targets, weight=int(self.target.lengths[indices].sum()))

    def slices(
        self,
        batch_size: int,
        *,
        unit: BatchUnit = "examples",
        generator: torch.Generator | None = None,
        drop_last: bool = False,
    ) -> Iterator[Tensor]:
        """Return the index tensors of one pass, in order, or shuffled by ``generator``.

        Shuffled batches hold sentences of like length, so that little is padding. A batch
        of ``batch_size`` tokens has at most that many places for target tokens, padding and
        end tokens included. See :func:`~llt_plugins.tasks.text.batches.batches` for
        ``drop_last``.
        """
        lengths = self.source.lengths, self.target.lengths
        return iter(batches(*lengths, batch_size, unit, generator, drop_last))

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of ``tokens`` up to the first end token."""
        return self.vocabulary.decode(tokens)

    def sources(self, indices: Tensor) -> list[str]:
        """Return the source texts at ``indices`` as read, in lower case if the task says so."""
        return self.source.words(indices)

    def references(self, indices: Tensor) -> list[str]:
        """Return the target texts at ``indices`` as read, in lower case if the task says so."""
        return self.target.words(indices)
