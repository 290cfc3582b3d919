"""A tiny translation task and a tiny transformer for plugins to be tried on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from llt_core.interfaces import Batch, BatchUnit, Examples, Task, TaskDescription, parameter

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

PADDING, BEGIN, END, UNKNOWN = range(4)


@dataclass(frozen=True)
class TinyPairs(Examples):
    """Pairs of token sequences, the second one with its beginning and end.

    Attributes
    ----------
    source
        Tokens of each source sentence, then the end: int64 ``(N, S)``, filled up with padding.
    target
        The beginning, the tokens of each target sentence, the end: int64 ``(N, T)``.
    """

    source: Tensor
    target: Tensor

    def __len__(self) -> int:
        """Return the number of pairs N."""
        return len(self.source)

    def subset(self, indices: Tensor) -> Self:
        """Return the pairs at ``indices``."""
        return replace(self, source=self.source[indices], target=self.target[indices])

    def to(self, device: torch.device | str) -> Self:
        """Return the pairs with their tokens on ``device``."""
        return replace(self, source=self.source.to(device), target=self.target.to(device))

    def batch(self, indices: Tensor) -> Batch:
        """Return the pairs at ``indices``, no longer than the longest of them."""
        indices = indices.to(self.source.device)
        source, target = (_trimmed(side[indices]) for side in (self.source, self.target))
        following = target[:, 1:]
        weight = int((following != PADDING).sum())
        return Batch({"source": source, "target": target[:, :-1]}, following, weight)

    def slices(
        self,
        batch_size: int,
        *,
        unit: BatchUnit = "examples",
        generator: torch.Generator | None = None,
        drop_last: bool = False,
    ) -> Iterator[Tensor]:
        """Yield the index tensors of one pass; the size counts pairs, or places of the target."""
        import torch

        if unit == "examples":
            yield from super().slices(batch_size, generator=generator, drop_last=drop_last)
            return
        n, longest = len(self), self.target.shape[1] - 1
        order = torch.arange(n) if generator is None else torch.randperm(n, generator=generator)
        for index in torch.split(order, max(1, batch_size // longest)):
            if not drop_last or len(index) == max(1, batch_size // longest):
                yield index

    def decode(self, tokens: Sequence[int]) -> str:
        """Return what ``tokens`` say: one letter a word, nothing from the end on."""
        words: list[str] = []
        for token in tokens:
            if token == END:
                break
            if token > END:
                words.append("?" if token == UNKNOWN else chr(ord("a") + token - UNKNOWN - 1))
        return " ".join(words)

    def references(self, indices: Tensor | Sequence[int]) -> list[str]:
        """Return the target sentences at ``indices`` in words."""
        return [self.decode(self.target[int(index)].tolist()) for index in indices]


def _trimmed(tokens: Tensor) -> Tensor:
    """Return ``tokens`` without the columns that hold padding only."""
    return tokens[:, : int((tokens != PADDING).sum(dim=1).max())]


class TinyTexts(Task):
    """Sentences of 1 to 6 random words of a made-up language, and each one backwards."""

    summary = "A few sentences of random letters and their reverse, for tests"
    split_policy = "The first 40 pairs are the training split and the other 24 the test split."

    words: int = parameter(12, ge=2, le=26, unit="words", description="Number of different words")

    def describe(self) -> TaskDescription:
        """Return the shapes."""
        return TaskDescription(
            modality="text", input_shape=(8,), outputs=self.words + 4, padding=PADDING
        )

    def datasets(self, data_root: Path) -> Mapping[str, TinyPairs]:
        """Return the same pairs as :meth:`tiny`; no file is read."""
        return self.tiny()

    def tiny(self) -> Mapping[str, TinyPairs]:
        """Return int64 tokens of pairs of unequal lengths, always the same."""
        import torch

        generator = torch.Generator().manual_seed(0)
        source, target = torch.full((64, 7), PADDING), torch.full((64, 8), PADDING)
        for row in range(64):
            length = int(torch.randint(1, 7, (), generator=generator))
            words = torch.randint(UNKNOWN + 1, self.words + 4, (length,), generator=generator)
            source[row, : length + 1] = torch.cat([words, torch.tensor([END])])
            target[row, : length + 2] = torch.cat(
                [torch.tensor([BEGIN]), words.flip(0), torch.tensor([END])]
            )
        pairs = TinyPairs(source, target)
        return {
            "train": pairs.subset(torch.arange(40)),
            "test": pairs.subset(torch.arange(40, 64)),
        }

    def loss(self, outputs: Any, batch: Batch) -> Tensor:
        """Return the mean cross-entropy in nats over the target tokens."""
        from torch.nn.functional import cross_entropy

        return cross_entropy(self.logits(outputs, batch), _following(batch))

    def evaluate(self, outputs: Any, batch: Batch) -> Mapping[str, Tensor]:
        """Return ``loss`` (nats) and ``correct`` (0 or 1) of each target token."""
        from torch.nn.functional import cross_entropy

        logits, following = self.logits(outputs, batch), _following(batch)
        return {
            "loss": cross_entropy(logits, following, reduction="none"),
            "correct": (logits.argmax(dim=1) == following).to(logits.dtype),
        }

    def logits(self, outputs: Any, batch: Batch) -> Tensor:
        """Return the logits of each target token, ``(weight, V)``."""
        rows: Tensor = outputs[batch.targets != PADDING]
        return rows


def _following(batch: Batch) -> Tensor:
    return batch.targets[batch.targets != PADDING]


def small_translator(task: TaskDescription, seed: int = 0) -> nn.Module:
    """Return a seeded encoder–decoder with attention in eval mode, of about 1,500 parameters.

    It is called with the tokens ``source`` ``(B, S)`` and ``target`` ``(B, T)`` and gives
    logits ``(B, T, outputs)``; ``encode(source)`` and ``decode(target, memory, source)`` are
    the two halves. One bias is frozen, and a layer that does nothing is in train mode: both are
    states that a metric must leave as they are. Global random state is not touched.
    """
    import torch

    from llt_core.testing.translator import SmallTranslator

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = SmallTranslator(task.outputs, task.padding)
    network.get_parameter("encoder.up.bias").requires_grad_(False)
    network.eval()
    network.nothing.train()
    return network
