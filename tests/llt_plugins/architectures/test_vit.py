import pytest
import torch
from torch.nn.functional import conv2d

from llt_core.interfaces import RequestError, TaskDescription
from llt_plugins.architectures.networks.vit import Patches
from llt_plugins.architectures.vit import Vit


def images(*shape):
    return TaskDescription(modality="image", input_shape=shape, outputs=10)


def count(w, depth, patch, channels, height, width):
    """The formula: patches, positions, 12w² + 5w and two normalisations a block, and the end."""
    patches = channels * patch * patch * w + w
    positions = (height // patch) * (width // patch) * w
    block = 4 * w * w + 2 * 4 * w * w + 4 * w + w + 2 * 2 * w
    return patches + positions + depth * block + 2 * w + w * 10 + 10


@pytest.mark.parametrize(
    ("parameters", "shape"),
    [
        ({}, (3, 32, 32)),
        ({"width": 192, "depth": 12, "heads": 3}, (3, 32, 32)),
        ({"width": 8, "depth": 1}, (1, 28, 28)),
        ({"width": 16, "depth": 2, "patch": 8}, (3, 32, 64)),
    ],
)
def test_it_has_as_many_parameters_as_the_formula_says(parameters, shape):
    architecture = Vit(**parameters)
    with torch.device("meta"):
        model = architecture.build(images(*shape))
    found = sum(p.numel() for p in model.parameters())
    assert found == count(architecture.width, architecture.depth, architecture.patch, *shape)


def test_patches_are_a_convolution_of_stride_its_size():
    patches = Patches(3, 4, 5).double()
    x = torch.randn(2, 3, 8, 12, dtype=torch.float64)
    kernel = patches.projection.weight.view(5, 3, 4, 4)
    expected = conv2d(x, kernel, patches.projection.bias, stride=4)
    torch.testing.assert_close(patches(x), expected.flatten(2).transpose(1, 2))


def test_memory_layout_changes_nothing():
    model = Vit(width=8, depth=1).build(images(3, 32, 32)).double()
    x = torch.randn(4, 3, 32, 32, dtype=torch.float64)
    results = []
    for layout in (torch.contiguous_format, torch.channels_last):
        outputs = model(x.contiguous(memory_format=layout))
        slopes = torch.autograd.grad(outputs.square().sum(), list(model.parameters()))
        results.append((outputs, *slopes))
    for first, second in zip(*results, strict=True):
        torch.testing.assert_close(first, second)


def test_the_order_of_patches_matters():
    model = Vit(width=8, depth=1).build(images(3, 8, 8)).eval()
    x = torch.randn(2, 3, 8, 8)
    turned = torch.cat([x[..., 4:], x[..., :4]], dim=-1)
    assert not torch.allclose(model(x), model(turned), atol=1e-5)


@pytest.mark.parametrize(
    ("parameters", "shape", "said"),
    [
        ({}, (3, 30, 32), "patches of 4x4 pixels, which do not tile the task's 30x32"),
        ({"patch": 16}, (1, 8, 8), "patches of 16x16"),
        ({"width": 10}, (3, 32, 32), "width = 8 or 12, or heads = 2"),
    ],
)
def test_impossible_pairings_are_refused_with_a_reason(parameters, shape, said):
    architecture = Vit(**parameters)
    assert said in architecture.refuses(images(*shape))
    with pytest.raises(RequestError, match="the network cannot be built"):
        architecture.build(images(*shape))


def test_probes_are_the_patches_the_blocks_and_the_classifier():
    architecture = Vit(width=8, depth=2)
    model = architecture.build(images(3, 32, 32))
    assert architecture.probes(model) == ["patches", "blocks.0", "blocks.1", "classifier"]
    assert architecture.embeddings(model) == []
