"""Sentences on which networks are compared: mixed as vectors, since tokens cannot be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llt_plugins.similarity.features import call, layers, single
from llt_plugins.similarity.representation import Missing


@dataclass(frozen=True)
class Sentences:
    """One batch of B examples, each of which may be mixed with another one.

    Attributes
    ----------
    inputs
        Keyword arguments of the network: tokens, int64 ``(B, L)``. With ``share``, ``(2B, L)``:
        row B + i holds what is mixed into row i.
    share
        λ; None where nothing is mixed.
    padding
        The token that fills short sequences up.
    """

    inputs: Mapping[str, Tensor]
    share: float | None
    padding: int | None

    def __len__(self) -> int:
        """Return the number of examples B."""
        rows = len(next(iter(self.inputs.values())))
        return rows if self.share is None else rows // 2

    def filled(self, name: str) -> Tensor:
        """Return 1 where a row of the input ``name`` has a token and 0 elsewhere, ``(B, L)``."""
        tokens = self.inputs[name][: len(self)]
        return torch.ones_like(tokens) if self.padding is None else (tokens != self.padding).long()


@contextmanager
def mixed(model: nn.Module, embeddings: Sequence[str], sentences: Sentences) -> Iterator[None]:
    """Mix what the layers ``embeddings`` return, as long as the context lasts.

    Position by position, row i of them becomes ``λ e(first) + (1 − λ) e(second)`` with e the
    vectors of rows i and B + i (wordMixup of Guo, Mao and Zhang 2019); the other half of the
    rows passes through and is of no use afterwards. The network sees the tokens of the first
    sentence, so the mixture has its length and its masks: what the second has beyond that is
    cut off, and where it is shorter, e is the vector of padding. Nothing happens without
    ``share``. The hooks are removed in any case.

    Raises
    ------
    ValueError
        There is no such layer, none at all, or one that returns other than a row for each
        example.
    """
    if sentences.share is None:
        yield
        return
    modules, count, share = dict(model.named_modules()), len(sentences), sentences.share
    unknown = [name for name in embeddings if name not in modules]
    if unknown or not embeddings:
        raise ValueError(
            f"the model has no layer {', '.join(unknown)}"
            if unknown
            else "no layer is known to turn tokens into vectors, so nothing can be mixed"
        )

    def hook(module: nn.Module, arguments: Any, output: Any) -> Tensor:
        x = single(output, "a layer that turns tokens into vectors")
        if len(x) != 2 * count:
            raise ValueError(
                f"{type(module).__name__} returns {tuple(x.shape)} for {2 * count} sentences: "
                "a layer that turns tokens into vectors gives a row for each of them"
            )
        first, second = x[:count], x[count:]
        return torch.cat([share * first + (1.0 - share) * second, second])

    # First of all hooks: whoever looks at these layers sees the mixture.
    handles = [modules[name].register_forward_hook(hook, prepend=True) for name in embeddings]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def run(model: nn.Module, sentences: Sentences, embeddings: Sequence[str]) -> Any:
    """Return what ``model`` gives for ``sentences``; of all rows the first B are theirs."""
    with mixed(model, embeddings, sentences):
        return call(model, sentences.inputs)


def sentence_layers(
    model: nn.Module,
    batches: Sequence[Sentences],
    names: Sequence[str],
    embeddings: Sequence[str],
) -> Iterator[tuple[str, Tensor | Missing]]:
    """Yield the activations of the named layers, averaged over the tokens of each sentence.

    Activations ``(B, L, D)`` have the positions of one of the inputs (an encoder's those of
    the source, a decoder's those of the target); which one, their length tells on a sentence
    that is cut to another length for each input. The mean ``(B, D)`` is over positions that
    hold a token. Activations ``(B, D)`` are taken as they are, and others are
    :class:`Missing`.

    Raises
    ------
    ValueError
        As :func:`~llt_plugins.similarity.features.layers`.
    """
    if not batches:
        raise ValueError("there are no sentences to compute activations on")
    shapes = _shapes(model, batches[0], names)
    widths = {width: name for name, width in _widths(batches[0]).items()}
    fitting = [name for name in names if len(shapes[name]) == 2 or shapes[name][1] in widths]

    def reduce(name: str, x: Tensor, sentences: Sentences) -> Tensor:
        x = x[: len(sentences)]
        if x.ndim == 2:
            return x
        filled = sentences.filled(widths[shapes[name][1]]).to(x.dtype)
        filled = filled.reshape(*filled.shape, *[1] * (x.ndim - 2))
        return ((x * filled).sum(dim=1) / filled.sum(dim=1)).flatten(1)

    def runner(model: nn.Module, sentences: Sentences) -> Any:
        return run(model, sentences, embeddings)

    found = layers(model, batches, fitting, run=runner, reduce=reduce) if fitting else iter(())
    for name in names:
        if name in fitting:
            yield next(found)
        else:
            reason = f"its activations {tuple(shapes[name])} have no axis of tokens"
            yield name, Missing(f"{reason}, expected (B, L, D)")


def _widths(sentences: Sentences) -> dict[str, int]:
    """Return another length for each input."""
    return {name: 2 + number for number, name in enumerate(sentences.inputs)}


def _shapes(
    model: nn.Module, sentences: Sentences, names: Sequence[str]
) -> dict[str, tuple[int, ...]]:
    """Return the shape of each layer's activations on a sentence cut to unequal lengths."""
    fill = 0 if sentences.padding is None else sentences.padding
    cut = {
        name: F.pad(sentences.inputs[name][:1, :width], (0, width), value=fill)[:, :width]
        for name, width in _widths(sentences).items()
    }
    shapes: dict[str, tuple[int, ...]] = {}

    def reduce(name: str, x: Tensor, _: Any) -> Tensor:
        shapes[name] = tuple(x.shape)
        return x.new_zeros(1, 1)

    for _ in layers(model, [cut], names, reduce=reduce):
        pass
    return shapes


def chosen_terms(owners: Tensor, count: int, draws: Tensor) -> Tensor:
    """Return one term of each of the first ``count`` examples of a batch, int64 ``(count,)``.

    Parameters
    ----------
    owners
        The example of each term, int64 ``(T,)``.
    draws
        Numbers in [0, 1), ``(count,)``: which of its terms is taken of each example.

    Raises
    ------
    ValueError
        If one of them has no term.

    Examples
    --------
    >>> chosen_terms(torch.tensor([0, 0, 1, 2, 2, 2]), 2, torch.tensor([0.6, 0.9]))
    tensor([1, 2])
    """
    terms = torch.bincount(owners, minlength=count)
    if not bool(terms[:count].all()):
        raise ValueError("an example has no term to compare, expected one target token at least")
    start = terms.cumsum(0) - terms
    place = (draws.double() * terms[:count]).long().clamp(max=terms[:count] - 1)
    return owners.argsort(stable=True)[start[:count] + place]
