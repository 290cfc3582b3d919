"""Agreement, divergence, cosine, churn and ensembles of a few predictions, by hand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from llt_plugins.similarity.predictions import (
    agreement,
    changed_correctness,
    js_divergence,
    logit_cosine,
    mean_probabilities,
)

LOGITS = torch.tensor([[2.0, 0.0, 1.0], [0.0, 1.0, 0.0], [3.0, 3.5, 0.0]])


def test_agreement_by_hand():
    other = torch.tensor([[5.0, 4.0, 4.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    assert agreement(LOGITS, other).tolist() == [1.0, 0.0, 1.0]


def test_divergence_by_hand():
    p, q = torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[0.9, 0.1]]).log()
    m = (0.7, 0.3)
    kl = [
        sum(a * math.log(a / b) for a, b in zip(x, m, strict=True))
        for x in ((0.5, 0.5), (0.9, 0.1))
    ]
    assert float(js_divergence(p, q)) == pytest.approx(sum(kl) / 2)
    assert float(js_divergence(p, p)) == pytest.approx(0.0, abs=1e-9)
    certain = torch.tensor([[200.0, 0.0, 0.0]])
    assert float(js_divergence(certain, certain.roll(1, 1))) == pytest.approx(math.log(2))


def test_the_mixture_is_clamped():
    # Both give class 3 the probability e⁻⁴⁰ ≪ 1e-7: the clamp makes that term e⁻⁴⁰·(−40 − ln 1e-7).
    logits = torch.tensor([[0.0, 0.0, -40.0]])
    assert float(js_divergence(logits, logits)) == pytest.approx(0.0, abs=1e-15)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), scale=st.floats(0.1, 30), shift=st.floats(-50, 50))
def test_divergence_is_symmetric_bounded_and_blind_to_shifts(seed, scale, shift):
    generator = torch.Generator().manual_seed(seed)
    a, b = (scale * torch.randn(5, 4, generator=generator, dtype=torch.float64) for _ in "ab")
    found = js_divergence(a, b)
    assert bool((found >= 0).all())
    assert bool((found <= math.log(2) + 1e-6).all())
    assert torch.allclose(found, js_divergence(b, a))
    assert torch.allclose(found, js_divergence(a + shift, b), atol=1e-9)


def test_cosine_is_per_batch_and_drops_a_short_one():
    a = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [2.0, 0.0], [9.0, 9.0]])
    b = torch.tensor([[1.0, 0.0], [0.0, -1.0], [0.0, 1.0], [2.0, 0.0], [-9.0, 0.0]])
    # Batch 1: (1,0,0,1)·(1,0,0,−1) = 0. Batch 2: (1,1,2,0)·(0,1,2,0) = 5 over √6·√5.
    assert logit_cosine(a, b, 2).tolist() == pytest.approx([0.0, 5 / math.sqrt(30)])
    assert logit_cosine(a, 3 * a, 100).tolist() == pytest.approx([1.0])
    assert logit_cosine(a, -a, 5).tolist() == pytest.approx([-1.0])
    assert logit_cosine(a, torch.zeros_like(a), 5).isnan().all()
    with pytest.raises(ValueError, match="batch size is 0"):
        logit_cosine(a, b, 0)


def test_changed_correctness_by_hand():
    first, second = torch.tensor([1.0, 1.0, 0.0, 0.0]), torch.tensor([1.0, 0.0, 1.0, 0.0])
    assert changed_correctness(first, second).tolist() == [0.0, 1.0, 1.0, 0.0]
    with pytest.raises(ValueError, match="4 and 3 scored"):
        changed_correctness(first, second[:3])


def test_the_mean_of_probabilities_is_not_that_of_logits():
    # Two unsure members for class 2, one very sure of class 1: the mean follows the sure one.
    members = [torch.tensor([[0.0, 0.5]]), torch.tensor([[0.0, 0.5]]), torch.tensor([[9.0, 0.0]])]
    mean = mean_probabilities(members)
    expected = sum(member.double().softmax(1) for member in members) / 3
    assert torch.allclose(mean, expected)
    assert int(mean.argmax()) == 0
    assert float(mean.sum()) == pytest.approx(1.0)
    with pytest.raises(ValueError, match="at least one model"):
        mean_probabilities([])


@pytest.mark.parametrize("function", [agreement, js_divergence])
def test_outputs_that_do_not_belong_together_are_named(function):
    with pytest.raises(ValueError, match=r"\(3, 3\) and \(3, 2\)"):
        function(LOGITS, LOGITS[:, :2])
    with pytest.raises(ValueError, match=r"shape \(3,\), expected class scores"):
        function(LOGITS[:, 0], LOGITS[:, 0])
    with pytest.raises(ValueError, match="no examples"):
        function(LOGITS[:0], LOGITS[:0])
