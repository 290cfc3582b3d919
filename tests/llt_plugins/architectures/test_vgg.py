import pytest
import torch

from llt_core.interfaces import RequestError, TaskDescription
from llt_plugins.architectures.vgg import Vgg11


def images(*shape):
    return TaskDescription(modality="image", input_shape=shape, outputs=10)


def test_width_64_is_the_classic_cifar_network():
    with torch.device("meta"):
        model = Vgg11(width=64).build(images(3, 32, 32))
    assert sum(p.numel() for p in model.parameters()) == 9_231_114


def test_without_batch_norm_there_is_none():
    model = Vgg11(width=1, batch_norm=False).build(images(3, 32, 32))
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in model.modules())
    assert list(model.buffers()) == []


def test_small_images_are_refused_with_a_reason_and_a_way_on():
    refusal = Vgg11().refuses(images(1, 28, 28))
    assert "32x32" in refusal
    assert "28x28" in refusal
    assert "resnet18" in refusal
    with pytest.raises(RequestError, match="five 2x2 pools"):
        Vgg11().build(images(1, 28, 28))


def test_larger_images_are_averaged():
    model = Vgg11.minimal().build(images(3, 64, 96)).eval()
    assert model(torch.zeros(2, 3, 64, 96)).shape == (2, 10)
