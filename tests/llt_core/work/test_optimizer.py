"""Optimisers, clipping and sharpness-aware steps against steps written out by hand."""

import copy
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from llt_core.spec import TrainingRecipe
from llt_core.work.batchnorm import fast_batch_norm
from llt_core.work.optimizer import frozen_statistics, make_optimizer, uphill
from llt_core.work.trainer import Trainer
from llt_plugins.architectures.mlp import Mlp
from llt_plugins.architectures.resnet import ResNet18
from llt_plugins.tasks.digits import Digits

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def batch():
    return Digits().datasets(Path())["train"].subset(torch.arange(32))


def build(architecture):
    torch.manual_seed(0)
    return architecture.build(Digits().describe())


def one_step(examples, model, **settings):
    """Return the parameters after a single step on all of ``examples``."""
    settings = {"momentum": 0.0, "weight_decay": 0.0, "learning_rate": 0.5} | settings
    recipe = TrainingRecipe(epochs=1, batch_size=len(examples), **settings)
    Trainer(model, Digits(), examples, recipe, seed=0, device=CPU).run(lambda *_: None)
    return [p.detach() for p in model.parameters()]


def gradient(model, examples, parameters=None):
    """Return the gradient at ``parameters`` (by default where the model is)."""
    model = copy.deepcopy(model)
    with torch.no_grad():
        for own, given in zip(model.parameters(), parameters or (), strict=bool(parameters)):
            own.copy_(given)
    everything = examples.batch(torch.arange(len(examples)))
    loss = cross_entropy(model(everything.inputs), everything.targets)
    return torch.autograd.grad(loss, list(model.parameters()))


@pytest.mark.parametrize("radius", [0.05, 0.5])
def test_a_sharpness_aware_step_is_that_of_foret_et_al(batch, radius):
    model = build(Mlp(width=16, depth=1))
    start = [p.detach().clone() for p in model.parameters()]
    slope = gradient(model, batch)
    norm = torch.cat([g.flatten() for g in slope]).norm()
    above = [p + radius * g / norm for p, g in zip(start, slope, strict=True)]
    expected = [p - 0.5 * g for p, g in zip(start, gradient(model, batch, above), strict=True)]
    plain = [p - 0.5 * g for p, g in zip(start, slope, strict=True)]
    found = one_step(batch, model, sam_radius=radius)
    for a, b, c in zip(found, expected, plain, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
        assert not torch.allclose(a, c, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("width", [4, 16])  # a kernel of our own, and torch's
def test_running_statistics_are_those_of_the_first_pass(batch, width):
    plain, sharp = (build(ResNet18(width=width)) for _ in range(2))
    one_step(batch, plain)
    one_step(batch, sharp, sam_radius=0.3)
    counted = dict(sharp.named_buffers())
    for name, buffer in plain.named_buffers():
        assert torch.equal(buffer, counted[name]), name
    counts = {int(n) for name, n in counted.items() if name.endswith("num_batches_tracked")}
    assert counts == {1}
    assert all(m.track_running_stats for m in sharp.modules() if isinstance(m, nn.BatchNorm2d))


def test_a_radius_of_zero_is_plain_training_to_the_bit(batch):
    plain, off = (build(Mlp(width=8, depth=1)) for _ in range(2))
    for a, b in zip(one_step(batch, plain), one_step(batch, off, sam_radius=0.0), strict=True):
        assert torch.equal(a, b)


def test_uphill_comes_back_to_the_bit_even_after_an_error():
    weights = [torch.randn(3, 2, requires_grad=True), torch.randn(4, requires_grad=True)]
    unused = torch.randn(2, requires_grad=True)
    for weight in weights:
        weight.grad = torch.randn_like(weight)
    before = [w.detach().clone() for w in weights]

    def fails():
        with uphill([*weights, unused], 0.1):
            moved = torch.cat([(w - b).flatten() for w, b in zip(weights, before, strict=True)])
            assert float(moved.detach().norm()) == pytest.approx(0.1, rel=1e-5)
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert all(torch.equal(w, b) for w, b in zip(weights, before, strict=True))
    for weight in weights:
        weight.grad.zero_()
    with uphill(weights, 0.1):
        assert all(torch.equal(w, b) for w, b in zip(weights, before, strict=True))


def test_frozen_statistics_still_normalise_by_the_batch():
    layer, x = nn.BatchNorm2d(4), torch.randn(16, 4, 8, 8).to(memory_format=torch.channels_last)
    expected = layer(x)
    before = {k: v.clone() for k, v in layer.state_dict().items()}
    for context in (frozen_statistics(layer), fast_batch_norm(layer)):
        with context, frozen_statistics(layer):
            torch.testing.assert_close(layer(x), expected)
        assert all(torch.equal(before[k], v) for k, v in layer.state_dict().items())


@pytest.mark.parametrize("limit", [0.01, 1e6])
def test_long_gradients_are_shortened_and_short_ones_stay(batch, limit):
    model = build(Mlp(width=8, depth=1))
    start = [p.detach().clone() for p in model.parameters()]
    slope = torch.cat([g.flatten() for g in gradient(model, batch)])
    after = one_step(batch, model, gradient_clip=limit)
    moved = torch.cat([(a - b).flatten() for a, b in zip(start, after, strict=True)]) / 0.5
    expected = slope * min(1.0, limit / float(slope.norm()))
    torch.testing.assert_close(moved, expected, rtol=1e-3, atol=1e-6)


def test_the_first_step_of_adam_goes_by_the_sign(batch):
    model = build(Mlp(width=8, depth=1))
    start = [p.detach().clone() for p in model.parameters()]
    slope = gradient(model, batch)
    found = one_step(batch, model, optimizer="adam", learning_rate=0.01, epsilon=1e-4)
    for a, b, g in zip(found, start, slope, strict=True):
        torch.testing.assert_close(a, b - 0.01 * g / (g.abs() + 1e-4), rtol=1e-3, atol=1e-6)


def test_optimisers_get_their_settings():
    weights = [torch.zeros(2, requires_grad=True)]
    chosen = {"betas": (0.8, 0.98), "epsilon": 1e-9, "weight_decay": 0.1, "learning_rate": 0.3}
    for name, kind in (("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)):
        made = make_optimizer(weights, TrainingRecipe(optimizer=name, **chosen), CPU)
        assert type(made) is kind
        (group,) = made.param_groups
        assert (group["betas"], group["eps"]) == ((0.8, 0.98), 1e-9)
        assert (group["weight_decay"], group["lr"]) == (0.1, 0.3)
    scaled = TrainingRecipe(lr_scaling=True, batch_size=512, learning_rate=0.05)
    assert make_optimizer(weights, scaled, CPU).param_groups[0]["lr"] == pytest.approx(0.2)
