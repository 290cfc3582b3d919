"""One trained resnet18, three implementations: PyHessian, curvlinops, and ours."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.sparse.linalg import eigsh
from scipy.stats import t as student
from torch.nn.functional import cross_entropy

from llt_plugins.architectures.resnet import ResNet18
from llt_plugins.curvature import deflated, hutchinson, hutchpp, pyhessian_adapter, xtrace
from llt_plugins.curvature.krylov import Krylov
from llt_plugins.curvature.lanczos import eigenpairs
from llt_plugins.curvature.operators.copies import evaluation_copy
from llt_plugins.curvature.operators.hessian import HessianOperator
from llt_plugins.tasks.digits import Digits

SAMPLES, WIDTH, EPOCHS = 64, 2, 6


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def trained():
    """A network of width 4 on real digits, after a few epochs, and 64 of its samples."""
    task = Digits()
    examples = task.datasets(Path())["train"].subset(torch.arange(320))
    batch = examples.batch(torch.arange(320))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = ResNet18(width=WIDTH).build(task.describe())
    model.train()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for step in range(EPOCHS * 5):
        rows = slice(64 * (step % 5), 64 * (step % 5 + 1))
        optimiser.zero_grad()
        cross_entropy(model(batch.inputs[rows]), batch.targets[rows]).backward()
        optimiser.step()
    model.eval()
    for parameter in model.parameters():
        parameter.grad = None
    return model, batch.inputs[:SAMPLES], batch.targets[:SAMPLES]


@pytest.fixture(scope="module")
def operator(trained):
    model, inputs, targets = trained
    losses = [(SAMPLES, lambda m: cross_entropy(m(inputs), targets))]
    with HessianOperator(evaluation_copy(model), losses) as built:
        yield built


@pytest.fixture(scope="module")
def theirs(trained):
    from curvlinops import HessianLinearOperator

    model, inputs, targets = trained
    return HessianLinearOperator(
        model,
        torch.nn.CrossEntropyLoss(),
        list(model.parameters()),
        [(inputs, targets)],
        check_deterministic=False,
    )


def test_products_agree_with_curvlinops(operator, theirs):
    for seed in range(3):
        vector = torch.randn(operator.size, generator=seeded(seed))
        ours, other = operator.matvec(vector), (theirs @ vector).double()
        assert (ours - other).norm() <= 1e-4 * ours.norm()


@pytest.fixture(scope="module")
def eigenvalues(operator):
    return eigenpairs(Krylov(operator, seeded(0)), k=3, tolerance=1e-3)


def test_top_eigenvalues_agree_with_curvlinops(operator, theirs, eigenvalues):
    from scipy.sparse.linalg import LinearOperator

    calls = LinearOperator(
        (operator.size, operator.size),
        matvec=lambda v: (theirs @ torch.from_numpy(v).float().reshape(-1)).numpy(),
        dtype=np.float32,
    )
    start = np.ones(operator.size, dtype=np.float32)
    found = eigsh(calls, k=3, which="LM", tol=1e-3, v0=start, return_eigenvectors=False)
    found = found[np.argsort(-np.abs(found))]
    assert eigenvalues.stopped == "tolerance"
    assert (abs(eigenvalues.values - found) <= eigenvalues.errors + 2e-3 * abs(found)).all()


def test_the_top_eigenvalue_agrees_with_pyhessian(trained, eigenvalues):
    model, inputs, targets = trained
    losses = [(SAMPLES, lambda m: cross_entropy(m(inputs), targets))]
    power = pyhessian_adapter.top_eigenvalue(model, losses, seeded(1), tolerance=1e-5)
    assert power.value == pytest.approx(eigenvalues.values[0], rel=5e-3)


def test_traces_of_all_estimators_agree(trained, operator, theirs):
    from curvlinops.trace.hutchinson import hutchinson_trace

    model, inputs, targets = trained
    losses = [(SAMPLES, lambda m: cross_entropy(m(inputs), targets))]
    ours = [
        deflated.trace(operator, seeded(0), seeded(1), tolerance=0.0, max_products=40),
        hutchinson.trace(operator, seeded(2), tolerance=0.0, max_vectors=30),
        hutchpp.trace(operator, seeded(3), tolerance=0.0, max_products=30),
        xtrace.trace(operator, seeded(4), tolerance=0.0, max_products=30),
    ]
    best = ours[0]
    for other in ours[1:]:
        spread = math.hypot(best.standard_error, other.standard_error)
        freedom = min(best.degrees_of_freedom, other.degrees_of_freedom)
        assert abs(best.value - other.value) <= student.ppf(0.999, freedom) * spread
    assert best.standard_error < 0.5 * ours[1].standard_error
    power = pyhessian_adapter.trace(model, losses, seeded(5), max_vectors=20)
    spread = math.hypot(best.standard_error, power.standard_error)
    assert abs(best.value - power.value) <= student.ppf(0.999, 19) * spread
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(6)
        mean = float(hutchinson_trace(theirs, 3))
    # They give no error; that of one of their draws is that of one of ours.
    spread = math.hypot(best.standard_error, ours[1].standard_error * math.sqrt(30 / 3))
    assert abs(best.value - mean) <= student.ppf(0.999, 20) * spread
