"""Models whose loss along a line is known, and a small convolutional one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy


class Quadratic(nn.Module):
    """A loss ½ (θ − c)ᵀ A (θ − c) of two parameter tensors, with A of given eigenvalues."""

    def __init__(self, eigenvalues: Tensor, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        n = len(eigenvalues)
        square = torch.randn(n, n, generator=generator, dtype=torch.float64)
        basis, _ = torch.linalg.qr(square)
        self.matrix = (basis * eigenvalues) @ basis.T
        self.basis = basis
        self.centre = torch.randn(n, generator=generator, dtype=torch.float64)
        start = torch.randn(n, generator=generator, dtype=torch.float64)
        self.weight = nn.Parameter(start[:6].view(2, 3).clone())
        self.bias = nn.Parameter(start[6:].clone())

    def forward(self) -> Tensor:
        offset = torch.cat([self.weight.reshape(-1), self.bias]) - self.centre
        return 0.5 * offset @ self.matrix.to(offset) @ offset


@pytest.fixture
def quadratic() -> Quadratic:
    return Quadratic(torch.tensor([5.0, -3.0, 2.0, 1.0, 0.5, 0.1, 0.0, 0.0, 1.5, 0.7]).double())


def make_network(seed: int = 0, batch_norm: bool = True) -> nn.Module:
    """Conv, batch norm with unequal statistics, linear with a frozen bias: eval mode, float64."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1),
            nn.BatchNorm2d(4) if batch_norm else nn.Identity(),
            nn.ReLU(),
            nn.AvgPool2d(2),
            nn.Flatten(),
            nn.Dropout(0.5),
            nn.Linear(16, 6),
            nn.Tanh(),
            nn.Linear(6, 3),
        )
        if batch_norm:
            model[1].running_mean.normal_()
            model[1].running_var.uniform_(0.5, 2.0)
            nn.init.normal_(model[1].weight)
    model[8].bias.requires_grad_(False)
    return model.double().eval()


@pytest.fixture
def network() -> Callable[..., nn.Module]:
    return make_network


@pytest.fixture
def images() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    inputs = torch.randn(20, 1, 4, 4, generator=generator, dtype=torch.float64)
    return inputs, torch.randint(0, 3, (20,), generator=generator)


@pytest.fixture
def scores(images: tuple[Tensor, Tensor]) -> list[Callable[[nn.Module], Tensor]]:
    """Loss and percent of errors of each image on two micro-batches of 13 and 7."""

    def on(start: int, stop: int) -> Callable[[nn.Module], Tensor]:
        inputs, targets = images[0][start:stop], images[1][start:stop]

        def score(model: nn.Module) -> Tensor:
            outputs = model(inputs)
            wrong = 100.0 * (outputs.argmax(1) != targets).to(outputs.dtype)
            return torch.stack([cross_entropy(outputs, targets, reduction="none"), wrong])

        return score

    return [on(0, 13), on(13, 20)]
