"""A transformer that translates: its second derivatives, against the full matrix."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from scipy.stats import t as student
from torch.nn.functional import cross_entropy
from torch.utils._python_dispatch import TorchDispatchMode

from llt_core.interfaces import TaskDescription
from llt_plugins.architectures.transformer import Transformer
from llt_plugins.curvature import deflated, hutchinson, hutchpp, xtrace
from llt_plugins.curvature.lanczos import top_eigenvalue
from llt_plugins.curvature.operators.copies import evaluation_copy
from llt_plugins.curvature.operators.gauss_newton import GaussNewtonOperator
from llt_plugins.curvature.operators.hessian import HessianOperator

WORDS = TaskDescription(modality="text", input_shape=(6,), outputs=11, padding=0)
NETWORKS = {
    "tied": Transformer(embedding_dim=8, layers=1, heads=2, feedforward_ratio=2),
    "untied": Transformer(
        embedding_dim=8,
        layers=1,
        heads=2,
        feedforward_ratio=2,
        tie_embeddings=False,
        norm="post",
    ),
}
SIZES = {"tied": 1_408 + 32 + 11 * 8, "untied": 1_408 + 3 * 11 * 8}
CLOSE = {"rtol": 1e-9, "atol": 1e-12}


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def texts(rows: int = 8) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Keyword inputs and the tokens that follow, rows of several lengths."""
    generator = seeded(7)
    source = torch.randint(1, WORDS.outputs, (rows, 6), generator=generator)
    sentence = torch.randint(1, WORDS.outputs, (rows, 6), generator=generator)
    for row in range(rows):
        source[row, 2 + row % 5 :] = 0
        sentence[row, 2 + row % 5 :] = 0
    return {"source": source, "target": sentence[:, :-1]}, sentence[:, 1:]


def logits(model, rows=slice(None)):
    """The logits of all target tokens that are not padding, ``(n, V)``."""
    inputs, following = texts()
    outputs = model(**{name: tokens[rows] for name, tokens in inputs.items()})
    return outputs[following[rows] != 0]


def tokens(rows=slice(None)):
    _, following = texts()
    return following[rows][following[rows] != 0]


def loss(model, rows=slice(None)):
    """The mean over target tokens."""
    return cross_entropy(logits(model, rows), tokens(rows))


class Trained:
    """A network in train mode after a few steps, its float64 copy, and the full matrices."""

    def __init__(self, name: str) -> None:
        self.size = SIZES[name]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.model = NETWORKS[name].build(WORDS)
            optimiser = torch.optim.Adam(self.model.parameters(), lr=3e-3)
            for _ in range(40):
                optimiser.zero_grad()
                loss(self.model).backward()
                optimiser.step()
        self.copy = evaluation_copy(self.model, torch.float64)

    def losses(self):
        """One micro-batch of five sentences and one of three, weighted by their tokens."""
        parts = (slice(0, 5), slice(5, 8))
        return [(len(tokens(rows)), partial(loss, rows=rows)) for rows in parts]


@pytest.fixture(scope="module", params=NETWORKS)
def trained(request):
    return Trained(request.param)


@pytest.fixture(scope="module")
def hessian(trained, by_autograd):
    matrix = by_autograd(trained.copy, loss)
    assert matrix.dtype == torch.float64
    assert matrix.shape == (trained.size, trained.size)
    assert trained.size <= 3_000
    return matrix


@pytest.fixture(scope="module")
def operator(trained):
    with HessianOperator(trained.copy, trained.losses()) as built:
        yield built


def test_products_are_those_of_the_full_matrix(operator, hessian):
    assert operator.size == len(hessian)  # tied vectors count once
    torch.testing.assert_close(hessian, hessian.T, **CLOSE)
    vectors = torch.randn(operator.size, 20, generator=seeded(0), dtype=torch.float64)
    torch.testing.assert_close(operator.matvec(vectors[:, 0]), hessian @ vectors[:, 0], **CLOSE)
    torch.testing.assert_close(operator.matmat(vectors), hessian @ vectors, **CLOSE)
    assert operator.unbatched is None
    assert operator.plain is None


def test_float32_products_are_accurate(trained, hessian):
    single = HessianOperator(evaluation_copy(trained.model), trained.losses())
    vector = torch.randn(single.size, generator=seeded(0), dtype=torch.float64)
    expected = hessian @ vector
    assert (single.matvec(vector) - expected).norm() < 1e-4 * expected.norm()


def deflated_trace(operator, generator, **limits):
    return deflated.trace(operator, seeded(1), generator, **limits)


TRACES = {
    "hutchinson": partial(hutchinson.trace, max_vectors=96),
    "deflated": partial(deflated_trace, max_products=96),
    "hutch++": partial(hutchpp.trace, max_products=96),
    "xtrace": partial(xtrace.trace, max_products=96),
}


@pytest.mark.parametrize("name", TRACES)
def test_traces_are_right_to_their_stated_error(name, operator, hessian):
    run = TRACES[name](operator, seeded(2), tolerance=0.0)
    truth = hessian.trace().item()
    error = abs(run.value - truth)
    assert 0 < run.standard_error < 0.2 * truth
    assert error <= student.ppf(0.999, run.degrees_of_freedom) * run.standard_error


def test_the_top_eigenvalue_is_that_of_the_full_matrix(operator, hessian):
    values = torch.linalg.eigvalsh(hessian)
    largest = values[values.abs().argmax()].item()
    top = top_eigenvalue(operator, seeded(0), tolerance=1e-8)
    assert top.stopped == "tolerance"
    assert top.value == pytest.approx(largest, rel=1e-7)
    assert abs(top.value - largest) <= top.error + 1e-10 * abs(largest)


def test_gauss_newton_is_the_product_of_its_three_factors(trained):
    """Its products, for which the Jacobian is written out column by column."""
    model = trained.copy
    parts = (slice(0, 5), slice(5, 8))
    newton = GaussNewtonOperator(
        model,
        [
            (
                len(tokens(rows)),
                partial(logits, rows=rows),
                partial(cross_entropy, target=tokens(rows)),
            )
            for rows in parts
        ],
    )
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        outputs = logits(model)
    flat = outputs.reshape(-1)
    rows = torch.autograd.grad(
        flat, list(model.parameters()), torch.eye(len(flat)).double(), is_grads_batched=True
    )
    jacobian = torch.cat([part.flatten(1) for part in rows], dim=1)
    chances = outputs.detach().softmax(1)
    bends = torch.block_diag(*[torch.diag(p) - torch.outer(p, p) for p in chances])
    expected = jacobian.T @ (bends / len(chances)) @ jacobian
    assert newton.size == len(expected) == trained.size
    vectors = torch.randn(newton.size, 5, generator=seeded(0), dtype=torch.float64)
    torch.testing.assert_close(newton.matmat(vectors), expected @ vectors, **CLOSE)
    torch.testing.assert_close(newton.matvec(vectors[:, 0]), expected @ vectors[:, 0], **CLOSE)
    assert newton.unbatched is None
    assert newton.plain is None


def test_the_copy_is_deterministic_and_the_original_stays_in_training(trained):
    assert trained.model.training
    assert all(not module.training for module in trained.copy.modules())
    first, second = loss(trained.copy), loss(trained.copy)
    assert torch.equal(first, second)
    with pytest.raises(ValueError, match=r"Dropout.*in training mode"):
        HessianOperator(trained.model, trained.losses())


class Kernels(TorchDispatchMode):
    """Writes down which attention kernels are called."""

    def __init__(self) -> None:
        super().__init__()
        self.fused = 0
        self.seen: set[str] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.__name__
        if "attention" in name:
            self.fused += 1
        self.seen.add(name)
        return func(*args, **(kwargs or {}))


def fused_in(function) -> int:
    with Kernels() as kernels:
        function()
    assert kernels.seen
    return kernels.fused


def test_only_second_derivatives_leave_the_fast_kernels(trained):
    """The fused kernels of training: before, between and after, but never inside."""
    model = evaluation_copy(trained.model)
    assert fused_in(lambda: loss(model).backward()) > 0
    built = []
    assert fused_in(lambda: built.append(HessianOperator(model, trained.losses()))) == 0
    operator = built[0]
    assert fused_in(lambda: loss(model)) > 0
    assert fused_in(lambda: operator.matvec(torch.ones(operator.size))) == 0
    assert fused_in(lambda: loss(model).backward()) > 0


def test_the_fast_kernels_come_back_after_an_error(trained):
    model = evaluation_copy(trained.model)

    def broken(model):
        loss(model)
        raise KeyError("no such sentence")

    with pytest.raises(KeyError):
        HessianOperator(model, [(1, broken)])
    assert fused_in(lambda: loss(model)) > 0


def test_the_fast_kernels_give_the_same_first_derivatives(trained):
    """What the operators differentiate again is the function that was trained."""
    model = trained.copy
    fast = torch.autograd.grad(loss(model), list(model.parameters()))
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        plain = torch.autograd.grad(loss(model), list(model.parameters()))
    for one, other in zip(fast, plain, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-13)
