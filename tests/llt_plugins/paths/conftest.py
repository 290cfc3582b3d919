"""Tiny networks and data for paths."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy


class Residual(nn.Module):
    """Convolutions with batch norm, a residual sum and a buffer: what vision models hold."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv = nn.Conv2d(width, width, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(width)
        self.drop = nn.Dropout(0.2)
        self.head = nn.Linear(4 * width, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.bn1(self.stem(x)))
        x = torch.relu(x + self.bn2(self.conv(x)))
        x = nn.functional.adaptive_avg_pool2d(x, 2)
        return self.head(self.drop(x.flatten(1)))


class Tied(nn.Module):
    """An autoencoder of tied weights with a frozen bias."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(5, 5, bias=False)
        self.decoder = nn.Linear(5, 5)
        self.decoder.weight = self.encoder.weight
        self.decoder.bias.requires_grad_(False)
        self.register_buffer("scale", torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * self.decoder(torch.tanh(self.encoder(x)))


def mlp() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 6), nn.Tanh(), nn.Linear(6, 3)
    )


BUILDERS: dict[str, Callable[[], nn.Module]] = {"mlp": mlp, "residual": Residual, "tied": Tied}


def build(name: str, seed: int = 0) -> nn.Module:
    """Return a seeded network in eval mode whose buffers are not the initial ones."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = BUILDERS[name]()
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.data += 0.1 * torch.randn(parameter.shape)
        for buffer in model.buffers():
            if buffer.is_floating_point():
                buffer += 0.3 * torch.rand(buffer.shape)
            else:
                buffer += seed + 1
    return model.eval()


@pytest.fixture
def make() -> Callable[..., nn.Module]:
    return build


def clouds(count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return noisy images ``(N, 1, 4, 4)`` of three classes, and labels."""
    centres = torch.randn(3, 1, 4, 4, generator=torch.Generator().manual_seed(99))
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 3, (count,), generator=generator)
    noise = torch.randn(count, 1, 4, 4, generator=generator)
    return centres[labels] + 1.5 * noise, labels


class Data:
    """Images in memory, as the callables that the numerics take."""

    def __init__(self, count: int, seed: int = 0, batch: int = 16) -> None:
        self.inputs, self.labels = clouds(count, seed)
        self.batch = batch

    def chunks(self, order: Tensor | None = None) -> list[tuple[Tensor, Tensor]]:
        order = torch.arange(len(self.labels)) if order is None else order
        return [(self.inputs[i], self.labels[i]) for i in order.split(self.batch)]

    def epoch(self, generator: torch.Generator):
        for x, y in self.chunks(torch.randperm(len(self.labels), generator=generator)):
            yield len(y), lambda model, x=x, y=y: cross_entropy(model(x), y)

    def passes(self):
        for x, y in self.chunks():
            yield len(y), lambda model, x=x: model(x)

    def scores(self):
        for x, y in self.chunks():
            yield lambda model, x=x, y=y: _scored(model(x), y)


def _scored(outputs: Tensor, labels: Tensor) -> dict[str, Tensor]:
    return {
        "loss": cross_entropy(outputs, labels, reduction="none"),
        "error": 100.0 * (outputs.argmax(1) != labels),
    }


COUNT = 96


@pytest.fixture
def data() -> Data:
    return Data(COUNT)


def fit(model: nn.Module, data: Data, epochs: int = 12, seed: int = 0) -> nn.Module:
    """Train ``model`` in place by plain SGD; return it in eval mode."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model.train()
        for _ in range(epochs):
            for _, loss in data.epoch(generator):
                optimizer.zero_grad()
                loss(model).backward()
                optimizer.step()
    optimizer.zero_grad()
    return model.eval()


@cache
def _fitted(name: str, seed: int) -> nn.Module:
    return fit(build(name, seed), Data(COUNT), seed=seed)


@pytest.fixture
def trained() -> Callable[[str, int], nn.Module]:
    """Copies of networks trained on ``data``, each of them trained once."""
    return lambda name, seed: copy.deepcopy(_fitted(name, seed))
