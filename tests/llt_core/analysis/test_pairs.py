"""Rank correlation over the pairs that are there."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from llt_core.analysis.coefficients import spearman_of_pairs


def test_spearman_with_ties_is_that_of_scipy_over_the_finite_pairs():
    rng = np.random.default_rng(1)
    x, y = rng.integers(0, 6, 40).astype(float), rng.integers(0, 6, 40).astype(float)
    x[3], y[7] = np.nan, np.inf
    both = np.isfinite(x) & np.isfinite(y)
    rho, n = spearman_of_pairs(x, y)
    assert (rho, n) == (pytest.approx(spearmanr(x[both], y[both]).statistic, abs=1e-12), 38)
    assert np.isnan(spearman_of_pairs(x[:2], y[:2])[0])
    assert np.isnan(spearman_of_pairs(np.ones(5), y[10:15])[0])
