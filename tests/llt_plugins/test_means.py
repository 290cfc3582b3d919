"""The standard error of a mean: by hand, and where it is unknown."""

from __future__ import annotations

import math

import pytest
import torch

from llt_plugins.means import standard_error


def test_by_hand():
    terms = torch.tensor([1.0, 2.0, 6.0], dtype=torch.float64)
    assert standard_error(terms) == pytest.approx(math.sqrt(7 / 3))
    assert standard_error(1e-9 * terms) == pytest.approx(1e-9 * math.sqrt(7 / 3))


@pytest.mark.parametrize("terms", [[], [3.0], [0.0, 0.0], [7.0, 7.0, 7.0], [0.1 + 0.2, 0.3]])
def test_terms_that_do_not_differ_say_nothing(terms):
    assert standard_error(torch.tensor(terms, dtype=torch.float64)) is None


def test_a_small_spread_on_a_large_mean_is_kept():
    terms = 1e4 + torch.tensor([0.0, 1e-6, 2e-6], dtype=torch.float64)
    assert standard_error(terms) == pytest.approx(1e-6 / math.sqrt(3), rel=1e-4)


def test_terms_of_one_example_by_hand():
    terms = torch.tensor([1.0, 3.0, 2.0, 6.0, 6.0], dtype=torch.float64)
    owners = torch.tensor([4, 4, 9, 7, 7])
    # Mean 3.6; sums minus counts times the mean: 4 - 7.2, 2 - 3.6, 12 - 7.2.
    expected = math.sqrt(3 / 2 * (3.2**2 + 1.6**2 + 4.8**2)) / 5
    assert standard_error(terms, owners) == pytest.approx(expected)


def test_one_term_to_an_example_is_the_plain_error():
    terms = torch.randn(50, generator=torch.Generator().manual_seed(0)).double()
    owners = torch.randperm(50, generator=torch.Generator().manual_seed(1))
    assert standard_error(terms, owners) == pytest.approx(standard_error(terms), rel=1e-12)


def test_one_example_says_nothing():
    terms = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    assert standard_error(terms, torch.zeros(3).long()) is None
    assert standard_error(torch.ones(4).double(), torch.tensor([0, 0, 1, 1])) is None


def test_examples_that_do_not_differ_say_nothing():
    """Terms differ within each example only: nothing shows how examples differ."""
    terms = torch.tensor([1.0, 0.0, 1.0, 0.0], dtype=torch.float64)
    assert standard_error(terms, torch.tensor([0, 0, 1, 1])) is None


def test_copies_of_examples_do_not_shrink_the_error():
    """Saying everything ten times adds no knowledge."""
    terms = torch.randn(30, generator=torch.Generator().manual_seed(0)).double()
    owners = torch.arange(30).repeat_interleave(10)
    assert standard_error(terms.repeat_interleave(10), owners) == pytest.approx(
        standard_error(terms)
    )


def test_intervals_of_sentences_cover_and_those_of_tokens_do_not():
    """1.96 errors around the mean over tokens, 600 splits of 100 sentences each.

    Sentences have 3 to 30 tokens; longer ones are harder, and the tokens of one sentence share
    an effect as large as their own noise. The mean over tokens of the population is known.
    """
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(3, 31, (600, 100), generator=generator)
    population = torch.arange(3, 31).double()
    truth = float((population * 0.05 * population).sum() / population.sum())
    covered, naive = 0, 0
    for counts in lengths:
        owners = torch.repeat_interleave(torch.arange(100), counts)
        effect = torch.randn(100, generator=generator).double()
        noise = torch.randn(len(owners), generator=generator).double()
        terms = 0.05 * counts[owners] + effect[owners] + noise
        gap = abs(float(terms.mean()) - truth)
        covered += gap <= 1.96 * standard_error(terms, owners)
        naive += gap <= 1.96 * standard_error(terms)
    assert 0.92 <= covered / 600 <= 0.97
    assert naive / 600 < 0.70
