"""The shared Krylov sequence: its algebra, its blocks, and that readers cannot disturb it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from llt_plugins.curvature.basis import Basis
from llt_plugins.curvature.krylov import Krylov
from llt_plugins.curvature.lanczos import eigenpairs
from llt_plugins.curvature.types import AsymmetryError


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def vectors(krylov, count):
    return torch.stack([krylov.basis[i] for i in range(count)], dim=1)


@pytest.mark.parametrize("block_size", [1, 2, 5])
@pytest.mark.parametrize("storage", [torch.float64, torch.float32])
def test_the_three_term_relation(block_size, storage, with_spectrum):
    operator = with_spectrum(torch.linspace(-1, 3, 80))
    krylov = Krylov(operator, seeded(0), block_size=block_size, storage=storage)
    steps = krylov.reach(6)
    size = krylov.products(steps)
    assert (steps, size) == (6, 6 * block_size)
    basis = vectors(krylov, size)
    rounding = 1e-12 if storage == torch.float64 else 1e-6
    assert (basis.T @ basis - torch.eye(size)).abs().max() < rounding
    projected = torch.from_numpy(krylov.tridiagonal(steps))
    assert (basis.T @ operator.values @ basis - projected).abs().max() < rounding
    rest = operator.values @ basis - basis @ projected
    following = torch.stack(krylov.following(steps), dim=1)
    last = following @ torch.from_numpy(krylov.residual(steps))
    assert (rest[:, -block_size:] - last).abs().max() < rounding
    assert rest[:, :-block_size].abs().max() < rounding


def test_readers_do_not_disturb_each_other(with_spectrum):
    operator = with_spectrum(torch.linspace(-1, 3, 80))
    short, long = Krylov(operator, seeded(4)), Krylov(operator, seeded(4))
    long.reach(30)
    short.reach(10)
    assert np.array_equal(short.tridiagonal(10), long.tridiagonal(10))
    assert np.array_equal(short.ritz(10).bounds, long.ritz(10).bounds)
    assert torch.equal(short.following(10)[0], long.following(10)[0])
    first, second = eigenpairs(short, tolerance=0.02), eigenpairs(long, tolerance=0.02)
    assert first.steps == second.steps < 30
    assert np.array_equal(first.values, second.values)
    assert torch.equal(first.vector(short), second.vector(long))


def test_products_are_made_once(with_spectrum):
    operator = with_spectrum(torch.linspace(-1, 3, 80))
    krylov = Krylov(operator, seeded(0))
    krylov.reach(12)
    krylov.reach(5)
    eigenpairs(krylov, max_steps=12, tolerance=0.0)
    assert operator.products == 12


def test_blocks_tell_equal_eigenvalues_apart(with_spectrum):
    eigenvalues = torch.cat([torch.tensor([5.0, 5.0, 5.0, 4.0]), torch.linspace(-1, 1, 90)])
    operator = with_spectrum(eigenvalues)
    once = eigenpairs(Krylov(operator, seeded(0)), k=2, which="largest", tolerance=1e-6)
    assert once.values == pytest.approx([5, 4], rel=1e-5)
    krylov = Krylov(operator, seeded(0), block_size=3)
    thrice = eigenpairs(krylov, k=4, which="largest", tolerance=1e-6)
    assert thrice.values == pytest.approx([5, 5, 5, 4], rel=1e-5)
    assert thrice.stopped == "tolerance"
    pairs = torch.stack([thrice.vector(krylov, i) for i in range(3)])
    assert (pairs @ pairs.T - torch.eye(3)).abs().max() < 1e-8
    assert (operator.values @ pairs.T - 5 * pairs.T).norm() < 1e-4


def test_clusters_are_resolved_to_their_bounds(with_spectrum):
    top = torch.tensor([2.0, 1.999, 1.998, 1.5], dtype=torch.float64)
    operator = with_spectrum(torch.cat([top, torch.linspace(-1, 1, 150, dtype=torch.float64)]))
    for block_size in (1, 3):
        krylov = Krylov(operator, seeded(1), block_size=block_size)
        found = eigenpairs(krylov, k=4, tolerance=1e-6)
        assert found.stopped == "tolerance"
        assert (abs(found.values - top.numpy()) <= found.errors + 1e-12).all()


@pytest.mark.parametrize("which", ["magnitude", "largest", "smallest"])
def test_each_end(which, with_spectrum):
    eigenvalues = torch.cat([torch.tensor([-3.0, -2.0, 2.5, 4.0]), torch.linspace(-0.5, 0.5, 60)])
    expected = {"magnitude": [4, -3, 2.5], "largest": [4, 2.5, 0.5], "smallest": [-3, -2, -0.5]}
    found = eigenpairs(
        Krylov(with_spectrum(eigenvalues), seeded(2)), k=3, which=which, tolerance=1e-4
    )
    assert found.stopped == "tolerance"
    assert (abs(found.values - expected[which]) <= found.errors + 1e-3).all()


def test_the_floor_ends_the_search_for_an_eigenvalue_near_zero(with_spectrum):
    operator = with_spectrum(torch.cat([torch.tensor([100.0]), torch.linspace(1e-6, 1, 200)]))
    found = eigenpairs(Krylov(operator, seeded(0)), which="smallest", tolerance=1e-2)
    assert found.stopped == "tolerance"
    assert abs(found.values[0]) <= found.errors[0] + 1e-6


@pytest.mark.parametrize("block_size", [1, 2])
def test_a_low_rank_is_exhausted(block_size, with_spectrum):
    low_rank = torch.zeros(40)
    low_rank[:3] = torch.tensor([4.0, -2.0, 1.0])
    operator = with_spectrum(low_rank)
    found = eigenpairs(Krylov(operator, seeded(0), block_size=block_size), k=3, tolerance=0.0)
    assert found.stopped == "invariant subspace"
    assert found.products < 10
    assert found.values == pytest.approx([4, -2, 1], abs=1e-10)


@pytest.mark.parametrize("block_size", [1, 2, 3])
def test_all_dimensions_are_exact_and_no_more(block_size, with_spectrum):
    eigenvalues = torch.tensor([3.0, 1.0, -2.0, 0.5, 0.25, 7.0, -1.0], dtype=torch.float64)
    operator = with_spectrum(eigenvalues)
    krylov = Krylov(operator, seeded(0), block_size=block_size)
    found = eigenpairs(krylov, k=7, tolerance=0.0)
    assert found.products == operator.products == 7
    assert np.sort(found.values) == pytest.approx(np.sort(eigenvalues), abs=1e-10)


def test_fewer_dimensions_than_eigenvalues_asked_for(with_spectrum):
    found = eigenpairs(Krylov(with_spectrum(torch.tensor([1.0, 2.0])), seeded(0)), k=5)
    assert (found.stopped, len(found.values)) == ("invariant subspace", 2)


def test_float32_storage_agrees(with_spectrum):
    operator = with_spectrum(torch.cat([torch.tensor([9.0, 4.0]), torch.linspace(-1, 1, 100)]))
    double, single = (
        eigenpairs(Krylov(operator, seeded(0), storage=kind), k=2, tolerance=1e-5)
        for kind in (torch.float64, torch.float32)
    )
    assert single.values == pytest.approx(double.values, rel=1e-6)
    krylov = Krylov(operator, seeded(0), storage=torch.float32)
    krylov.reach(90)
    basis = vectors(krylov, 90)
    assert (basis.T @ basis - torch.eye(90)).abs().max() < 1e-5


@pytest.mark.parametrize("block_size", [1, 2])
def test_an_operator_that_is_not_symmetric_is_refused(block_size, with_spectrum):
    operator = with_spectrum(torch.linspace(-1, 3, 40))
    operator.values[:20, 20:] *= 1.2
    krylov = Krylov(operator, seeded(0), block_size=block_size)
    with pytest.raises(AsymmetryError, match="not symmetric"):
        krylov.reach(10)


def test_not_a_number_stops_the_sequence():
    class Broken:
        size, calls = 6, 0

        def matvec(self, vector):
            self.calls += 1
            return vector * (math.nan if self.calls == 3 else self.calls)

    krylov = Krylov(Broken(), seeded(0))
    assert krylov.reach(10) <= 3
    found = eigenpairs(Krylov(Broken(), seeded(0)), k=2)
    assert found.stopped in ("not_finite", "invariant subspace")


def test_a_wide_basis_in_float32_is_cut_into_columns():
    size = 150_001  # more than two pieces
    basis = Basis(size, torch.float32)
    first, second = torch.randn(2, size, generator=seeded(0), dtype=torch.float64)
    basis.append(first / first.norm())
    rest = basis.project_out(second)
    basis.append(rest / rest.norm())
    assert abs(basis[0] @ basis[1]) < 1e-7
    both = torch.stack([basis[0], basis[1]])
    assert basis.coefficients(second).tolist() == pytest.approx((both @ second).tolist())
    weights = torch.tensor([2.0, -1.0], dtype=torch.float64)
    torch.testing.assert_close(basis.combine(weights), weights @ both)


def test_large_vectors_are_kept_in_float32():
    small, large = Basis(1_048_576), Basis(1_048_577)
    for basis in (small, large):
        vector = torch.zeros(basis.size, dtype=torch.float64)
        vector[0] = math.pi
        basis.append(vector)
    assert small[0][0] == math.pi
    assert abs(large[0][0].item() - math.pi) == pytest.approx(8.7e-8, rel=0.01)


@pytest.mark.parametrize("block_size", [0, 6])
def test_impossible_blocks_are_refused(block_size, with_spectrum):
    with pytest.raises(ValueError, match="expected 1 to 5"):
        Krylov(with_spectrum(torch.ones(5)), seeded(0), block_size=block_size)


@pytest.mark.parametrize("wrong", [{"k": 0}, {"max_steps": 0}, {"tolerance": math.nan}])
def test_impossible_requests_are_refused(wrong, with_spectrum):
    with pytest.raises(ValueError, match="expected"):
        eigenpairs(Krylov(with_spectrum(torch.ones(5)), seeded(0)), **wrong)
