"""The conformance kit on both metrics, and each against a number worked out by hand."""

import pytest
import torch
from llt_hello.metrics import WeightDistance, WeightNorm

from llt_core.interfaces import MeasureContext
from llt_core.testing import MetricConformance, TinyImages


class TestWeightNorm(MetricConformance):
    component = WeightNorm(order=3)


class TestWeightDistance(MetricConformance):
    component = WeightDistance()


def context(*weights: list[float]) -> MeasureContext:
    """Models with one weight row each and no bias."""
    models = []
    for row in weights:
        model = torch.nn.Linear(len(row), 1, bias=False)
        model.weight.data = torch.tensor([row])
        models.append(model)
    return MeasureContext(TinyImages(), tuple(models), {})


@pytest.mark.parametrize(("order", "expected"), [(1, 7.0), (2, 5.0), (3, 91 ** (1 / 3))])
def test_norm_by_hand(order, expected):
    (found,) = WeightNorm(order=order).measure(context([3.0, -4.0]))
    assert found.value == pytest.approx(expected, rel=1e-12)
    assert (found.n, found.counted) == (2, "parameters")


def test_distance_by_hand():
    (found,) = WeightDistance().measure(context([3.0, 1.0], [0.0, 5.0]))
    assert found.value == pytest.approx(5.0, rel=1e-12)


def test_an_order_below_one_is_no_norm():
    with pytest.raises(ValueError, match="greater than or equal to 1"):
        WeightNorm(order=0.5)
