"""Curve training: the right steps, a lower barrier, nothing left behind."""

from __future__ import annotations

import copy
import math
from functools import partial

import pytest
import torch
from torch import nn

from llt_plugins.paths.curves import Path, bezier
from llt_plugins.paths.evaluation import evaluate, summarise
from llt_plugins.paths.initial import random_points
from llt_plugins.paths.training import rate_factor, train_path

TS = [0.0, 0.25, 0.5, 0.75, 1.0]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def bent(first, second, bends=3, kind="bezier"):
    path = Path(first, second, kind=kind)
    return path.through(path.straight(bends))


@pytest.mark.parametrize("bends", [3, 4])
def test_steps_are_those_of_autograd_through_the_curve_and_torch_sgd(bends, make, data):
    """The same losses with the control points as leaves, SGD and penalty written as in 2018."""
    data.inputs = data.inputs.double()
    first, second = make("mlp", 0).double(), make("mlp", 1).double()
    path = bent(first, second, bends)
    trained = train_path(
        path, data.epoch, generator(5), epochs=4, learning_rate=0.05, weight_decay=0.01
    )

    twin = copy.deepcopy(first)
    inner = [nn.Parameter(point.clone()) for point in path.inner]
    optimizer = torch.optim.SGD(inner, lr=0.05, momentum=0.9)
    own = generator(5)
    torch.randint(2**62, (), generator=own)  # the seed of dropout
    for epoch in range(1, 5):
        optimizer.param_groups[0]["lr"] = 0.05 * rate_factor(epoch, 4)
        for _, loss in data.epoch(own):
            t = float(torch.rand((), generator=own))
            points = [path.control[0], *inner, path.control[-1]]
            theta = sum(c * p for c, p in zip(bezier(t, bends), points, strict=True))
            views = path.layout.views(theta)
            with_views = partial(torch.func.functional_call, twin, views)
            optimizer.zero_grad()
            (loss(with_views) + 0.5 * 0.01 * theta.square().sum()).backward()
            optimizer.step()
    torch.testing.assert_close(trained.path.inner, torch.stack(inner).detach())
    assert not torch.equal(trained.path.inner, path.inner)


def test_the_rate_falls_as_in_2018():
    rates = [rate_factor(epoch, 50) for epoch in range(1, 51)]
    assert rates[:25] == [1.0] * 25
    assert rates[35] == pytest.approx(1 - (36 / 50 - 0.5) / 0.4 * 0.99)
    assert rates[44:] == pytest.approx([0.01] * 6)


class Ring(nn.Module):
    """Two parameters; the loss is zero on the unit circle and one in its centre."""

    def __init__(self, degrees: float) -> None:
        super().__init__()
        angle = math.radians(degrees)
        self.w = nn.Parameter(torch.tensor([math.cos(angle), math.sin(angle)]))

    def forward(self):
        return (self.w.square().sum() - 1).square()


@pytest.mark.parametrize("kind", ["bezier", "polygon"])
def test_a_curve_goes_around_a_barrier_that_blocks_the_line(kind):
    path = bent(Ring(0.0), Ring(150.0), kind=kind)
    trained = train_path(
        path, lambda g: [(1.0, lambda m: m())] * 20, generator(), epochs=30, learning_rate=0.02
    )
    assert trained.stopped == "epochs"

    def highest(path):
        return max(path.model(t / 20)().item() for t in range(21))

    assert highest(path) == pytest.approx((math.cos(math.radians(75)) ** 2 - 1) ** 2, rel=1e-3)
    assert highest(trained.path) < 0.25 * highest(path)
    assert trained.path.length() > path.length()
    assert trained.losses[-1] < 0.3 * trained.losses[0]


@pytest.mark.parametrize("name", ["mlp", "residual"])
def test_training_lowers_the_barrier_between_real_networks(name, trained, data):
    first, second = trained(name, 0), trained(name, 1)
    line = bent(first, second)
    curve = train_path(line, data.epoch, generator(), epochs=20, learning_rate=0.05).path
    splits = {"train": data.scores}
    values = [evaluate(p, TS, splits, data.passes)["train"]["loss"] for p in (line, curve)]
    barriers = [summarise(TS, v, sampled=False).barrier.value for v in values]
    assert barriers[0] > 0.1
    assert barriers[1] < 0.5 * barriers[0]


def test_one_seed_one_curve(make, data):
    line = bent(make("residual", 0), make("residual", 1))
    runs = [train_path(line, data.epoch, generator(s), epochs=2) for s in (1, 1, 2)]
    assert torch.equal(runs[0].path.inner, runs[1].path.inner)
    assert runs[0].losses.tolist() == runs[1].losses.tolist()
    assert not torch.equal(runs[0].path.inner, runs[2].path.inner)


def test_models_and_global_randomness_are_left_alone(make, data):
    models = make("residual", 0), make("residual", 1)
    before = [copy.deepcopy(m.state_dict()) for m in models]
    state = torch.get_rng_state()
    with torch.no_grad():
        train_path(bent(*models), data.epoch, generator(), epochs=1)
        assert not torch.is_grad_enabled()

    def broken(_):
        torch.rand(3)
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        train_path(bent(*models), lambda g: [(1.0, broken)], generator())
    assert torch.equal(torch.get_rng_state(), state)
    for old, model in zip(before, models, strict=True):
        assert all(torch.equal(v, old[k]) for k, v in model.state_dict().items())
        assert not any(m.training for m in model.modules())
        assert all(p.grad is None for p in model.parameters())


def test_frozen_parameters_stay_and_ties_hold(make):
    line = bent(make("tied", 0), make("tied", 1))
    x = torch.randn(20, 5, generator=generator())

    def epoch(_):
        return [(20.0, lambda m: (m(x) - x).square().mean())] * 5

    curve = train_path(line, epoch, generator(), epochs=3).path
    assert curve.inner.shape == (1, 25)
    assert not torch.equal(curve.inner, line.inner)
    model = curve.model(0.5)
    assert model.decoder.weight is model.encoder.weight
    assert torch.equal(model.decoder.bias, line.model(0.5).decoder.bias)


def test_not_a_number_stops_training(make, data):
    first = make("mlp", 0)
    first[1].bias.data[0] = math.nan
    trained = train_path(bent(first, make("mlp", 1)), data.epoch, generator(), epochs=5)
    assert trained.stopped == "not_finite"
    assert len(trained.losses) == 1


def test_what_cannot_be_trained_is_refused(make, data):
    models = make("mlp", 0), make("mlp", 1)
    with pytest.raises(ValueError, match="nothing to train"):
        train_path(Path(*models), data.epoch, generator())
    with pytest.raises(ValueError, match="no minibatch"):
        train_path(bent(*models), lambda g: [], generator())


def test_random_points_are_fresh_initialisations(make):
    model = make("residual")
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    points = random_points(model, 2, generator(3))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert torch.equal(points, random_points(model, 2, generator(3)))
    assert not torch.equal(points[0], points[1])
    views = Path(model, model).layout.views(points[0])
    assert views["bn1.weight"].eq(1).all()
    bound = 1 / math.sqrt(model.head.in_features)
    assert 0.5 * bound < views["head.weight"].abs().max() <= bound

    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gamma = nn.Parameter(torch.ones(2))

    with pytest.raises(ValueError, match=r"Scaled '1' has no reset_parameters.*'gamma'"):
        random_points(nn.Sequential(nn.Linear(2, 2), Scaled()), 1, generator())
