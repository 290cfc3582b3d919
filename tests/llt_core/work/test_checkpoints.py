"""Weights on disk: whole, tied ones tied, and refused where they do not fit."""

import hashlib

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from llt_core.errors import LltError
from llt_core.work.checkpoint import load_checkpoint, save_checkpoint

CPU = torch.device("cpu")


class Tied(nn.Module):
    """Encoder and decoder share one matrix."""

    def __init__(self):
        super().__init__()
        self.inward = nn.Linear(4, 4, bias=False)
        self.outward = nn.Linear(4, 4)
        self.outward.weight = self.inward.weight
        self.norm = nn.BatchNorm1d(4)

    def forward(self, x):
        return self.norm(self.outward(self.inward(x)))


def test_tied_weights_come_back_tied(tmp_path):
    model = Tied()
    model(torch.randn(8, 4))  # moves the running statistics
    saved = save_checkpoint(model, model.state_dict(), tmp_path, epoch=3)
    file = tmp_path / saved.file
    assert saved.epoch == 3
    assert saved.parameters == 16 + 4 + 8
    assert saved.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert len([key for key in load_file(file) if "weight" in key and "norm" not in key]) == 1
    again = load_checkpoint(Tied(), file, CPU)
    assert again.inward.weight is again.outward.weight
    assert not again.training
    model.eval()
    x = torch.randn(5, 4)
    assert torch.equal(again(x), model(x))


def test_the_state_given_is_saved_and_not_the_model_as_it_is(tmp_path):
    model = nn.Linear(2, 2)
    state = {key: value.clone() for key, value in model.state_dict().items()}
    with torch.no_grad():
        model.weight.zero_()
    save_checkpoint(model, state, tmp_path, epoch=1)
    again = load_checkpoint(nn.Linear(2, 2), tmp_path / "model.safetensors", CPU)
    assert torch.equal(again.weight, state["weight"])
    assert again.weight.abs().sum() > 0


def test_channels_last_weights_and_frozen_ones(tmp_path):
    model = nn.Conv2d(3, 5, 3).to(memory_format=torch.channels_last)
    model.bias.requires_grad_(False)
    before = model.weight.detach().clone()
    saved = save_checkpoint(model, model.state_dict(), tmp_path, epoch=1)
    assert saved.parameters == 5 * 27
    again = load_checkpoint(nn.Conv2d(3, 5, 3), tmp_path / saved.file, CPU)
    assert torch.equal(again.weight, before)


@pytest.mark.parametrize(
    "other",
    [nn.Linear(3, 5), nn.Linear(4, 5, bias=False), nn.Sequential(nn.Linear(4, 5))],
    ids=["shape", "less", "names"],
)
def test_weights_of_another_network_are_refused(tmp_path, other):
    model = nn.Linear(4, 5)
    saved = save_checkpoint(model, model.state_dict(), tmp_path, epoch=1)
    with pytest.raises(LltError, match="the checkpoint does not fit the model") as caught:
        load_checkpoint(other, tmp_path / saved.file, CPU)
    assert caught.value.where == str(tmp_path / saved.file)
    assert "--force" in caught.value.next_step


@pytest.mark.parametrize("kept", [0, 7, 60, 150])
def test_a_damaged_file_is_refused(tmp_path, kept):
    model = nn.Linear(4, 5)
    file = tmp_path / save_checkpoint(model, model.state_dict(), tmp_path, epoch=1).file
    assert file.stat().st_size > 150
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(LltError, match="does not fit"):
        load_checkpoint(nn.Linear(4, 5), file, CPU)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(LltError, match="does not fit"):
        load_checkpoint(nn.Linear(4, 5), tmp_path / "none.safetensors", CPU)
