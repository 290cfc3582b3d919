"""Pairs in memory: tokens in the right places, padding only where it must be."""

import pytest
import torch

from llt_plugins.perturbations.data_subset import DataSubset
from llt_plugins.tasks.text.examples import ParallelExamples, Sentences
from llt_plugins.tasks.text.vocabulary import BOS, EOS, PADDING, Vocabulary

SOURCES = ["ein hund", "ein sehr sehr alter hund lacht", "hunde"]
TARGETS = ["a dog", "dogs", "a very very old dog laughs"]


@pytest.fixture(scope="module")
def vocabulary():
    return Vocabulary.uncached(SOURCES + TARGETS, 64)


@pytest.fixture(scope="module")
def examples(vocabulary):
    sides = (Sentences.encoded(texts, vocabulary, 100) for texts in (SOURCES, TARGETS))
    return ParallelExamples(*sides, vocabulary)


@pytest.mark.parametrize("rows", [[0, 1, 2], [2, 0], [1], [0, 0]])
def test_a_batch_against_lists(examples, vocabulary, rows):
    batch = examples.batch(torch.tensor(rows))
    sources, targets = (
        [vocabulary.encode(texts)[row] for row in rows] for texts in (SOURCES, TARGETS)
    )
    s, t = (max(map(len, side)) + 1 for side in (sources, targets))

    def filled(row, width):
        return row + [PADDING] * (width - len(row))

    assert batch.inputs["source"].tolist() == [filled([*row, EOS], s) for row in sources]
    assert batch.inputs["target"].tolist() == [filled([BOS, *row], t) for row in targets]
    assert batch.targets.tolist() == [filled([*row, EOS], t) for row in targets]
    assert batch.weight == sum(len(row) + 1 for row in targets)
    assert {x.dtype for x in (*batch.inputs.values(), batch.targets)} == {torch.int64}


def test_cut_sentences_do_not_end(vocabulary):
    (full,) = vocabulary.encode(TARGETS[2:])
    for longest in (len(full) + 1, len(full), 3):
        cut = Sentences.encoded(TARGETS[2:], vocabulary, longest)
        tokens = cut.padded(torch.tensor([0]))[0].tolist()
        assert tokens == [*full, EOS][:longest]
        assert cut.words(torch.tensor([0])) == TARGETS[2:]


def test_subset_shares_tokens_and_keeps_texts(examples):
    chosen = examples.subset(torch.tensor([2, 1])).subset(torch.tensor([1, 0, 1]))
    assert len(chosen) == 3
    assert chosen.source.tokens is examples.source.tokens
    at = torch.arange(3)
    assert chosen.sources(at) == [SOURCES[row] for row in (1, 2, 1)]
    assert chosen.references(at) == [TARGETS[row] for row in (1, 2, 1)]
    for row, tokens in zip((1, 2, 1), chosen.batch(at).targets.tolist(), strict=True):
        assert chosen.decode(tokens) == TARGETS[row]


def test_to_moves_the_tokens(examples):
    moved = examples.to("meta")
    assert moved.source.tokens.device.type == moved.target.tokens.device.type == "meta"
    assert [len(at) for at in moved.slices(2)] == [2, 1]
    assert moved.batch(torch.tensor([0, 1])).targets.device.type == "meta"


def test_slices_count_target_tokens(examples):
    lengths = examples.target.lengths
    largest = int(lengths.max())
    found = list(examples.slices(largest, unit="tokens", generator=torch.Generator()))
    assert all(len(at) * int(lengths[at].max()) <= largest for at in found)
    assert torch.cat(found).sort().values.tolist() == [0, 1, 2]


def test_data_subset_keeps_nested_pairs(examples):
    def kept(fraction):
        subset = DataSubset(fraction=fraction).apply(
            {"train": examples, "test": examples}, torch.Generator().manual_seed(0)
        )
        assert subset["test"] is examples
        rows = torch.arange(len(subset["train"]))
        return list(
            zip(subset["train"].sources(rows), subset["train"].references(rows), strict=True)
        )

    assert kept(0.34) == kept(0.7)[:1]
    assert (len(kept(0.34)), len(kept(0.7))) == (1, 2)
    assert set(kept(0.7)) < set(zip(SOURCES, TARGETS, strict=True)) == set(kept(1.0))
