"""CKA against definitions written out, its invariances, and the coverage of its error bars."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from llt_plugins.similarity.cka import (
    bootstrap_standard_error,
    cka,
    cka_matrix,
    mean_cka,
)
from llt_plugins.similarity.hsic import hsic, mean_hsic
from llt_plugins.similarity.representation import Block, Missing, in_feature_space, represent

BOTH = pytest.mark.parametrize("debiased", [False, True])


def draw(seed, *shape):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def related(n, p, q, seed=0):
    """Two feature matrices that share three directions, and are not centred."""
    common = draw(seed, n, 3)
    x = draw(seed + 1, n, p) + common @ draw(seed + 2, 3, p) + 3.0
    y = draw(seed + 3, n, q) + common @ draw(seed + 4, 3, q) - 2.0
    return x, y


def gram(x, kernel, bandwidth=1.0):
    if kernel == "linear":
        return x @ x.T
    distances = torch.tensor([[float((a - b).norm()) for b in x] for a in x], dtype=torch.float64)
    upper = distances[torch.triu(torch.ones_like(distances), 1).bool()]
    return torch.exp(-(distances**2) / (2 * (bandwidth * upper.median()) ** 2))


def textbook(k, l, debiased):
    """HSIC as printed: tr(KHLH)/n² (Gretton 2005), or equation 4 of Song et al. (2012)."""
    n, one = len(k), torch.ones(len(k), dtype=torch.float64)
    if not debiased:
        centring = torch.eye(n, dtype=torch.float64) - 1 / n
        return (k @ centring @ l @ centring).trace() / n**2
    k, l = k - k.diagonal().diag(), l - l.diagonal().diag()
    apart = (one @ k @ one) * (one @ l @ one) / ((n - 1) * (n - 2))
    chain = 2 * (one @ k @ l @ one) / (n - 2)
    return ((k @ l).trace() + apart - chain) / (n * (n - 3))


def textbook_cka(x, y, debiased, kernel="linear"):
    k, l = gram(x, kernel), gram(y, kernel)
    same = textbook(k, k, debiased) * textbook(l, l, debiased)
    return float(textbook(k, l, debiased) / same.sqrt())


@BOTH
@pytest.mark.parametrize("kernel", ["linear", "rbf"])
@pytest.mark.parametrize("pairs", [1, 50])
@pytest.mark.parametrize(("n", "p", "q"), [(4, 2, 3), (40, 3, 5), (40, 60, 90), (40, 2, 90)])
def test_it_is_the_textbook_formula(n, p, q, pairs, kernel, debiased):
    x, y = related(n, p, q, seed=1)
    first, second = (represent(z, kernel=kernel, pairs=pairs) for z in (x, y))
    expected = textbook_cka(x, y, debiased, kernel)
    if math.isnan(expected):
        assert cka(first, second, debiased=debiased).reason
    else:
        assert cka(first, second, debiased=debiased).value == pytest.approx(expected, abs=1e-10)


def test_three_points_by_hand():
    # Centred x is (−1, 0, 1) and y is (−1, 2, −1): xᵀy = 0, so CKA is 0. With y² in a second
    # feature of x: ‖Xᵀy‖² = 4², ‖XᵀX‖²_F = 2² + (2/3)², ‖yᵀy‖ = 6.
    x = torch.tensor([[0.0], [1.0], [2.0]])
    y = torch.tensor([[1.0], [4.0], [1.0]])
    assert cka(represent(x), represent(y), debiased=False).value == pytest.approx(0, abs=1e-12)
    wide = torch.tensor([[0.0, 0.0], [1.0, 1.0], [2.0, 0.0]])
    value = cka(represent(wide), represent(y), debiased=False).value
    # Second feature centred: (−1/3, 2/3, −1/3); its product with y is 1/3 + 4/3 + 1/3 = 2.
    assert value == pytest.approx(2**2 / (math.sqrt(2**2 + (2 / 3) ** 2) * 6))


@BOTH
def test_single_precision_is_exact_enough(debiased):
    x, y = related(640, 10, 10)
    value = cka(represent(x.float()), represent(y.float()), debiased=debiased).value
    assert value == pytest.approx(textbook_cka(x, y, debiased), abs=1e-6)


@BOTH
@pytest.mark.parametrize("wide", [False, True])
def test_hsic_counts_tuples_of_different_samples(debiased, wide):
    """Weighted HSIC, tuple by tuple: repeated samples, never a sample with its own copy."""
    n, p = 6, (30 if wide else 2)
    x, y = (z - z.mean(0) for z in related(n, p, p + 1))
    k, l = x @ x.T, y @ y.T
    weights = torch.tensor([1.0, 2.0, 0.0, 1.0, 3.0, 1.0], dtype=torch.float64)

    def average(order, term):
        total = norm = 0.0
        for index in itertools.product(range(n), repeat=order):
            if debiased and len(set(index)) < order:
                continue
            weight = math.prod(float(weights[i]) for i in index)
            total, norm = total + weight * float(term(*index)), norm + weight
        return total / norm

    expected = (
        average(2, lambda i, j: k[i, j] * l[i, j])
        + average(4, lambda i, j, q, r: k[i, j] * l[q, r])
        - 2 * average(3, lambda i, j, q: k[i, j] * l[i, q])
    )
    for first, second in ((Block(features=x), Block(features=y)), (Block(gram=k), Block(gram=l))):
        found = hsic(first, second, weights, debiased=debiased)
        assert float(found) == pytest.approx(expected, rel=1e-10)
        stacked = hsic(first, second, torch.stack([weights, 2 * weights]), debiased=debiased)
        assert stacked.shape == (2,)
        assert float(stacked[0]) == pytest.approx(expected, rel=1e-10)


@BOTH
def test_the_influence_is_the_derivative_by_the_weights(debiased):
    (k,), (l,) = (represent(z).blocks for z in related(12, 2, 3))
    found = cka(*(represent(z) for z in related(12, 2, 3)), debiased=debiased)

    def value(weights):
        xy, xx, yy = (hsic(a, b, weights, debiased=debiased) for a, b in ((k, l), (k, k), (l, l)))
        return float(xy / (xx * yy).sqrt())

    step, ones = 1e-5, torch.ones(12, dtype=torch.float64)
    for i in range(12):
        change = step * torch.eye(12, dtype=torch.float64)[i]
        slope = (value(ones + change) - value(ones - change)) / (2 * step)
        assert float(found.influence[i]) == pytest.approx(slope, abs=1e-7)
    spread = math.sqrt(float(found.influence.square().sum()) * 12 / 11)
    assert found.standard_error == pytest.approx(spread, rel=1e-12)


seeds = st.integers(0, 2**31)
sizes = st.integers(1, 12)


@settings(max_examples=40, deadline=None)
@given(seed=seeds, p=sizes, q=sizes, n=st.integers(5, 30), debiased=st.booleans())
def test_turning_scaling_and_shifting_change_nothing(seed, p, q, n, debiased):
    x, y = related(n, p, q, seed)
    turn = torch.linalg.qr(draw(seed + 9, p, p)).Q
    scale = float(10 ** draw(seed + 10, 1).clamp(-3, 3))
    for kernel in ("linear", "rbf"):
        first, moved, second = (represent(z, kernel=kernel) for z in (x, scale * x @ turn + 7.0, y))
        plain = cka(first, second, debiased=debiased)
        changed = cka(moved, second, debiased=debiased)
        swapped = cka(second, first, debiased=debiased)
        assert (plain.reason is None) == (changed.reason is None) == (swapped.reason is None)
        if plain.reason is None:
            assert changed.value == pytest.approx(plain.value, abs=1e-6)
            assert changed.standard_error == pytest.approx(plain.standard_error, abs=1e-5)
            assert swapped.value == pytest.approx(plain.value, abs=1e-9)
        if not debiased:
            assert -1e-9 <= plain.value <= 1 + 1e-9


@BOTH
@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_itself_is_one_exactly(kernel, debiased):
    x = represent(draw(0, 30, 5), kernel=kernel)
    found = cka(x, x, debiased=debiased)
    assert found.value == pytest.approx(1.0, abs=1e-12)
    assert found.standard_error == pytest.approx(0.0, abs=1e-9)


def test_order_of_samples_matters():
    """Rows are paired: shuffling one side destroys the similarity (labels must not swap)."""
    x = draw(0, 200, 3)
    order = torch.randperm(200, generator=torch.Generator().manual_seed(0))
    assert cka(represent(x), represent(x[order]), debiased=True).value < 0.2


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_extreme_scales_neither_underflow_nor_overflow(scale):
    x, y = related(30, 4, 5)
    found = cka(represent(scale * x), represent(y), debiased=True).value
    assert found == pytest.approx(textbook_cka(x, y, True), abs=1e-9)


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
@pytest.mark.parametrize("value", [0.0, 0.1, 12345.6])
def test_collapsed_features_are_named_and_poison_nobody(kernel, value):
    x, y = (represent(z, kernel=kernel) for z in related(20, 3, 4))
    noise = 1 + 1e-8 * draw(5, 20, 3)  # what rounding leaves of a constant in float32
    dead = represent((value * noise).float(), kernel=kernel)
    assert isinstance(dead, Missing)
    assert "same for all samples" in dead.reason
    alone = cka_matrix([x], [y], debiased=True)[0][0]
    matrix = cka_matrix([x, dead], [dead, y], debiased=True)
    assert matrix[0][1].value == alone.value
    for entry in (matrix[0][0], matrix[1][0], matrix[1][1]):
        assert math.isnan(entry.value)
        assert entry.finite
        assert "collapsed" in entry.reason


def test_small_spread_on_a_large_mean_is_no_collapse():
    x, y = related(30, 4, 5)
    found = cka(represent(1e3 + x), represent(y), debiased=False).value
    assert found == pytest.approx(textbook_cka(x, y, False), abs=1e-6)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_features_that_are_not_finite_are_another_thing(bad):
    x, y = related(10, 3, 4)
    x[4, 1] = bad
    found = cka(represent(x), represent(y), debiased=False)
    assert not found.finite
    assert "NaN or infinite" in found.reason


def test_half_equal_points_have_no_rbf_width():
    x = torch.zeros(20, 3)
    x[0] = 1.0
    assert "same features" in represent(x, kernel="rbf").reason


def test_unrelated_features_and_bias():
    """Fewer samples than features: the biased form is near one, the debiased one near zero."""
    x, y = represent(draw(0, 50, 500)), represent(draw(1, 50, 500))
    assert cka(x, y, debiased=False).value > 0.85
    assert abs(cka(x, y, debiased=True).value) < 0.1


def test_too_few_samples_have_no_similarity():
    three = represent(draw(0, 3, 2))
    assert cka(three, three, debiased=False).value == pytest.approx(1)
    found = cka(three, three, debiased=True)
    assert math.isnan(found.value)
    assert found.reason == "debiased HSIC needs at least 4 samples, and there are 3"
    # Centred, two samples are ±x and ±y: their CKA would be 1 whatever they are.
    for few in (1, 2):
        assert f"of {few} samples" in represent(draw(0, few, 2)).reason


def test_wrong_requests_are_named():
    x, y = (represent(z) for z in related(20, 3, 4))
    with pytest.raises(ValueError, match="20\\] and of \\[19"):
        cka(x, represent(draw(0, 19, 3)), debiased=False)
    with pytest.raises(ValueError, match="kernel is 'cubic'"):
        represent(draw(0, 9, 2), kernel="cubic")
    with pytest.raises(ValueError, match="bandwidth is 0"):
        represent(draw(0, 9, 2), kernel="rbf", bandwidth=0.0)
    with pytest.raises(ValueError, match="blocks of 3 samples"):
        represent(draw(0, 9, 2), block=3)
    parts = represent(draw(0, 20, 3), block=5)
    with pytest.raises(ValueError, match="debias it"):
        cka(parts, parts, debiased=False)
    with pytest.raises(ValueError, match="jackknife for minibatches"):
        bootstrap_standard_error(parts, parts, torch.Generator(), debiased=True)
    with pytest.raises(ValueError, match="no spread"):
        bootstrap_standard_error(x, y, torch.Generator(), debiased=True, replicates=1)
    with pytest.raises(ValueError, match="of 20 and of 19 samples"):
        hsic(x.blocks[0], represent(draw(0, 19, 3)).blocks[0], torch.ones(20), debiased=False)
    with pytest.raises(ValueError, match="features \\(n, p\\) or"):
        Block()


def test_minibatches_average_unbiased_hsic():
    x, y = related(43, 3, 5)
    first, second = (represent(z, block=10) for z in (x, y))
    sums = dict.fromkeys(("xy", "xx", "yy"), 0.0)
    for part in range(4):
        rows = slice(10 * part, 10 * part + 10)
        k, l = gram(x[rows], "linear"), gram(y[rows], "linear")
        for key, value in (("xy", (k, l)), ("xx", (k, k)), ("yy", (l, l))):
            sums[key] += float(textbook(*value, debiased=True))
    found = cka(first, second, debiased=True)
    assert (found.n, len(found.influence)) == (40, 40)
    assert found.value == pytest.approx(sums["xy"] / math.sqrt(sums["xx"] * sums["yy"]), rel=1e-9)


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_minibatches_agree_with_all_at_once(kernel):
    x, y = related(1200, 4, 4)
    whole, parts = (
        cka(
            *(represent(z, kernel=kernel, block=block) for z in (x, y)),
            debiased=True,
        )
        for block in (600, 60)
    )
    assert abs(whole.value - parts.value) < 3 * parts.standard_error
    assert parts.standard_error < 1.5 * whole.standard_error


def test_the_cheaper_form_is_chosen_and_changes_nothing():
    assert in_feature_space(640, 10, 4)
    assert not in_feature_space(640, 512, 20)
    x, y = related(30, 8, 50)
    for pairs in (1, 100):
        mixed = represent(x, pairs=1), represent(y, pairs=pairs)
        assert cka(*mixed, debiased=True).value == pytest.approx(textbook_cka(x, y, True))


@BOTH
def test_hsic_with_itself_is_computed_once(debiased):
    x = represent(draw(0, 20, 3))
    assert mean_hsic(x, x, debiased=debiased) is mean_hsic(x, x, debiased=debiased)


def test_the_mean_over_layers_knows_that_they_vary_together():
    xs = [represent(z) for z in related(60, 3, 4)]
    one = cka(*xs, debiased=True)
    assert mean_cka([one, one]).standard_error == pytest.approx(one.standard_error)
    other = cka(represent(draw(8, 60, 3)), xs[1], debiased=True)
    mean = mean_cka([one, other, cka(xs[0], Missing("dead"), debiased=True)])
    assert mean.value == pytest.approx((one.value + other.value) / 2)
    assert mean.standard_error < one.standard_error + other.standard_error
    assert mean_cka([cka(Missing("dead"), xs[0], debiased=True)]).reason == "first model: dead"
    assert cka(xs[0], Missing("dead"), debiased=True).reason == "second model: dead"
    broken = cka(Missing("broken", finite=False), xs[0], debiased=True)
    assert not mean_cka([one, broken]).finite
    assert mean_cka([]).reason


def test_nothing_is_random_and_gradients_may_be_off():
    state = torch.get_rng_state()
    with torch.no_grad():
        found = cka(*(represent(z) for z in related(20, 3, 4)), debiased=True)
        assert not torch.is_grad_enabled()
    assert found.standard_error > 0
    assert not found.influence.requires_grad
    assert torch.equal(torch.get_rng_state(), state)
