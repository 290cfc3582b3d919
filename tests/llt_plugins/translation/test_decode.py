"""Decoding against exhaustive enumeration, and greedy against a beam of one."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import nn

from llt_core.testing import TinyTexts, small_translator
from llt_plugins.translation.decode import Tokens, beam_search, greedy, length_penalty

TASK = TinyTexts(words=2)  # 2 words and 4 special tokens
END = 2


def network(seed: int) -> nn.Module:
    model = small_translator(TASK.describe(), seed)
    with torch.no_grad():
        model.output.weight.mul_(0.5)  # not too sure of itself
    return model


class Whole(nn.Module):
    """The same network without halves."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, source, target):
        return self.inner(source=source, target=target)


def sources(rows: int = 6) -> torch.Tensor:
    return TASK.tiny()["train"].batch(torch.arange(rows)).inputs["source"]


def log_probability(model, source, words, ended):
    """Return the logarithm of the probability of one translation, by teacher forcing."""
    target = torch.tensor([[1, *words]])
    with torch.no_grad():
        found = model(source=source[None], target=target)[0].double().log_softmax(dim=-1)
    following = [*words, END] if ended else words
    return sum(float(found[t, token]) for t, token in enumerate(following))


def every_translation(model, source, limit, strength):
    """Return the best one among all that end within ``limit`` tokens."""
    best = (-math.inf, None)
    for length in range(limit):
        for words in itertools.product((3, 4, 5), repeat=length):
            score = log_probability(model, source, words, ended=True)
            best = max(best, (score / length_penalty(length + 1, strength), list(words)))
    return best


@pytest.mark.parametrize("seed", range(4))
def test_a_beam_of_one_is_greedy(seed):
    model, source = network(seed), sources(20)
    limits = [3 + row % 5 for row in range(20)]
    one = beam_search(model, source, limits, width=1, strength=0.6)
    for found, expected in zip(one, greedy(model, source, limits), strict=True):
        assert (found.tokens, found.ended) == (expected.tokens, expected.ended)


@pytest.mark.parametrize(("seed", "strength"), [(0, 0.0), (1, 0.6), (2, 2.0)])
def test_a_beam_with_room_for_all_finds_the_best(seed, strength):
    model, source = network(seed), sources(4)
    found = beam_search(model, source, [4] * 4, width=150, strength=strength)
    for row, translation in enumerate(found):
        score, words = every_translation(model, source[row], 4, strength)
        assert translation.ended
        assert translation.tokens == words
        assert translation.score == pytest.approx(score, abs=1e-5)


def test_a_wider_beam_finds_no_less_here_and_scores_are_honest():
    model, source = network(3), sources(20)
    for translation, tokens in zip(
        beam_search(model, source, [6] * 20, width=3, strength=1.0), source, strict=True
    ):
        score = log_probability(model, tokens, translation.tokens, translation.ended)
        length = len(translation.tokens) + translation.ended
        assert translation.score == pytest.approx(score / length_penalty(length, 1.0), abs=1e-5)


def test_greedy_takes_the_most_probable_token_each_time():
    model, source = network(5), sources(8)
    for translation, tokens in zip(greedy(model, source, [5] * 8), source, strict=True):
        words: list[int] = []
        while len(words) < 5:
            logits = model(source=tokens[None], target=torch.tensor([[1, *words]]))[0, -1]
            logits[[0, 1]] = -math.inf
            token = int(logits.argmax())
            if token == END:
                break
            words.append(token)
        assert translation.tokens == words
        assert translation.ended == (len(words) < 5)


@pytest.mark.parametrize("decode", [greedy, beam_search])
def test_networks_without_halves_translate_alike(decode):
    model, source = network(1), sources(10)
    limits = [5] * 10
    assert decode(Whole(model), source, limits) == decode(model, source, limits)


@pytest.mark.parametrize("decode", [greedy, beam_search])
def test_sentences_do_not_depend_on_their_company(decode):
    model, source = network(2), sources(10)
    together = decode(model, source, [6] * 10)
    for row in range(10):
        (alone,) = decode(model, source[row : row + 1, : int((source[row] != 0).sum())], [6])
        assert (alone.tokens, alone.ended) == (together[row].tokens, together[row].ended)
        assert alone.score == pytest.approx(together[row].score, abs=1e-5)


@pytest.mark.parametrize("decode", [greedy, beam_search])
def test_limits_hold_and_special_tokens_never_appear(decode):
    for seed in range(5):
        model = small_translator(TASK.describe(), seed)
        with torch.no_grad():
            model.output.bias[[0, 1]] += 50.0  # it would love to say padding and beginning
        found = decode(model, sources(6), [1, 2, 3, 4, 5, 6])
        for limit, translation in enumerate(found, start=1):
            assert len(translation.tokens) <= limit
            assert not {0, 1, END} & set(translation.tokens)
            assert translation.ended or len(translation.tokens) == limit


def test_the_penalty_favours_length():
    model, source = network(1), sources(20)
    short, long = (
        sum(len(t.tokens) for t in beam_search(model, source, [8] * 20, width=8, strength=s))
        for s in (0.0, 3.0)
    )
    assert short < long
    assert length_penalty(1, 5.0) == 1.0


def test_other_numbers_of_special_tokens():
    model, source = network(0), sources(3)
    swapped = Tokens(padding=0, begin=2, end=1)
    for translation in greedy(model, source, [9] * 3, swapped):
        assert not {0, 1, 2} & set(translation.tokens)


@pytest.mark.parametrize("decode", [greedy, beam_search])
def test_not_a_number_is_said(decode):
    model = network(0)
    with torch.no_grad():
        model.output.bias[4] = math.nan
    with pytest.raises(FloatingPointError, match="NaN"):
        decode(model, sources(2), [4, 4])


@pytest.mark.parametrize("decode", [greedy, beam_search])
def test_impossible_requests(decode):
    for limits in ([4], [4, 0]):
        with pytest.raises(ValueError, match="limits"):
            decode(network(0), sources(2), limits)
    with pytest.raises(ValueError, match="0 places"):
        beam_search(network(0), sources(2), [4, 4], width=0)
