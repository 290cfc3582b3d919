"""Narrow networks train on channels-last images without corrupting memory.

Without the guard the processes below end with a crash, a hang, or wrong gradients on x86
CPUs (oneDNN issue 6035), so they are run apart from the tests.
"""

import copy
import subprocess
import sys

import pytest
import torch
from torch import nn

from llt_core.work.narrow import guard
from llt_plugins.architectures.resnet import ResNet18
from llt_plugins.tasks.digits import Digits

SCRIPT = """
import copy
from pathlib import Path
import torch
from torch.nn.functional import cross_entropy
from llt_core.spec import TrainingRecipe
from llt_core.work.narrow import guard
from llt_core.work.trainer import Trainer
from llt_plugins.architectures.resnet import ResNet18
from llt_plugins.tasks.digits import Digits

def gradient(model, inputs):
    loss = cross_entropy(model(inputs), torch.arange(32) % 10)
    gradients = torch.autograd.grad(loss, list(model.parameters()))
    return torch.cat([g.double().flatten() for g in gradients])

torch.set_num_threads(1)
examples = Digits().datasets(Path())["train"].subset(torch.arange(96))
torch.manual_seed(1)
noise = torch.randn(32, 1, 32, 32)  # in digits, equal patches meet the kink of ReLU together
recipe = TrainingRecipe(epochs=1, batch_size=16, learning_rate=0.05)
for width in (2, 3, 7):
    for layout in (torch.channels_last, torch.contiguous_format):
        torch.manual_seed(0)
        model = ResNet18(width=width).build(Digits().describe())
        exact = gradient(copy.deepcopy(model).double(), noise.double())
        guard(model).to(memory_format=layout)
        found = gradient(model, noise.contiguous(memory_format=layout))
        trainer = Trainer(model, Digits(), examples, recipe, seed=0, device=torch.device("cpu"),
                          channels_last=layout == torch.channels_last)
        status = trainer.run(lambda *progress: None).status
        print(float((found - exact).norm() / exact.norm()), status)
"""


def test_narrow_resnets_get_the_right_gradients_and_train_in_both_layouts():
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=120, check=True
    )
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [status for _, status in lines] == ["done"] * 6
    # A unit at the kink of its ReLU may fall on either side in float32; the fault is far larger.
    assert max(float(error) for error, _ in lines) < 0.05


@pytest.mark.parametrize("size", [7, 8, 32])
def test_the_guarded_convolution_is_the_same_function(size):
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(4, 8, 1, stride=(2, 3), bias=True))
    guarded = guard(copy.deepcopy(plain))
    x = torch.randn(5, 4, size, size)  # contiguous, where the plain one is right too
    expected, found = plain(x), guarded(x)
    torch.testing.assert_close(found, expected)
    for mine, theirs in zip(
        torch.autograd.grad(found.square().sum(), list(guarded.parameters())),
        torch.autograd.grad(expected.square().sum(), list(plain.parameters())),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs)


def test_only_what_is_at_risk_is_changed_and_once():
    model = nn.Sequential(
        nn.Conv2d(4, 8, 1, stride=2),
        nn.Conv2d(8, 8, 1),
        nn.Conv2d(8, 8, 3, stride=2, padding=1),
        nn.Conv2d(8, 8, 1, stride=2, padding=1),
        nn.Conv2d(8, 64, 1),
        nn.Conv2d(64, 64, 1, stride=2),
    )
    for _ in range(2):
        guard(model)
        assert [len(layer._forward_pre_hooks) for layer in model] == [1, 0, 0, 0, 0, 0]
        assert [layer.stride for layer in model] == [
            (1, 1), (1, 1), (2, 2), (2, 2), (1, 1), (2, 2),
        ]  # fmt: skip


def test_parameters_and_their_names_stay():
    description = Digits().describe()
    torch.manual_seed(0)
    plain = ResNet18(width=2).build(description)
    guarded = guard(copy.deepcopy(plain))
    before, after = plain.state_dict(), guarded.state_dict()
    assert list(before) == list(after)
    assert all(torch.equal(before[key], after[key]) for key in before)
    x = torch.randn(4, *description.input_shape)
    plain.eval()
    guarded.eval()
    torch.testing.assert_close(copy.deepcopy(guarded)(x), plain(x))
