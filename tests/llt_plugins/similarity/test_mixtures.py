"""Inputs mixed of two examples each."""

from __future__ import annotations

import math

import pytest
import torch

from llt_plugins.similarity.inputs import draw_mixtures, groups, mix


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_batches_are_disjoint_draws_mixed_with_themselves():
    mixtures = draw_mixtures(1000, seeded())
    assert [len(m.first) for m in mixtures] == [128] * 5
    drawn = torch.cat([m.first for m in mixtures])
    assert len(drawn.unique()) == 640
    assert int(drawn.max()) < 1000
    for mixture in mixtures:
        assert torch.equal(mixture.first.sort().values, mixture.second.sort().values)
        assert not torch.equal(mixture.first, mixture.second)
        assert 0 < mixture.share < 1
    assert len({m.share for m in mixtures}) == 5
    assert torch.equal(groups(mixtures), torch.arange(5).repeat_interleave(128))


def test_one_seed_one_draw_and_no_global_randomness():
    state = torch.get_rng_state()
    first, second, other = (draw_mixtures(50, seeded(seed), samples=20) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first[0].second, second[0].second)
    assert first[0].share == second[0].share
    assert first[0].share != other[0].share


def test_shares_are_beta_distributed():
    shares = torch.tensor(
        [m.share for m in draw_mixtures(4000, seeded(), samples=4000, batch_size=1)]
    )
    # Beta(a, a): mean 1/2, variance 1/(4 (2a + 1)).
    assert float(shares.mean()) == pytest.approx(0.5, abs=5e-3)
    assert float(shares.var()) == pytest.approx(1 / (4 * 33), rel=0.1)
    flat = [m.share for m in draw_mixtures(4000, seeded(), samples=4000, batch_size=1, alpha=1.0)]
    assert sum(share < 0.1 for share in flat) / 4000 == pytest.approx(0.1, abs=0.02)


def test_a_small_split_gives_fewer():
    sizes = [len(m.first) for m in draw_mixtures(30, seeded(), samples=640, batch_size=16)]
    assert sizes == [16, 14]


def test_mixing_by_hand():
    a, b = torch.tensor([[4.0, 0.0]]), torch.tensor([[0.0, 8.0]])
    assert torch.equal(mix(a, b, 0.25), torch.tensor([[1.0, 6.0]]))
    named = mix({"x": a, "more": (a, b)}, {"x": b, "more": (b, a)}, 0.25)
    assert torch.equal(named["x"], torch.tensor([[1.0, 6.0]]))
    assert torch.equal(named["more"][1], torch.tensor([[3.0, 2.0]]))


def test_tokens_are_refused_with_the_way_out():
    tokens = torch.tensor([[3, 7]])
    with pytest.raises(ValueError, match=r'int64.*inputs = "plain"'):
        mix(tokens, tokens, 0.5)


@pytest.mark.parametrize(
    "wrong", [{"samples": 0}, {"batch_size": 0}, {"alpha": 0.0}, {"alpha": math.nan}]
)
def test_wrong_numbers_are_named(wrong):
    with pytest.raises(ValueError, match="expected positive numbers"):
        draw_mixtures(10, seeded(), **wrong)
    with pytest.raises(ValueError, match="no examples"):
        draw_mixtures(0, seeded())
