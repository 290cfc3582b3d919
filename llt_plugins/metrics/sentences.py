"""The sentences on which translators are compared: which ones, and what is read of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from llt_core.interfaces import Batch, MeasureContext, RequestError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from llt_plugins.similarity.inputs import Mixture
    from llt_plugins.similarity.representation import Missing
    from llt_plugins.similarity.texts import Sentences


class Drawn(NamedTuple):
    """One batch of B sentences, mixed or not.

    Attributes
    ----------
    sentences
        What the model is called with.
    batch
        The same as the task sees it; where sentences are mixed it holds both parts.
    chosen
        The term of each sentence whose prediction is compared, int64 ``(B,)``.
    """

    sentences: Sentences
    batch: Batch
    chosen: Tensor


def draw_sentences(
    context: MeasureContext,
    split: str,
    samples: int | None,
    generator: torch.Generator,
    mixtures: Sequence[Mixture] | None = None,
) -> list[Drawn]:
    """Return seeded sentences of ``split``, or ``mixtures`` of them, and one token of each.

    One token only, because the tokens of a sentence are no independent samples.
    """
    import torch

    from llt_plugins.similarity.texts import Sentences, chosen_terms

    task = context.task
    examples = context.examples(split, samples)
    size = context.at_once(len(examples)) // 2 or 1
    everything = torch.arange(len(examples))
    drawn = []
    for first, second, draws, share in _pieces(mixtures or [everything], size, generator):
        both = first if second is None else torch.cat([first, second])
        batch = examples.batch(both).to(context.device, context.dtype)
        inputs, owners = batch.inputs, task.owners(batch)
        if not isinstance(inputs, Mapping):
            raise TypeError(
                f"the inputs of a text are {type(inputs).__name__}, expected a mapping of the "
                "keywords source and target to tokens"
            )
        rows = torch.arange(batch.weight) if owners is None else owners.cpu()
        chosen = chosen_terms(rows, len(first), draws).to(batch.targets.device)
        sentences = Sentences(inputs, share, task.describe().padding)
        drawn.append(Drawn(sentences, batch, chosen))
    return drawn


def _pieces(
    drawn: Sequence[Mixture | Tensor], size: int, generator: torch.Generator
) -> Iterator[tuple[Tensor, Tensor | None, Tensor, float | None]]:
    """Yield few sentences at a time: their positions, partners, a draw for each, and λ."""
    import torch

    for one in drawn:
        if isinstance(one, torch.Tensor):
            first, second, share = one, None, None
        else:
            first, second, share = one.first, one.second, one.share
        draws = torch.rand(len(first), generator=generator)
        for part in torch.split(torch.arange(len(first)), size):
            yield first[part], None if second is None else second[part], draws[part], share


def sentence_outputs(context: MeasureContext, index: int, drawn: Sequence[Drawn]) -> Tensor:
    """Return the logits of the chosen token of each sentence, ``(n, V)``, on the CPU."""
    import torch

    from llt_plugins.similarity.texts import run

    model, embeddings = context.models[index], _embeddings(context, index, drawn)
    found = []
    with torch.no_grad():
        for sentences, batch, chosen in drawn:
            outputs = run(model, sentences, embeddings)
            logits = context.task.logits(outputs, batch)[chosen]
            found.append(logits.to("cpu", torch.promote_types(logits.dtype, torch.float32)))
    return torch.cat(found)


def sentence_layers(
    context: MeasureContext, index: int, drawn: Sequence[Drawn], names: Sequence[str]
) -> Iterator[tuple[str, Tensor | Missing]]:
    """Yield the activations of layers, averaged over the tokens of each sentence, ``(n, D)``."""
    from llt_plugins.similarity.texts import sentence_layers

    batches = [one.sentences for one in drawn]
    embeddings = _embeddings(context, index, drawn)
    return sentence_layers(context.models[index], batches, names, embeddings)


def _embeddings(context: MeasureContext, index: int, drawn: Sequence[Drawn]) -> list[str]:
    """Return the layers behind which sentences are mixed, if they are.

    Raises
    ------
    RequestError
        The architecture names none.
    """
    names = context.embeddings(index)
    if not names and any(one.sentences.share is not None for one in drawn):
        raise RequestError(
            "the architecture names no layer that turns tokens into vectors, so texts cannot "
            "be mixed",
            where="Architecture.embeddings",
            expected="the names of its token embeddings",
            next_step="compare on sentences as they are: inputs = plain",
        )
    return names
