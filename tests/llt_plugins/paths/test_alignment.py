"""Alignment: permuted copies are put back, functions stay, sums and flattening are followed."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

from llt_core.interfaces import TaskDescription
from llt_plugins.architectures.mlp import Mlp
from llt_plugins.architectures.resnet import ResNet18, ResNet50
from llt_plugins.architectures.vgg import Vgg11
from llt_plugins.paths.alignment import align, permuted
from llt_plugins.paths.curves import Path
from llt_plugins.paths.evaluation import evaluate, summarise
from llt_plugins.paths.symmetry import unit_groups

IMAGES = TaskDescription(modality="image", input_shape=(3, 32, 32), outputs=10)
ARCHITECTURES = {
    "mlp": (Mlp(width=8, depth=3), 3),
    "vgg": (Vgg11(width=2), 8),
    "vgg without batch norm": (Vgg11(width=2, batch_norm=False), 8),
    # The stem and stage 1 share an order, stages 2 to 4 have one each; 8 blocks one inside each.
    "resnet18": (ResNet18(width=3), 12),
    "resnet50": (ResNet50(width=1), 4 + 1 + 2 * 16),
}


def network(architecture, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = architecture.build(IMAGES).double()
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.data += 0.1 * torch.randn(parameter.shape)
        for name, buffer in model.named_buffers():
            if buffer.is_floating_point():
                spread = 0.05 * torch.randn(buffer.shape)
                buffer.copy_(spread if "mean" in name else 0.1 + spread.abs())
    return model.eval()


def shuffled(model, seed=0):
    generator = torch.Generator().manual_seed(seed)
    groups = unit_groups(model)
    return permuted(model, groups, [torch.randperm(g.size, generator=generator) for g in groups])


def largest_difference(first, second):
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return max(float((a.double() - b.double()).abs().max()) for a, b in pairs)


@torch.no_grad()
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_permuted_copy_computes_the_same_and_is_put_back(name):
    architecture, count = ARCHITECTURES[name]
    model = network(architecture)
    assert len(unit_groups(model)) == count
    copied = shuffled(model)
    assert largest_difference(model, copied) > 0.05
    x = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(1)).double()
    before, after = model(x), copied(x)
    assert before.std() > 1e-3
    torch.testing.assert_close(before, after, rtol=1e-9, atol=1e-9)
    back = align(model, copied)
    assert largest_difference(model, back.model) == 0
    assert back.moved > 0
    assert align(model, model).moved == 0


@torch.no_grad()
@pytest.mark.parametrize("name", ["mlp", "resnet18"])
def test_independent_networks_come_closer_and_keep_their_function(name):
    first, second = (network(ARCHITECTURES[name][0], seed) for seed in (0, 1))
    kept = copy.deepcopy(second.state_dict())
    state = torch.get_rng_state()
    aligned = align(first, second)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(v, kept[k]) for k, v in second.state_dict().items())
    assert Path(first, aligned.model).distance() < 0.99 * Path(first, second).distance()
    x = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(1)).double()
    torch.testing.assert_close(second(x), aligned.model(x), rtol=1e-9, atol=1e-9)
    # No exchange of two units of one group brings them closer still: a local maximum.
    again = align(first, aligned.model)
    assert Path(first, again.model).distance() == pytest.approx(
        Path(first, aligned.model).distance()
    )
    assert torch.equal(align(first, second).permutations[0], aligned.permutations[0])


def test_a_permuted_copy_has_a_barrier_that_alignment_removes(trained, data):
    first = trained("residual", 0)
    second = shuffled(first)
    ts, splits = [0.0, 0.25, 0.5, 0.75, 1.0], {"train": data.scores}
    barriers = [
        summarise(
            ts, evaluate(Path(first, m), ts, splits, data.passes)["train"]["error"], sampled=False
        ).connectivity.value
        for m in (second, align(first, second).model)
    ]
    assert barriers[0] < -5
    assert barriers[1] == 0


def test_flattened_images_keep_their_pixels_together(make):
    model = make("residual")
    groups = unit_groups(model)
    assert [group.size for group in groups] == [4]
    names = [(axis.name, axis.dim) for axis in groups[0].axes]
    assert ("head.weight", 1) in names
    assert ("conv.weight", 0) in names
    assert ("conv.weight", 1) in names
    copied = permuted(model, groups, [torch.tensor([2, 0, 3, 1])])
    weight = model.head.weight.view(3, 4, 4)
    assert torch.equal(copied.head.weight, weight[:, [2, 0, 3, 1]].reshape(3, 16))
    assert largest_difference(align(model, copied).model, model) == 0


class Odd(nn.Module):
    """A chain of layers with something in it that may tell units apart."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.first, self.second = nn.Linear(4, 6), nn.Linear(6, 6)
        self.third, self.last = nn.Linear(6, 6), nn.Linear(6, 2)

    def forward(self, x):
        x = torch.relu(self.first(x))
        x = torch.cumsum(x, 1) if self.kind == "cumsum" else x
        x = x[:, torch.arange(6)] if self.kind == "index" else x
        x = self.second(self.second(x)) if self.kind == "twice" else self.second(x)
        x = x + torch.relu(x) if self.kind == "sum" else x
        return self.last(torch.tanh(self.third(x)))


@pytest.mark.parametrize(("kind", "count"), [("plain", 3), ("cumsum", 2), ("index", 2), ("sum", 3)])
def test_operations_that_tell_units_apart_pin_them(kind, count):
    torch.manual_seed(0)
    model = Odd(kind).double()
    assert len(unit_groups(model)) == count
    copied, x = shuffled(model), torch.randn(5, 4).double()
    torch.testing.assert_close(model(x), copied(x))


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def forward(self, x):
        return self.layer(x) if x.sum() > 0 else x


def test_what_cannot_be_aligned_is_said(make):
    with pytest.raises(ValueError, match="layers of Branching cannot be followed"):
        align(Branching(), Branching())
    with pytest.raises(ValueError, match="no units that can be permuted"):
        align(nn.Linear(2, 2), nn.Linear(2, 2))
    with pytest.raises(ValueError, match="shares parameters"):
        align(make("tied"), make("tied"))
    twice = Odd("twice")
    with pytest.raises(ValueError, match="'second' is used twice"):
        align(twice, twice)
    with pytest.raises(ValueError, match="do not match"):
        align(nn.Linear(2, 3), nn.Linear(2, 2))


def test_units_that_are_not_numbers_stay_where_they_are(make):
    first, second = make("mlp", 0), make("mlp", 1)
    second[1].weight.data.fill_(math.nan)
    aligned = align(first, second).model
    assert aligned[1].weight.isnan().all()
