"""Mixing sentences as vectors, and the activations of their tokens."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from llt_core.testing import TinyTexts, small_translator
from llt_plugins.similarity.representation import Missing
from llt_plugins.similarity.texts import Sentences, chosen_terms, mixed, run, sentence_layers

TASK = TinyTexts()
EMBEDDINGS = ["source_embedding", "target_embedding"]
LAYERS = [*EMBEDDINGS, "encoder", "decoder", "across", "nothing", "output"]


def model(seed: int = 0) -> nn.Module:
    return small_translator(TASK.describe(), seed)


def pair(share: float | None = 0.3, rows: int = 6) -> Sentences:
    """Rows mixed with other rows."""
    index = torch.arange(rows if share is None else 2 * rows)
    return Sentences(TASK.tiny()["train"].batch(index).inputs, share, 0)


def widened(sentences: Sentences, columns: int = 2) -> Sentences:
    inputs = {k: nn.functional.pad(v, (0, columns)) for k, v in sentences.inputs.items()}
    return Sentences(inputs, sentences.share, 0)


def by_hand(network, sentences):
    """Return the outputs of the mixture, from the vectors up, written out once more."""
    count, share = len(sentences), sentences.share

    def vectors(embedding, tokens):
        one, two = embedding(tokens[:count]), embedding(tokens[count:])
        return share * one + (1 - share) * two

    def placed(x):
        place = torch.arange(x.shape[1]).float()[:, None]
        angle = place / 100.0 ** (torch.arange(4) / 4)
        return math.sqrt(8) * x + torch.cat([angle.sin(), angle.cos()], dim=1)

    source, target = sentences.inputs["source"], sentences.inputs["target"]
    hidden = (source[:count] == 0)[:, None]  # the masks are those of the first sentence
    memory = network.encoder(placed(vectors(network.source_embedding, source)), hidden)
    x = placed(vectors(network.target_embedding, target))
    later = torch.ones(x.shape[1], x.shape[1]).triu(1).bool()
    x = network.decoder(x, later)
    return network.output(x + network.across(x, memory, hidden))


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 1.0])
def test_mixtures_by_hand(share):
    network, sentences = model(), pair(share)
    found = run(network, sentences, EMBEDDINGS)
    torch.testing.assert_close(found[:6], by_hand(network, sentences))


def test_a_share_of_one_is_the_first_sentence_and_the_rest_stays():
    network, sentences = model(), pair(1.0)
    plain = network(**sentences.inputs)
    torch.testing.assert_close(run(network, sentences, EMBEDDINGS), plain)
    mixture = run(network, pair(0.5), EMBEDDINGS)
    torch.testing.assert_close(mixture[6:], plain[6:])
    assert (mixture[:6] - plain[:6]).abs().max() > 0.05


def test_nothing_is_mixed_without_a_share():
    network, sentences = model(), pair(None)
    assert len(sentences) == 6
    assert len(pair(0.5)) == 6
    torch.testing.assert_close(run(network, sentences, []), network(**sentences.inputs))


def test_more_padding_changes_no_mixture():
    network, sentences = model(), pair()
    filled = sentences.filled("target").bool()
    found, wider = (run(network, each, EMBEDDINGS)[:6] for each in (sentences, widened(sentences)))
    torch.testing.assert_close(wider[:, : filled.shape[1]][filled], found[filled])


def test_hooks_are_removed_even_if_the_model_raises():
    network, sentences = model(), pair()
    network.decoder = nn.Linear(3, 3)
    with pytest.raises(TypeError):
        run(network, sentences, EMBEDDINGS)
    assert not any(module._forward_hooks for module in network.modules())


class Late(nn.Module):
    """Embeds positions without an axis for sentences."""

    def __init__(self):
        super().__init__()
        self.place = nn.Embedding(20, 4)

    def forward(self, source, target):
        return self.place(torch.arange(source.shape[1]))


def test_layers_that_cannot_mix_are_named():
    with pytest.raises(ValueError, match="no layer other"), mixed(model(), ["other"], pair()):
        pass
    with pytest.raises(ValueError, match="nothing can be mixed"), mixed(model(), [], pair()):
        pass
    with pytest.raises(ValueError, match=r"Embedding returns .* for 12 sentences"):
        run(Late(), pair(), ["place"])


def test_layers_are_means_over_the_tokens_of_their_own_side():
    network, sentences = model(2), pair(None)
    found = dict(sentence_layers(network, [sentences], LAYERS, []))
    assert list(found) == LAYERS
    source, target = sentences.inputs["source"], sentences.inputs["target"]
    for name, tokens, activations in (
        ("source_embedding", source, network.source_embedding(source)),
        ("encoder", source, network.encode(source)),
        ("output", target, network(source, target)),
    ):
        for row in range(6):
            kept = activations[row, : int((tokens[row] != 0).sum())]
            torch.testing.assert_close(found[name][row], kept.mean(dim=0).detach())


@pytest.mark.parametrize("share", [None, 0.4])
def test_padding_takes_no_part_in_layers(share):
    network, sentences = model(3), pair(share)
    one = dict(sentence_layers(network, [sentences], LAYERS, EMBEDDINGS))
    two = dict(sentence_layers(network, [widened(sentences, 3)], LAYERS, EMBEDDINGS))
    for name in LAYERS:
        torch.testing.assert_close(one[name], two[name])


def test_probes_on_the_embeddings_see_the_mixture():
    network, sentences = model(), pair(0.25)
    found = dict(sentence_layers(network, [sentences, sentences], LAYERS, EMBEDDINGS))
    tokens = sentences.inputs["source"]
    vectors = network.source_embedding(tokens)
    expected = (0.25 * vectors[:6] + 0.75 * vectors[6:])[0, : int((tokens[0] != 0).sum())]
    assert found["source_embedding"].shape == (12, 8)
    torch.testing.assert_close(found["source_embedding"][0], expected.mean(dim=0).detach())
    assert not any(module._forward_hooks for module in network.modules())


class Odd(nn.Module):
    """One layer of sentences, one of tokens, one of neither."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(16, 4)
        self.summary, self.scores = nn.Identity(), nn.Identity()

    def forward(self, source, target):
        x = self.embedding(target)
        whole = self.summary(self.embedding(source).mean(dim=1))
        weights = self.scores((x @ x.transpose(1, 2)).reshape(-1, 1, x.shape[1]))
        return x + whole[:, None] + weights.sum()


def test_activations_without_tokens_are_missing_and_vectors_are_taken():
    found = dict(sentence_layers(Odd(), [pair(None)], ["embedding", "summary", "scores"], []))
    assert found["embedding"].shape == found["summary"].shape == (6, 4)
    assert isinstance(found["scores"], Missing)
    assert "no axis of tokens" in found["scores"].reason
    with pytest.raises(ValueError, match="no sentences"):
        list(sentence_layers(Odd(), [], ["embedding"], []))


def test_one_term_of_each_example():
    owners = torch.tensor([0, 0, 0, 1, 2, 2, 3])
    assert chosen_terms(owners, 3, torch.tensor([0.0, 0.99, 0.5])).tolist() == [0, 3, 5]
    assert chosen_terms(owners, 3, torch.tensor([0.999999, 0.0, 0.49])).tolist() == [2, 3, 4]
    shuffled = torch.tensor([1, 0, 1, 0])
    assert chosen_terms(shuffled, 2, torch.tensor([0.6, 0.1])).tolist() == [3, 0]
    with pytest.raises(ValueError, match="no term"):
        chosen_terms(torch.tensor([0, 2]), 3, torch.zeros(3))


def test_every_term_is_as_likely():
    owners = torch.tensor([0, 0, 0, 0]).repeat(1)
    draws = torch.rand(4000, generator=torch.Generator().manual_seed(0))
    counts = torch.bincount(
        torch.cat([chosen_terms(owners, 1, draw[None]) for draw in draws]), minlength=4
    )
    assert (counts - 1000).abs().max() < 120
