"""The sentences of a split, and what models make of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

from llt_core.interfaces import Batch, Examples, MeasureContext, RequestError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from llt_plugins.translation.decode import Translation

_BEGIN, _END = 1, 2
_ROOM = 10
"""Tokens that every translation may have, however short its source."""


class Texts:
    """Seeded sentences of a split, ready to be translated by any model of a context.

    Parameters
    ----------
    samples
        How many; None for all.

    Attributes
    ----------
    references
        What each translation should be, as text.

    Raises
    ------
    RequestError
        The examples of the split are no texts.
    """

    def __init__(self, context: MeasureContext, split: str, samples: int | None) -> None:
        import torch

        self._context = context
        self._examples = context.examples(split, samples)
        _refuse_others(self._examples, split)
        texts = cast(Any, self._examples)
        self._decode: Callable[[Sequence[int]], str] = texts.decode
        self.references: list[str] = list(texts.references(torch.arange(len(self._examples))))
        described = context.task.describe()
        if described.padding is None:
            raise RequestError(
                "the task names no padding, which translations of unequal length need",
                where=f"{type(context.task).__name__}.describe()",
                expected="padding: the number of a token",
                next_step="leave out what needs translations",
            )
        self._padding = described.padding
        self._longest = described.input_shape[0]
        self._lengths = torch.cat(
            [
                (_source(batch) != self._padding).sum(dim=1).cpu()
                for batch in context.chunks(split, samples)
            ]
        )

    def words(self, translations: Sequence[Translation]) -> list[str]:
        """Return translations as text."""
        return [self._decode(one.tokens) for one in translations]

    def translations(
        self,
        model: nn.Module,
        *,
        beam: int = 1,
        length_penalty: float = 0.6,
        max_length: float = 2.0,
        report: Callable[[int, int], None] = lambda done, total: None,
    ) -> list[Translation]:
        """Return the translation of every sentence; those of like length go together.

        See :class:`llt_plugins.metrics.bleu.Bleu` for the parameters.

        Raises
        ------
        FloatingPointError
            The model gives NaN.
        """
        import torch

        from llt_plugins.translation.decode import Tokens, beam_search, greedy

        context, n = self._context, len(self._lengths)
        tokens = Tokens(self._padding, _BEGIN, _END)
        found: list[Translation | None] = [None] * n
        size, done = max(1, context.at_once(256 * beam) // beam), 0
        for index in torch.split(self._lengths.argsort(stable=True), size):
            source = _source(self._examples.batch(index).to(context.device))
            limits = [
                min(self._longest, int(max_length * length) + _ROOM)
                for length in self._lengths[index].tolist()
            ]
            if beam == 1:
                translations = greedy(model, source, limits, tokens)
            else:
                translations = beam_search(
                    model, source, limits, tokens, width=beam, strength=length_penalty
                )
            for place, translation in zip(index.tolist(), translations, strict=True):
                found[place] = translation
            done += len(index)
            report(done, n)
        return [one for one in found if one is not None]


def _refuse_others(examples: Examples, split: str) -> None:
    for name in ("decode", "references"):
        if not callable(getattr(examples, name, None)):
            raise RequestError(
                f"{type(examples).__name__} has no method {name!r}, so translations cannot "
                "be compared with texts",
                where=f"the split {split!r}",
                expected="examples with decode(tokens) -> str and references(indices) -> list[str]",
                next_step="leave out what needs translations, or give the task's examples both",
            )


def _source(batch: Batch) -> Tensor:
    """Return the tokens to translate, ``(B, S)``."""
    inputs: Any = batch.inputs
    try:
        source: Tensor = inputs["source"]
    except (TypeError, KeyError, IndexError) as error:
        raise RequestError(
            "the inputs have no source to translate",
            expected="inputs by keyword: source and target",
        ) from error
    return source
