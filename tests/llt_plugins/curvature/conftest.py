"""Tiny models of every troublesome kind, and their Hessians written out by other means."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import cross_entropy

CLASSES = 3


@dataclass
class Case:
    """A float64 model in eval mode, its data, and its loss."""

    model: nn.Module
    inputs: Tensor
    targets: Tensor

    def loss(self, start: int = 0, stop: int | None = None) -> Callable[[nn.Module], Tensor]:
        inputs, targets = self.inputs[start:stop], self.targets[start:stop]
        return lambda model: cross_entropy(model(inputs), targets)

    def losses(self, *sizes: int) -> list[tuple[float, Callable[[nn.Module], Tensor]]]:
        """Micro-batches of the given sizes; one batch when none is given."""
        sizes = sizes or (len(self.targets),)
        ends = np.cumsum(sizes)
        assert ends[-1] == len(self.targets)
        return [(n, self.loss(end - n, end)) for n, end in zip(sizes, ends, strict=True)]

    def hessian(self) -> Tensor:
        """The full matrix by torch.autograd.functional, from the flat parameter vector."""
        return full_hessian(self.model, self.loss())


class _Closed(nn.Module):
    def __init__(self, inner: nn.Module, loss: Callable[[nn.Module], Tensor]) -> None:
        super().__init__()
        self.inner, self.loss = inner, loss

    def forward(self) -> Tensor:
        return self.loss(self.inner)


def full_hessian(model: nn.Module, loss: Callable[[nn.Module], Tensor]) -> Tensor:
    closed = _Closed(model, loss)
    named = {k: p for k, p in closed.named_parameters() if p.requires_grad}
    sizes = [p.numel() for p in named.values()]

    def of_flat(flat: Tensor) -> Tensor:
        parts = flat.split(sizes)
        new = {k: part.view(p.shape) for part, (k, p) in zip(parts, named.items(), strict=True)}
        return functional_call(closed, new, ())

    flat = torch.cat([p.detach().reshape(-1) for p in named.values()])
    with sdpa_kernel(SDPBackend.MATH):
        return torch.autograd.functional.hessian(of_flat, flat)


class _Tied(nn.Module):
    """Input and output share one matrix, as an embedding and its decoder do."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 6)
        self.second = nn.Linear(6, 6)
        self.second.weight = self.first.weight
        self.head = nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.second(torch.tanh(self.first(x)))))


class _Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True)
        self.norm = nn.LayerNorm(6)
        self.head = nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        mixed, _ = self.attention(x, x, x, need_weights=False)
        return self.head(self.norm(x + mixed).mean(dim=1))


class _Idle(nn.Module):
    """One parameter that nothing uses, one that enters the output linearly only."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.randn(3))
        self.body = nn.Linear(4, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


def _mlp() -> nn.Module:
    return nn.Sequential(
        nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, CLASSES)
    )


def _conv() -> nn.Module:
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 4, 3, stride=2, bias=False),
        nn.BatchNorm2d(4),
        nn.Flatten(),
        nn.Linear(16, CLASSES),
    )
    for module in model:
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2.0)
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
    return model


def _frozen() -> nn.Module:
    model = _mlp()
    model[0].requires_grad_(False)
    model[2].bias.requires_grad_(False)
    return model


BUILDERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "mlp": (_mlp, (5,)),
    "conv_bn": (_conv, (2, 6, 6)),
    "tied": (_Tied, (6,)),
    "frozen": (_frozen, (5,)),
    "attention": (_Attention, (4, 6)),
    "idle": (_Idle, (4,)),
}


def build(name: str) -> Case:
    builder, shape = BUILDERS[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = builder().double().eval()
        inputs = torch.randn(12, *shape, dtype=torch.float64)
        targets = torch.randint(0, CLASSES, (12,))
    return Case(model, inputs, targets)


@pytest.fixture(params=BUILDERS)
def case(request: pytest.FixtureRequest) -> Case:
    return build(request.param)


@pytest.fixture(scope="session")
def case_builder() -> Callable[[str], Case]:
    """For fixtures that outlive one test."""
    return build


@pytest.fixture
def make_case() -> Callable[[str], Case]:
    return build


@dataclass
class Matrix:
    """A symmetric matrix as an operator: all the estimators ask for."""

    values: Tensor
    products: int = 0

    @property
    def size(self) -> int:
        return len(self.values)

    def matvec(self, vector: Tensor) -> Tensor:
        self.products += 1
        return self.values @ vector.to(self.values)


@pytest.fixture
def with_spectrum() -> Callable[..., Matrix]:
    """Build a symmetric matrix with given eigenvalues and random eigenvectors."""

    def make(eigenvalues: Tensor, seed: int = 0) -> Matrix:
        generator = torch.Generator().manual_seed(seed)
        n = len(eigenvalues)
        square = torch.randn(n, n, generator=generator, dtype=torch.float64)
        basis, _ = torch.linalg.qr(square)
        return Matrix((basis * eigenvalues.double()) @ basis.T)

    return make
