"""Paths between two transformers, whose tied vectors are one parameter of three uses."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch.nn.functional import cross_entropy

from llt_core.interfaces import TaskDescription
from llt_plugins.architectures.transformer import Transformer
from llt_plugins.paths.curves import Path
from llt_plugins.paths.evaluation import evaluate
from llt_plugins.paths.initial import random_points
from llt_plugins.paths.training import train_path

WORDS = TaskDescription(modality="text", input_shape=(5,), outputs=9, padding=0)
SIZE = 568 + 840 + 2 * 16 + 9 * 8
TS = [0.0, 0.25, 0.5, 0.75, 1.0]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


class Copies:
    """Translate a text into itself: 48 rows of several lengths."""

    def __init__(self) -> None:
        self.source = torch.randint(3, 9, (48, 5), generator=generator(1))
        for row in range(48):
            self.source[row, 2 + row % 4 :] = 0
        begin = torch.ones(48, 1, dtype=torch.int64)
        end = torch.zeros(48, 1, dtype=torch.int64)
        self.target = torch.cat([begin, self.source], dim=1)
        self.following = torch.cat([self.source, end], dim=1)
        lengths = (self.source != 0).sum(1)
        self.following[torch.arange(48), lengths] = 2

    def terms(self, model, rows):
        logits = model(source=self.source[rows], target=self.target[rows])
        real = self.following[rows] != 0
        return logits[real], self.following[rows][real]

    def epoch(self, order):
        for rows in torch.randperm(48, generator=order).split(16):
            weight = int((self.following[rows] != 0).sum())
            yield weight, lambda model, rows=rows: cross_entropy(*self.terms(model, rows))

    def scores(self):
        def score(model):
            logits, targets = self.terms(model, slice(None))
            error = 100.0 * (logits.argmax(1) != targets)
            return {"loss": cross_entropy(logits, targets, reduction="none"), "error": error}

        yield score


def fitted(seed, data):
    """Train a tied transformer, with dropout, on the copying task."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Transformer(embedding_dim=8, layers=1, heads=2, feedforward_ratio=2).build(WORDS)
        optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
        order = generator(seed)
        for _ in range(25):
            for _, loss in data.epoch(order):
                optimiser.zero_grad()
                loss(model).backward()
                optimiser.step()
    optimiser.zero_grad()
    return model.eval()


@pytest.fixture(scope="module")
def data():
    return Copies()


@pytest.fixture(scope="module")
def ends(data):
    return fitted(0, data), fitted(1, data)


def test_a_line_meets_both_ends_and_the_mean_of_their_weights(ends, data):
    path = Path(*ends)
    assert path.layout.size == SIZE  # tied vectors count once
    for t, end in ((0.0, ends[0]), (1.0, ends[1])):
        for ours, theirs in zip(path.model(t).parameters(), end.parameters(), strict=True):
            assert torch.equal(ours, theirs)
    middle = copy.deepcopy(ends[0])
    with torch.no_grad():
        for p, q in zip(middle.parameters(), ends[1].parameters(), strict=True):
            p.lerp_(q, 0.5)
        expected = middle(source=data.source, target=data.target)
        actual = path.model(0.5)(source=data.source, target=data.target)
    torch.testing.assert_close(actual, expected)
    assert path.model(0.5).state_dict().keys() == ends[0].state_dict().keys()


def test_a_trained_curve_of_three_bends_has_a_lower_barrier_than_the_line(ends, data):
    before = [copy.deepcopy(end.state_dict()) for end in ends]
    path = Path(*ends)
    curve = path.through(path.straight(3))
    trained = train_path(
        curve, data.epoch, generator(2), epochs=60, learning_rate=0.1, weight_decay=0.0
    )
    assert trained.stopped == "epochs"
    line, bent = (
        evaluate(which, TS, {"train": lambda: data.scores()}) for which in (path, trained.path)
    )
    losses = [scores["train"]["loss"].mean(1) for scores in (line, bent)]
    torch.testing.assert_close(losses[1][[0, -1]], losses[0][[0, -1]])
    barriers = [float(loss.max() - loss[[0, -1]].mean()) for loss in losses]
    assert barriers[1] < 0.5 * barriers[0]
    for end, kept in zip(ends, before, strict=True):
        for name, value in end.state_dict().items():
            assert torch.equal(value, kept[name])


def test_gradients_along_the_curve_reach_the_tied_vectors_once(ends, data):
    """One step of curve training, against autograd through the interpolation itself."""
    first, second = (copy.deepcopy(end).double() for end in ends)
    for model in (first, second):
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
    path = Path(first, second)
    curve = path.through(path.straight(3))

    def whole(order):
        yield 1, lambda model: cross_entropy(*data.terms(model, slice(None)))

    after = train_path(curve, whole, generator(3), epochs=1, learning_rate=0.1, weight_decay=0.0)
    own = generator(3)
    torch.randint(2**62, (), generator=own)  # the seed of dropout
    t = float(torch.rand((), generator=own))
    inner = curve.inner.clone().requires_grad_()
    weights = curve.coefficients(t)
    point = weights[0] * curve.control[0] + weights[1] * inner[0] + weights[2] * curve.control[2]

    def moved(**texts):
        return torch.func.functional_call(first, path.layout.views(point), (), texts)

    loss = cross_entropy(*data.terms(moved, slice(None)))
    (slope,) = torch.autograd.grad(loss, inner)
    rate = 0.1 * 0.01  # the factor of the last epoch
    torch.testing.assert_close(after.path.inner, (inner - rate * slope).detach())
    assert slope.abs().max() > 0


def test_random_points_start_as_the_network_itself_does(ends):
    """Each layer draws its own start: Glorot's bounds for matrices, N(0, 1/d) for vectors."""
    path = Path(*ends)
    points = random_points(ends[0], 40, generator(4))
    views = [path.layout.views(point) for point in points]
    vectors = torch.stack([view["embedding.weight"] for view in views])
    assert vectors.std().item() == pytest.approx(1 / math.sqrt(8), rel=0.05)
    matrices = torch.stack([view["encoder.0.feedforward.widen.weight"] for view in views])
    bound = math.sqrt(6 / (8 + 16))
    assert 0.95 * bound < matrices.abs().max() <= bound
    assert not torch.stack([view["encoder.0.feedforward.widen.bias"] for view in views]).any()
