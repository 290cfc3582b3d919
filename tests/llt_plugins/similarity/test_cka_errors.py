"""The error bars of CKA: that they cover, and what widens them."""

from __future__ import annotations

import math

import pytest
import torch

from llt_plugins.similarity.cka import bootstrap_standard_error, cka, standard_error
from llt_plugins.similarity.representation import represent

BOTH = pytest.mark.parametrize("debiased", [False, True])


def latent(generator, n):
    """Ten outputs each of two models that share a part of what they see."""
    z = torch.randn(n, 10, generator=generator, dtype=torch.float64)
    own = torch.randn(n, 10, generator=generator, dtype=torch.float64)
    return (2.0 * z).softmax(1), (1.6 * z + 1.2 * own).softmax(1)


def test_error_bars_cover_at_their_rate():
    """95 % intervals cover the mean of the estimator, those of the debiased one the truth."""
    generator = torch.Generator().manual_seed(0)
    truth = textbook_free(latent(generator, 40_000))
    draws = [[represent(z) for z in latent(generator, 100)] for _ in range(200)]
    for debiased in (False, True):
        found = [cka(x, y, debiased=debiased) for x, y in draws]
        values = torch.tensor([each.value for each in found])
        errors = torch.tensor([each.standard_error for each in found])
        centre = truth if debiased else float(values.mean())
        covered = ((values - centre).abs() < 1.96 * errors).double().mean()
        assert 0.90 <= covered <= 0.99
        assert float(errors.mean()) == pytest.approx(float(values.std()), rel=0.2)


def textbook_free(pair):
    """Biased linear CKA in feature space; at 40,000 samples its bias is of no account."""
    x, y = (z - z.mean(0) for z in pair)
    return float((x.T @ y).square().sum() / ((x.T @ x).norm() * (y.T @ y).norm()))


@BOTH
def test_the_bootstrap_agrees_with_the_jackknife(debiased):
    generator = torch.Generator().manual_seed(1)
    x, y = (represent(z) for z in latent(generator, 300))
    jackknife = cka(x, y, debiased=debiased).standard_error
    spread = bootstrap_standard_error(x, y, generator, debiased=debiased, replicates=400)
    assert spread == pytest.approx(jackknife, rel=0.2)
    wide = [represent(torch.cat([z, z], 1), pairs=1000) for z in latent(generator, 60)]
    assert bootstrap_standard_error(*wide, generator, debiased=debiased, replicates=50) > 0


def test_groups_widen_the_error_and_never_narrow_it():
    influence = torch.tensor([1.0, 1.0, -1.0, -1.0], dtype=torch.float64)
    alone = math.sqrt(4 * 4 / 3)
    assert standard_error(influence) == pytest.approx(alone)
    together = standard_error(influence, torch.tensor([0, 0, 1, 1]))
    assert together == pytest.approx(math.sqrt((4 + 4) * 2 / 1))
    assert standard_error(influence, torch.tensor([0, 1, 0, 1])) == pytest.approx(alone)
    assert standard_error(influence, torch.tensor([0, 0, 0, 0])) == pytest.approx(alone)
