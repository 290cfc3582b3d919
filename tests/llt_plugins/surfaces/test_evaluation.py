"""Losses along lines and over planes: exact where the answer is known."""

from __future__ import annotations

import copy
import gc
import math

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from llt_core.interfaces import TaskDescription
from llt_plugins.architectures.transformer import Transformer
from llt_plugins.curvature.lanczos import top_eigenvalue
from llt_plugins.curvature.operators.hessian import HessianOperator
from llt_plugins.paths.vectors import trainable
from llt_plugins.surfaces.directions import random_direction
from llt_plugins.surfaces.evaluation import evaluate, grid, points_together, steps
from llt_plugins.surfaces.parameters import flatten, unflatten
from llt_plugins.surfaces.plane import plane_through

DOUBLE = torch.float64


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def at(model, vector):
    """A copy of the model with other parameters."""
    twin = copy.deepcopy(model)
    parts = unflatten(vector, trainable(twin))
    with torch.no_grad():
        for name, part in parts.items():
            twin.get_parameter(name).copy_(part)
    return twin


def by_hand(model, scores):
    with torch.no_grad():
        return torch.cat([score(model) for score in scores], dim=1).mean(1)


def alone(score):
    """A mean loss as the scores of one term."""
    return [lambda model: score(model).view(1, 1)]


def test_a_line_through_a_quadratic_is_its_parabola(quadratic):
    theta = flatten(quadratic)
    direction = random_direction(quadratic, generator(), normalisation="none", biases=True)
    x = steps(2.0, 9)
    losses = evaluate(
        quadratic, alone(lambda m: m()), theta, direction[None], x[:, None], dtype=DOUBLE
    ).means
    offset, a = theta - quadratic.centre, quadratic.matrix
    expected = 0.5 * offset @ a @ offset + x * (direction @ a @ offset)
    expected = expected + 0.5 * x.square() * (direction @ a @ direction)
    torch.testing.assert_close(losses[:, 0], expected, rtol=1e-12, atol=1e-12)


def test_the_curvature_along_an_eigenvector_is_the_eigenvalue(network, scores):
    model = network()
    losses = [lambda m, s=s: s(m)[:1] for s in scores]
    weighted = [(n, lambda m, s=s: s(m).mean()) for n, s in zip((13.0, 7.0), losses, strict=True)]
    with HessianOperator(model, weighted) as hessian:
        top = top_eigenvalue(hessian, generator(), tolerance=1e-9)
    h = 2e-5  # small enough to cross no kink of a ReLU
    x = torch.tensor([[-h], [0.0], [h]], dtype=DOUBLE)
    low, middle, high = evaluate(
        model, losses, flatten(model), top.vector[None], x, dtype=DOUBLE
    ).means.flatten()
    assert ((low + high - 2 * middle) / h**2).item() == pytest.approx(top.value, rel=1e-4)


def test_the_surface_is_the_loss_of_every_model_on_it(network, scores):
    model = network()
    theta = flatten(model)
    directions = torch.stack([random_direction(model, generator(k)) for k in (1, 2)])
    x, y = steps(0.5, 3), steps(1.0, 5)
    found = evaluate(model, scores, theta, directions, grid(x, y), dtype=DOUBLE)
    found = found.means.view(5, 3, 2)
    for row, b in enumerate(y):
        for column, a in enumerate(x):
            there = at(model, theta + a * directions[0] + b * directions[1])
            torch.testing.assert_close(found[row, column], by_hand(there, scores))
    assert torch.equal(found[2, 1], by_hand(model, scores))


def test_the_plane_of_three_models_passes_through_them(network, scores):
    # a frozen parameter that differs must move too, or the plane misses the models
    models = [network(seed, batch_norm=False).requires_grad_() for seed in range(3)]
    plane = plane_through(*map(flatten, models))
    found = evaluate(models[1], scores, plane.origin, plane.directions, plane.corners, dtype=DOUBLE)
    for losses, model in zip(found.means, models, strict=True):
        torch.testing.assert_close(losses, by_hand(model, scores), rtol=1e-10, atol=1e-10)


def test_float32_is_the_models_own_arithmetic(network, images):
    model = network().float()
    scores = alone(lambda m: cross_entropy(m(images[0].float()), images[1]))
    theta = flatten(model)
    (found,) = evaluate(model, scores, theta, theta[None], torch.zeros(1, 1)).means
    assert torch.equal(found, by_hand(model, scores).double())


class Tied(nn.Module):
    """One matrix used twice, and a buffer."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.second = nn.Linear(4, 4)
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.second(torch.tanh(self.first(x)))


def perceptron():
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.BatchNorm1d(5), nn.Linear(5, 3))


@pytest.mark.parametrize("build", [perceptron, Tied])
@pytest.mark.parametrize("at_once", [2, 7, "auto"])
def test_several_points_at_once_give_the_same(build, at_once):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        model = build().double().eval()
    x, y = torch.randn(9, 4, generator=generator(), dtype=DOUBLE), torch.arange(9) % 3
    scores = alone(lambda m: cross_entropy(m(x), y))
    direction = random_direction(model, generator(3), biases=True)[None]
    points = steps(1.0, 9)[:, None]
    one, many = (
        evaluate(
            model, scores, flatten(model), direction, points, dtype=DOUBLE, points_at_once=k
        ).means
        for k in (1, at_once)
    )
    torch.testing.assert_close(many, one, rtol=1e-10, atol=1e-12)
    assert one.std() > 0.01


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("at_once", [2, "auto"])
def test_attention_at_several_points_is_that_at_each(at_once):
    """The kernel of attention goes point by point on CPUs, which is nobody's concern."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        words = TaskDescription(modality="text", input_shape=(5,), outputs=7, padding=0)
        model = Transformer.minimal().build(words).double().eval()
    source, target = (torch.randint(0, 7, (4, 5), generator=generator(n)) for n in (1, 2))
    source[:, 0] = 3
    scores = alone(lambda m: m(source=source, target=target).logsumexp(-1).mean())
    direction = random_direction(model, generator(3), biases=True)[None]
    points = steps(1.0, 5)[:, None]
    one, many = (
        evaluate(
            model, scores, flatten(model), direction, points, dtype=DOUBLE, points_at_once=k
        ).means
        for k in (1, at_once)
    )
    torch.testing.assert_close(many, one, rtol=1e-10, atol=1e-12)
    assert one.std() > 0.01


def test_what_cannot_be_batched_is_done_one_by_one():
    class Branching(nn.Linear):
        def forward(self, x):
            return super().forward(x) if self.weight.sum() > 0 else -super().forward(x)

    model = Branching(1, 1, bias=False)
    calls = []
    scores = alone(lambda m: calls.append(1) or m(torch.ones(1, 1)).sum())
    found = evaluate(
        model,
        scores,
        torch.zeros(1).double(),
        torch.ones(1, 1).double(),
        torch.tensor([[-2.0], [3.0]]),
        points_at_once=2,
    )
    assert found.means.flatten().tolist() == [2.0, 3.0]
    assert len(calls) == 3


def test_when_points_go_together(network):
    assert points_together(network()) == 1
    assert points_together(perceptron()) > 1
    assert points_together(nn.Linear(500, 500)) == 7
    assert points_together(nn.Linear(2000, 1000)) == 1


def test_batch_norm_is_estimated_anew_at_every_point(network, images, scores):
    model = network()
    passes = [(13, lambda m: m(images[0][:13])), (7, lambda m: m(images[0][13:]))]
    theta = flatten(model)
    direction = random_direction(model, generator())
    x = steps(1.0, 3)
    found = evaluate(
        model, scores, theta, direction[None], x[:, None], dtype=DOUBLE, passes=passes
    ).means
    for a, losses in zip(x, found, strict=True):
        there = at(model, theta + a * direction)
        with torch.no_grad():
            before = [there[0](part) for part in images[0].split([13, 7])]
        shares = (13 / 20, 7 / 20)
        there[1].running_mean.copy_(
            sum(s * z.mean((0, 2, 3)) for s, z in zip(shares, before, strict=True))
        )
        there[1].running_var.copy_(
            sum(s * z.var((0, 2, 3)) for s, z in zip(shares, before, strict=True))
        )
        torch.testing.assert_close(losses, by_hand(there, scores))
    stored = evaluate(model, scores, theta, direction[None], x[:, None], dtype=DOUBLE).means
    assert (stored - found).abs().min() >= 0
    assert (stored[:, 0] - found[:, 0]).abs().max() > 1e-3


@pytest.mark.parametrize("breaks", [False, True])
def test_the_model_and_the_global_generator_stay_as_they_were(breaks, network, images, scores):
    model = network().train()
    model[1].eval()
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 7.0)
    state, modes = copy.deepcopy(model.state_dict()), [m.training for m in model.modules()]
    random = torch.get_rng_state()
    direction = random_direction(model, generator())[None]
    if breaks:
        scores = [*scores, lambda m: 1 / 0]
    try:
        evaluate(
            model,
            scores,
            flatten(model),
            direction,
            steps(1.0, 3)[:, None],
            dtype=DOUBLE,
            passes=[(20, lambda m: m(images[0]))],
        )
    except ZeroDivisionError:
        assert breaks
    assert torch.equal(torch.get_rng_state(), random)
    assert [m.training for m in model.modules()] == modes
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())
    assert all(bool((p.grad == 7.0).all()) for p in model.parameters())


def test_not_a_number_stays_one(network, scores):
    model = network()
    with torch.no_grad():
        model[6].weight[0, 0] = math.nan
    direction = random_direction(model, generator())
    found = evaluate(
        model, scores, flatten(model), direction[None], steps(1.0, 3)[:, None], dtype=DOUBLE
    )
    assert found.means[:, 0].isnan().all()


def test_steps_and_grids():
    x = steps(0.7, 11)
    assert (x[0], x[5], x[-1]) == (-0.7, 0.0, 0.7)
    torch.testing.assert_close(x.diff(), torch.full((10,), 0.14, dtype=DOUBLE))
    assert grid(torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0, 5.0]))[:4].tolist() == [
        [1.0, 3.0],
        [2.0, 3.0],
        [1.0, 4.0],
        [2.0, 4.0],
    ]
    for radius, points in ((1.0, 4), (1.0, 1), (0.0, 5), (math.nan, 5)):
        with pytest.raises(ValueError, match=r"expected 3, 5, 7|expected a positive"):
            steps(radius, points)


def test_wrong_shapes_are_named(network, scores):
    model = network()
    theta = flatten(model)
    with pytest.raises(ValueError, match="one entry for each trainable parameter"):
        evaluate(model, scores, theta, theta[None, 1:], torch.zeros(1, 1), dtype=DOUBLE)
    with pytest.raises(ValueError, match="one for each direction"):
        evaluate(model, scores, theta, theta[None], torch.zeros(1, 2), dtype=DOUBLE)
    with pytest.raises(ValueError, match="one weight for each point"):
        evaluate(model, scores, theta, theta[None], torch.zeros(1, 1), contrasts=torch.zeros(1, 2))
    with pytest.raises(ValueError, match="at least one micro-batch"):
        evaluate(model, [], theta, theta[None], torch.zeros(1, 1), dtype=DOUBLE)


def test_contrasts_are_linear_combinations_of_points(network, scores):
    model = network()
    theta, x = flatten(model), steps(1.0, 3)[:, None]
    direction = random_direction(model, generator())[None]
    rows = torch.tensor([[0.5, -1.0, 0.5], [0.0, 0.0, 3.0]], dtype=DOUBLE)
    found = evaluate(model, scores, theta, direction, x, contrasts=rows, dtype=DOUBLE)
    assert found.contrasts.shape == (2, 2, 20)
    torch.testing.assert_close(found.contrasts.mean(dim=2), rows @ found.means)
    with torch.no_grad():
        there = at(model, theta + direction[0])
        last = torch.cat([score(there) for score in scores], dim=1)
    torch.testing.assert_close(found.contrasts[1], 3.0 * last)


def test_a_point_of_weight_zero_may_be_anything():
    model = nn.Linear(1, 1, bias=False)
    found = evaluate(
        model,
        [lambda m: m.weight / (m.weight - 2.0)],
        torch.zeros(1).double(),
        torch.ones(1, 1).double(),
        torch.tensor([[1.0], [2.0], [4.0]]),
        contrasts=torch.tensor([[1.0, 0.0, 1.0]]),
    )
    assert found.means.flatten().tolist() == [-1.0, math.inf, 2.0]
    assert found.contrasts.item() == 1.0


@pytest.mark.parametrize("at_once", [1, 4])
def test_memory_does_not_grow_with_points(at_once):
    """What the tensors of the terms hold, after every forward pass."""
    terms = 1009
    model = nn.Linear(1, 1, bias=False)
    held = []

    def hold(done, total):
        live = [t for t in gc.get_objects() if type(t) is torch.Tensor and terms in t.shape]
        held.append(sum(t.untyped_storage().nbytes() for t in live))

    x = torch.randn(terms, 1)
    evaluate(
        model,
        [lambda m: m(x).T],
        torch.zeros(1).double(),
        torch.ones(1, 1).double(),
        steps(1.0, 41)[:, None],
        contrasts=torch.ones(2, 41),
        points_at_once=at_once,
        report=hold,
    )
    assert len(held) > 5
    assert 0 < max(held) <= held[0]


def test_progress_is_reported(network, scores):
    heard = []
    theta = flatten(network())
    evaluate(
        network(),
        scores,
        theta,
        theta[None],
        steps(1.0, 3)[:, None],
        dtype=DOUBLE,
        report=lambda done, total: heard.append((done, total)),
    )
    assert heard == [(1, 3), (2, 3), (3, 3)]


def test_functional_call_is_what_torch_says(network, images):
    """The oracle of the other tests, `at`, against torch's own way."""
    model = network()
    theta = flatten(model) * 1.1
    there = at(model, theta)(images[0])
    torch.testing.assert_close(
        functional_call(model, unflatten(theta, trainable(model)), (images[0],)), there
    )
