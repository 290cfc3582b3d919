"""BLEU from counts of sentences against sacrebleu, and its bootstrap against known spreads."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from sacrebleu.metrics import BLEU

from llt_plugins.translation.bleu import bleu


def texts(n: int, seed: int, noise: float) -> tuple[list[str], list[str]]:
    """Return references of 3 to 12 words, and translations with some words exchanged."""
    draw = random.Random(seed)
    words = [f"w{k}" for k in range(40)]
    references, translations = [], []
    for _ in range(n):
        sentence = [draw.choice(words) for _ in range(draw.randint(3, 12))]
        references.append(" ".join(sentence) + " .")
        kept = [draw.choice(words) if draw.random() < noise else word for word in sentence]
        translations.append(" ".join(kept[: draw.randint(2, 12)]) + " .")
    return translations, references


@pytest.mark.parametrize("tokenize", ["13a", "intl", "char", "none"])
def test_it_is_the_number_of_sacrebleu(tokenize):
    translations, references = texts(50, 0, 0.3)
    found = bleu(translations, references, tokenize=tokenize)
    expected = BLEU(tokenize=tokenize).corpus_score(translations, [references])
    assert found.score == pytest.approx(expected.score, abs=1e-9)
    assert found.precisions == pytest.approx(expected.precisions)
    assert found.brevity_penalty == pytest.approx(expected.bp)
    assert found.ratio == pytest.approx(expected.ratio)
    assert f"tok:{tokenize}" in found.signature
    sums = found.counts.sum(axis=0)
    assert sums[:8].tolist() == [*expected.counts, *expected.totals]
    assert found.lengths.sum() == expected.sys_len


def test_by_hand():
    found = bleu(["the cat sat on a mat"], ["the cat sat on the mat"])
    # 5 of 6 words, 3 of 5 pairs, 2 of 4 triples, 1 of 3 quadruples; lengths are equal.
    assert found.score == pytest.approx(100 * (5 / 6 * 3 / 5 * 2 / 4 * 1 / 3) ** 0.25)
    assert bleu(["a b c d"] * 3, ["a b c d"] * 3).score == 100.0
    assert bleu(["", ""], ["a b c d", "e"]).score == 0.0
    assert bleu(["a"], [""]).ratio is None


def test_the_bootstrap_knows_how_far_other_sentences_would_move_it():
    """Against the spread of BLEU over 100 independent sets of 60 sentences."""
    scores, ratios, guesses, guessed_ratios = [], [], [], []
    for seed in range(100):
        found = bleu(*texts(60, seed, 0.3))
        scores.append(found.score)
        ratios.append(found.ratio)
        if seed < 10:
            spread = found.bootstrap(torch.Generator().manual_seed(seed), 60)
            guesses.append(spread.score)
            guessed_ratios.append(spread.ratio)
    assert np.mean(guesses) == pytest.approx(np.std(scores, ddof=1), rel=0.25)
    assert np.mean(guessed_ratios) == pytest.approx(np.std(ratios, ddof=1), rel=0.25)


def test_equal_sentences_have_no_spread_and_the_generator_decides():
    same = bleu(["a b c d e"] * 5, ["a b c d f"] * 5)
    assert same.bootstrap(torch.Generator(), 20).score == 0.0
    found = bleu(*texts(20, 1, 0.5))
    first, again = (found.bootstrap(torch.Generator().manual_seed(3), 30) for _ in range(2))
    assert first == again
    assert first != found.bootstrap(torch.Generator().manual_seed(4), 30)


def test_impossible_requests():
    for translations, references in (([], []), (["a"], ["a", "b"])):
        with pytest.raises(ValueError, match="references"):
            bleu(translations, references)
