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
