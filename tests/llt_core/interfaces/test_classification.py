"""What a classification task says of outputs that are no logits."""

import pytest
import torch

from llt_core.interfaces import Batch
from llt_core.testing import TinyImages


@pytest.mark.parametrize("outputs", [(torch.zeros(2, 4),), {"logits": torch.zeros(2, 4)}])
def test_outputs_that_are_not_one_tensor_are_named(outputs):
    task, batch = TinyImages(), Batch(torch.zeros(2, 3), torch.tensor([0, 1]), 2)
    for method in (task.loss, task.evaluate):
        with pytest.raises(TypeError, match=f"returned a {type(outputs).__name__}, expected one"):
            method(outputs, batch)
