"""The top eigenvalue against dense eigensolvers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from llt_plugins.curvature.lanczos import top_eigenvalue
from llt_plugins.curvature.operators.hessian import HessianOperator


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Dense:
    def __init__(self, values):
        self.values, self.size = values, len(values)

    def matvec(self, vector):
        return self.values @ vector.to(self.values)


def test_every_model_agrees_with_the_dense_solver(case):
    matrix = case.hessian()
    values, vectors = torch.linalg.eigh(matrix)
    index = int(values.abs().argmax())
    with HessianOperator(case.model, case.losses(5, 7)) as operator:
        top = top_eigenvalue(operator, seeded(1), tolerance=1e-6)
    assert top.stopped in ("tolerance", "invariant subspace")
    assert abs(top.value - values[index].item()) <= top.error + 1e-10 * abs(top.value)
    assert top.error <= 1e-6 * abs(top.value) + 1e-12
    assert abs(torch.dot(top.vector, vectors[:, index])).item() == pytest.approx(1, abs=1e-6)


def test_the_largest_magnitude_may_be_negative(with_spectrum):
    eigenvalues = torch.linspace(-1, 2, 60)
    eigenvalues[0] = -3.0
    top = top_eigenvalue(with_spectrum(eigenvalues), seeded(0), tolerance=1e-8)
    assert top.value == pytest.approx(-3.0, rel=1e-8)
    assert top.stopped == "tolerance"


def test_a_slightly_larger_negative_end_is_not_missed(with_spectrum):
    # The positive end stands alone and converges at once, the larger negative one hides.
    eigenvalues = torch.cat([torch.linspace(-1.02, -0.95, 100), torch.zeros(300), torch.ones(1)])
    operator = with_spectrum(eigenvalues)
    for seed in range(20):
        top = top_eigenvalue(operator, seeded(seed), tolerance=1e-4)
        assert top.value == pytest.approx(-1.02, rel=1e-3)


def test_the_bound_holds_at_every_step_count(with_spectrum):
    eigenvalues = torch.tensor([9.0, 8.9, 8.5, 4.0] + [0.1 * i for i in range(40)]).double()
    operator = with_spectrum(eigenvalues)
    for steps in range(1, 30):
        top = top_eigenvalue(operator, seeded(3), tolerance=1e-12, max_steps=steps)
        assert (eigenvalues - top.value).abs().min().item() <= top.error + 1e-12
        residual = operator.matvec(top.vector) - top.value * top.vector
        assert residual.norm().item() == pytest.approx(top.error, rel=1e-6, abs=1e-10)


def test_eighty_steps_bring_no_ghosts(with_spectrum):
    eigenvalues = torch.cat([torch.tensor([100.0, 50.0, 20.0]), torch.linspace(-1, 1, 197)])
    top = top_eigenvalue(
        with_spectrum(eigenvalues), seeded(0), tolerance=0.0, max_steps=80, min_steps=80
    )
    assert len(top.ritz_values) == top.steps == 80
    assert np.sum(top.ritz_values > 2) == 3
    assert top.ritz_values[-3:] == pytest.approx([20, 50, 100], rel=1e-9)
    assert np.diff(top.ritz_values).min() > 1e-6


def test_clustered_top_eigenvalues(with_spectrum):
    eigenvalues = torch.cat([torch.tensor([1.0, 1.0 - 1e-5, 0.9999]), torch.linspace(0, 0.9, 200)])
    top = top_eigenvalue(with_spectrum(eigenvalues), seeded(0), tolerance=1e-3)
    assert top.stopped == "tolerance"
    assert abs(top.value - 1) <= 1.1e-3


def test_it_does_not_stop_on_a_lucky_start(with_spectrum):
    # facts: rules that stop after two steps were 26-79 % off
    eigenvalues = torch.cat([torch.tensor([2.0]), torch.linspace(0, 1, 400)])
    operator = with_spectrum(eigenvalues)
    for seed in range(20):
        top = top_eigenvalue(operator, seeded(seed))
        assert top.value == pytest.approx(2.0, rel=1e-3)
        assert top.steps >= 6


def test_the_limit_is_reported_with_a_true_bound(with_spectrum):
    eigenvalues = torch.linspace(0, 1, 300)
    top = top_eigenvalue(with_spectrum(eigenvalues), seeded(0), tolerance=1e-9, max_steps=8)
    assert (top.stopped, top.steps) == ("limit", 8)
    assert top.error > 1e-9


def test_an_invariant_subspace_is_exact(with_spectrum):
    low_rank = torch.zeros(50)
    low_rank[:3] = torch.tensor([4.0, -2.0, 1.0])
    top = top_eigenvalue(with_spectrum(low_rank), seeded(0), tolerance=0.0)
    assert top.stopped == "invariant subspace"
    assert top.steps <= 5
    assert top.value == pytest.approx(4.0, rel=1e-12)


@pytest.mark.parametrize("value", [3.0, -0.25, 0.0])
def test_one_parameter(value):
    top = top_eigenvalue(Dense(torch.tensor([[value]], dtype=torch.float64)), seeded(0))
    assert (top.value, top.error, top.steps) == (value, 0.0, 1)
    assert top.stopped == "invariant subspace"


def test_a_zero_matrix_has_eigenvalue_zero():
    top = top_eigenvalue(Dense(torch.zeros(7, 7, dtype=torch.float64)), seeded(0))
    assert (top.value, top.error, top.stopped) == (0.0, 0.0, "invariant subspace")


def test_not_a_number_ends_it_at_once():
    top = top_eigenvalue(Dense(torch.full((5, 5), math.nan, dtype=torch.float64)), seeded(0))
    assert (top.steps, top.stopped) == (1, "not_finite")
    assert math.isnan(top.value)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(-10_000, 10_000), min_size=1, max_size=25),
    st.integers(0, 2**31),
)
def test_small_matrices_are_exact_to_the_bound(eigenvalues, seed):
    basis, _ = torch.linalg.qr(
        torch.randn(len(eigenvalues), len(eigenvalues), generator=seeded(seed)).double()
    )
    values = torch.tensor(eigenvalues, dtype=torch.float64) / 1000
    top = top_eigenvalue(Dense((basis * values) @ basis.T), seeded(seed + 1), tolerance=1e-9)
    scale = values.abs().max().item()
    assert abs(abs(top.value) - scale) <= top.error + 1e-9 * scale


@pytest.mark.parametrize("wrong", [{"max_steps": 0}, {"tolerance": -1.0}, {"tolerance": math.nan}])
def test_impossible_requests_are_refused(wrong):
    with pytest.raises(ValueError, match="expected"):
        top_eigenvalue(Dense(torch.eye(2)), seeded(0), **wrong)
