import subprocess
import sys

import pytest
import torch
import torchvision
from pydantic import ValidationError

from llt_core.interfaces import RequestError, TaskDescription
from llt_plugins.architectures import torchvision_rules
from llt_plugins.architectures.networks.gray import GrayToColour
from llt_plugins.architectures.torchvision import TorchvisionModel


def images(*shape, outputs=7):
    return TaskDescription(modality="image", input_shape=shape, outputs=outputs)


CIFAR, MNIST = images(3, 32, 32), images(1, 28, 28)


def test_names_read_from_the_source_are_those_torchvision_lists():
    listed = torchvision.models.list_models(module=torchvision.models)
    assert list(torchvision_rules.names()) == sorted(listed)


def test_an_unknown_name_is_answered_with_near_matches():
    for wrong in ("resnet81", "ResNet18", "raft_large"):
        with pytest.raises(ValidationError, match=f"no classification model called {wrong!r}"):
            TorchvisionModel(name=wrong)
    with pytest.raises(ValidationError, match="did you mean resnet18"):
        TorchvisionModel(name="ResNet18")


def test_an_unknown_name_is_still_found_out_without_the_source(monkeypatch):
    monkeypatch.setattr(torchvision_rules, "names", lambda: ())
    assert TorchvisionModel(name="resnet81").refuses(CIFAR) is None
    with pytest.raises(RequestError, match="did you mean"):
        TorchvisionModel(name="resnet81").build(CIFAR)


@pytest.mark.parametrize(
    ("name", "task", "because"),
    [
        ("alexnet", CIFAR, "63x63"),
        ("densenet121", MNIST, "29x29"),
        ("inception_v3", CIFAR, "75x75"),
        ("maxvit_t", CIFAR, "multiple of 224"),
        ("vgg11_bn", MNIST, "32x32"),
        ("vit_b_16", MNIST, "patches of 16x16"),
        ("vit_b_16", images(3, 32, 64), "square"),
        ("resnet18", images(2, 32, 32), "1 or 3 channels"),
    ],
)
def test_images_a_model_cannot_read_are_refused(name, task, because):
    assert because in TorchvisionModel(name=name).refuses(task)


def test_a_model_the_rules_do_not_know_is_tried_when_built(monkeypatch):
    monkeypatch.setattr(torchvision_rules, "SMALLEST", ())
    with pytest.raises(RequestError, match="it fails on images of shape"):
        TorchvisionModel(name="squeezenet1_1").build(images(3, 8, 8))


@pytest.mark.parametrize(
    ("name", "task"), [("googlenet", MNIST), ("vit_b_32", CIFAR), ("mobilenet_v3_small", MNIST)]
)
def test_models_with_options_of_their_own(name, task, recwarn):
    architecture = TorchvisionModel(name=name)
    model = architecture.build(task)
    assert model.training
    assert model(torch.randn(2, *task.input_shape)).shape == (2, 7)
    assert set(architecture.probes(model)) <= dict(model.named_modules()).keys()
    assert not [warning for warning in recwarn if "initialization" in str(warning.message)]


def test_gray_images_show_the_network_three_equal_channels():
    model = TorchvisionModel.minimal().build(MNIST).eval()
    assert isinstance(model, GrayToColour)
    gray = torch.randn(2, 1, 28, 28)
    torch.testing.assert_close(model(gray), model.network(gray.repeat(1, 3, 1, 1)))


def test_the_trial_run_leaves_random_state_and_buffers_alone():
    architecture = TorchvisionModel(name="squeezenet1_1")
    torch.manual_seed(0)
    torchvision.models.get_model("squeezenet1_1", num_classes=7)
    expected = torch.get_rng_state()
    torch.manual_seed(0)
    model = architecture.build(CIFAR)
    assert torch.get_rng_state().equal(expected)
    assert not any(getattr(module, "inplace", False) for module in model.modules())


def test_architecture_modules_load_no_torch():
    code = """
import sys
from llt_core.interfaces import TaskDescription
from llt_plugins.architectures import densenet, mlp, resnet, torchvision, vgg, vit
from llt_plugins.architectures.transformer import Transformer
task = TaskDescription(modality="image", input_shape=(3, 32, 32), outputs=10)
images = (mlp.Mlp, resnet.ResNet50, torchvision.TorchvisionModel, vgg.Vgg11)
for cls in (*images, densenet.DenseNet40, vit.Vit):
    assert cls.minimal().refuses(task) is None
assert Transformer.minimal().refuses(task)
sys.exit(bool({"torch", "torchvision"} & sys.modules.keys()))
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
