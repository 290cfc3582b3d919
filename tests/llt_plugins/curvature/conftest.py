"""Tiny models of every troublesome kind, and their Hessians written out by other means."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import cross_entropy

from llt_core.interfaces import TaskDescription
from llt_plugins.architectures.transformer import Transformer

CLASSES = 3
WORDS = TaskDescription(modality="text", input_shape=(5,), outputs=6, padding=0)


@dataclass
class Case:
    """A float64 model in eval mode, its data, and its loss.

    Texts are inputs by keyword and targets ``(N, T)``, of which those that are not padding
    are terms of the mean loss.
    """

    model: nn.Module
    inputs: Tensor | Mapping[str, Tensor]
    targets: Tensor

    def terms(self, start: int = 0, stop: int | None = None) -> Tensor:
        """The targets of some examples, ``(n,)``."""
        targets = self.targets[start:stop]
        return targets if targets.ndim == 1 else targets[targets != WORDS.padding]

    def logits(self, model: nn.Module, start: int = 0, stop: int | None = None) -> Tensor:
        """The logits of the same terms, ``(n, C)``."""
        if isinstance(self.inputs, Tensor):
            return model(self.inputs[start:stop])
        outputs = model(**{name: x[start:stop] for name, x in self.inputs.items()})
        return outputs[self.targets[start:stop] != WORDS.padding]

    def loss(self, start: int = 0, stop: int | None = None) -> Callable[[nn.Module], Tensor]:
        targets = self.terms(start, stop)
        return lambda model: cross_entropy(self.logits(model, start, stop), targets)

    def parts(self, *sizes: int) -> list[tuple[int, int, int]]:
        """Start, stop and number of terms of micro-batches; one batch when no size is given."""
        sizes = sizes or (len(self.targets),)
        ends = np.cumsum(sizes)
        assert ends[-1] == len(self.targets)
        ranges = [(int(end) - n, int(end)) for n, end in zip(sizes, ends, strict=True)]
        return [(start, stop, len(self.terms(start, stop))) for start, stop in ranges]

    def losses(self, *sizes: int) -> list[tuple[float, Callable[[nn.Module], Tensor]]]:
        """Micro-batches of the given sizes, each with its weight."""
        return [(n, self.loss(start, stop)) for start, stop, n in self.parts(*sizes)]

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
        return torch.autograd.functional.hessian(of_flat, flat, vectorize=len(flat) > 200)


@pytest.fixture(scope="session")
def by_autograd() -> Callable[[nn.Module, Callable[[nn.Module], Tensor]], Tensor]:
    """The full Hessian of any loss of a model."""
    return full_hessian


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


def _transformer() -> nn.Module:
    small = Transformer(embedding_dim=3, layers=1, heads=3, feedforward_ratio=1)
    return small.build(WORDS)


BUILDERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "mlp": (_mlp, (5,)),
    "conv_bn": (_conv, (2, 6, 6)),
    "tied": (_Tied, (6,)),
    "frozen": (_frozen, (5,)),
    "attention": (_Attention, (4, 6)),
    "idle": (_Idle, (4,)),
    "transformer": (_transformer, ()),
}


def build(name: str) -> Case:
    builder, shape = BUILDERS[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = builder().double().eval()
        if not shape:
            return Case(model, *texts(12, 5, 4))
        inputs = torch.randn(12, *shape, dtype=torch.float64)
        targets = torch.randint(0, CLASSES, (12,))
    return Case(model, inputs, targets)


def texts(rows: int, longest: int, following: int) -> tuple[dict[str, Tensor], Tensor]:
    """Source ``(B, S)`` and target ``(B, T)`` of several lengths, and what follows, ``(B, T)``."""
    source = torch.randint(1, WORDS.outputs, (rows, longest))
    sentence = torch.randint(1, WORDS.outputs, (rows, following + 1))
    for row in range(rows):
        source[row, 1 + row % longest :] = WORDS.padding
        sentence[row, 2 + row % following :] = WORDS.padding
    return {"source": source, "target": sentence[:, :-1]}, sentence[:, 1:]


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
