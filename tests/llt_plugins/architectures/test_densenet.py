import copy

import pytest
import torch
from torch.nn.functional import gelu

from llt_core.interfaces import RequestError, TaskDescription
from llt_plugins.architectures.densenet import DenseNet40
from llt_plugins.architectures.networks import densenet


def images(*shape, outputs=10):
    return TaskDescription(modality="image", input_shape=shape, outputs=outputs)


def count(k, channels, outputs):
    """The definition, layer by layer (Huang et al. 2017, section 3)."""
    total, width = 9 * channels * 16, 16
    for block in range(3):
        for _ in range(12):
            total += 2 * width + 9 * width * k
            width += k
        if block < 2:
            total += 2 * width + width * width
    return total + 2 * width + width * outputs + outputs


@pytest.mark.parametrize(("k", "channels", "outputs"), [(12, 3, 10), (1, 1, 7), (24, 3, 100)])
def test_it_has_as_many_parameters_as_the_definition_says(k, channels, outputs):
    with torch.device("meta"):
        model = DenseNet40(growth=k).build(images(channels, 32, 32, outputs=outputs))
    assert sum(p.numel() for p in model.parameters()) == count(k, channels, outputs)


def test_growth_rate_12_is_the_1_0_million_of_the_paper():
    assert count(12, 3, 10) == 1_019_722


def test_forty_layers_have_weights():
    model = DenseNet40.minimal().build(images(3, 32, 32))
    convolutions = [m for m in model.modules() if isinstance(m, torch.nn.Conv2d)]
    assert len(convolutions) + 1 == 40
    assert sum(m.kernel_size == (1, 1) for m in convolutions) == 2


@pytest.mark.parametrize("size", [28, 32])
def test_every_layer_sees_all_before_it(size):
    model = DenseNet40(growth=2).build(images(1, size, size)).eval()
    shapes = []
    for block in (model.block1, model.block2, model.block3):
        block.register_forward_hook(lambda _, args, y: shapes.append((args[0], y)))
    model(torch.randn(2, 1, size, size))
    for number, (x, y) in enumerate(shapes):
        assert y.shape == (2, x.shape[1] + 24, size // 2**number, size // 2**number)
        assert torch.equal(y[:, : x.shape[1]], x)  # kept, not changed in place
    assert shapes[-1][1].shape[1] == 16 + 36 * 2


@pytest.mark.parametrize("k", [1, 3, 12])
def test_memory_layout_changes_no_gradient(k, monkeypatch):
    """Narrow convolutions of channels-last images are where oneDNN has gone wrong.

    Without ReLU, whose slope may jump by rounding alone.
    """
    monkeypatch.setattr(densenet, "relu", gelu)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = DenseNet40(growth=k).build(images(3, 16, 16))
        x = torch.randn(8, 3, 16, 16)
    results = []
    for layout in (torch.contiguous_format, torch.channels_last):
        twin = copy.deepcopy(model).to(memory_format=layout)
        outputs = twin(x.contiguous(memory_format=layout))
        slopes = torch.autograd.grad(outputs.square().mean(), list(twin.parameters()))
        results.append((outputs, *slopes))
    for first, second in zip(*results, strict=True):
        assert (first - second).norm() <= 1e-3 * (second.norm() + 1e-4)


def test_small_images_are_refused_with_a_reason_and_a_way_on():
    refusal = DenseNet40().refuses(images(1, 3, 8))
    assert "4x4" in refusal
    assert "3x8" in refusal
    with pytest.raises(RequestError, match="two 2x2 pools"):
        DenseNet40().build(images(1, 3, 8))
    assert DenseNet40.minimal().build(images(1, 4, 4)).eval()(torch.ones(1, 1, 4, 4)).shape == (
        1,
        10,
    )
