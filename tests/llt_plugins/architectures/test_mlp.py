import pytest
import torch
from pydantic import ValidationError

from llt_core.interfaces import TaskDescription
from llt_plugins.architectures.mlp import Mlp

GRAY = TaskDescription(modality="image", input_shape=(1, 4, 4), outputs=3)


def test_size_and_probes():
    model = Mlp(width=5, depth=2).build(GRAY)
    assert sum(p.numel() for p in model.parameters()) == (16 * 5 + 5) + (5 * 5 + 5) + (5 * 3 + 3)
    assert Mlp(width=5, depth=2).probes(model) == ["hidden.0", "hidden.1", "classifier"]


def test_depth_zero_is_a_linear_model():
    model = Mlp(depth=0).build(GRAY)
    x, y = torch.randn(2, 1, 4, 4), torch.randn(2, 1, 4, 4)
    middle = (model(x) + model(y)) / 2
    torch.testing.assert_close(model((x + y) / 2), middle)


@pytest.mark.parametrize("wrong", [{"width": 0}, {"depth": -1}, {"breadth": 3}])
def test_impossible_parameters_are_refused(wrong):
    with pytest.raises(ValidationError):
        Mlp(**wrong)
