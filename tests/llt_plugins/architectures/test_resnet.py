import pytest
import torch
from torch.nn.functional import avg_pool2d

from llt_core.interfaces import TaskDescription
from llt_plugins.architectures.resnet import ResNet18, ResNet34, ResNet50

CIFAR = TaskDescription(modality="image", input_shape=(3, 32, 32), outputs=10)
MNIST = TaskDescription(modality="image", input_shape=(1, 28, 28), outputs=10)


def trainable(model):
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize(
    ("width", "count"),
    [
        (1, 2_991),
        (2, 11_420),
        (4, 44_622),
        (8, 176_402),
        (16, 701_466),
        (32, 2_797_610),
        (64, 11_173_962),
        (128, 44_662_922),
    ],
)
def test_resnet18_has_the_parameters_of_the_paper(width, count):
    with torch.device("meta"):
        assert trainable(ResNet18(width=width).build(CIFAR)) == count


@pytest.mark.parametrize(
    ("architecture", "count"), [(ResNet34, 21_282_122), (ResNet50, 23_520_842)]
)
def test_deeper_ones_have_their_known_size_at_width_64(architecture, count):
    with torch.device("meta"):
        assert trainable(architecture(width=64).build(CIFAR)) == count


def test_pooling_is_the_average_pool_4_of_the_paper():
    model = ResNet18(width=1).build(CIFAR).eval()
    features = []
    model.stage4.register_forward_hook(lambda module, args, output: features.append(output))
    images = torch.randn(2, 3, 32, 32)
    logits = model(images)
    assert features[0].shape == (2, 8, 4, 4)
    expected = model.classifier(avg_pool2d(features[0], 4).flatten(1))
    torch.testing.assert_close(logits, expected)


def test_initialisation_is_the_default_of_torch():
    """A stem convolution drawn first from the seed is the one torch draws."""
    torch.manual_seed(0)
    model = ResNet18(width=4).build(CIFAR)
    torch.manual_seed(0)
    stem = torch.nn.Conv2d(3, 4, 3, padding=1, bias=False)
    assert model.stem.conv.weight.equal(stem.weight)


@pytest.mark.parametrize("architecture", [ResNet18, ResNet34, ResNet50])
def test_nothing_is_changed_in_place_after_a_layer_returned_it(architecture):
    model = architecture.minimal().build(MNIST)
    kept = []

    def keep(module, args, output):
        kept.append((output, output._version, output.detach().clone()))

    for module in model.modules():
        module.register_forward_hook(keep)
    model(torch.randn(2, 1, 28, 28))
    assert len(kept) > 20
    for output, version, value in kept:
        assert output._version == version
        assert output.detach().equal(value)


def test_probes_name_every_block():
    model = ResNet50.minimal().build(CIFAR)
    probes = ResNet50.minimal().probes(model)
    assert probes[:3] == ["stem", "stage1.0", "stage1.1"]
    assert probes[-1] == "classifier"
    assert len(probes) == 1 + 3 + 4 + 6 + 3 + 1
