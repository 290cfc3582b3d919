"""Weight noise, quantisation and pruning against their definitions, on a ResNet and tied layers."""

import copy
import itertools

import pytest
import torch
from torch import nn

from llt_core.interfaces import TaskDescription
from llt_plugins.architectures.resnet import ResNet18
from llt_plugins.perturbations.magnitude_prune import MagnitudePrune
from llt_plugins.perturbations.quantise import Quantise
from llt_plugins.perturbations.weight_noise import WeightNoise

TEXT = TaskDescription(modality="text", input_shape=(8,), outputs=9, padding=0)


class Tied(nn.Module):
    """An embedding whose weights are those of the last layer, and a layer of zeros."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(11, 6)
        self.zero = nn.Linear(6, 6)
        self.last = nn.Linear(6, 11)
        nn.init.zeros_(self.zero.weight)
        self.last.weight = self.embedding.weight


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    task = TaskDescription(modality="image", input_shape=(3, 32, 32), outputs=10)
    model = ResNet18(width=3).build(task)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter += torch.rand_like(parameter)
            if parameter.ndim == 4:  # as the trainer leaves them
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return model.eval()


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def weights(model):
    return [p.detach() for p in model.parameters() if p.ndim >= 2]


def rest(model):
    return [t for t in (*model.parameters(), *model.buffers()) if t.ndim < 2]


ALL = (WeightNoise(scale=0.3), Quantise(bits=3), MagnitudePrune(sparsity=0.6))


@pytest.mark.parametrize("perturbation", ALL)
def test_biases_norm_layers_and_the_model_itself_stay(network, perturbation):
    before = copy.deepcopy(network.state_dict())
    found = perturbation.apply(network, seeded())
    assert all(torch.equal(before[k], v) for k, v in network.state_dict().items())
    assert all(torch.equal(a, b) for a, b in zip(rest(network), rest(found), strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(weights(network), weights(found), strict=True))
    assert list(found.state_dict()) == list(before)
    assert perturbation.refuses(TEXT) is None


@pytest.mark.parametrize("perturbation", ALL)
def test_tied_weights_stay_tied_and_are_changed_once(perturbation):
    torch.manual_seed(1)
    model = Tied()
    found = perturbation.apply(model, seeded())
    assert found.embedding.weight is found.last.weight
    assert not torch.equal(found.embedding.weight, model.embedding.weight)
    assert bool(torch.isfinite(found.embedding.weight).all())
    assert bool((found.zero.weight == 0).all()), "there is nothing to be relative to"


# ------------------------------------------------------------------------- noise


@pytest.mark.parametrize("scale", [0.01, 0.5])
def test_the_noise_of_each_filter_has_its_share_of_the_norm(network, scale):
    found = WeightNoise(scale=scale).apply(network, seeded())
    for before, after in zip(weights(network), weights(found), strict=True):
        norm, moved = (t.flatten(1).norm(dim=1) for t in (before, after - before))
        torch.testing.assert_close(moved, scale * norm, rtol=1e-3, atol=1e-6)


def test_or_that_of_each_tensor(network):
    found = WeightNoise(scale=0.2, relative_to="tensor").apply(network, seeded())
    uneven = False
    for before, after in zip(weights(network), weights(found), strict=True):
        assert float((after - before).norm()) == pytest.approx(0.2 * float(before.norm()), rel=1e-3)
        shares = (after - before).flatten(1).norm(dim=1) / before.flatten(1).norm(dim=1)
        uneven |= bool((shares - 0.2).abs().max() > 0.01)
    assert uneven


def test_the_direction_does_not_depend_on_the_scale_and_is_gaussian(network):
    weak, strong = (WeightNoise(scale=s).apply(network, seeded()) for s in (0.1, 0.4))
    for start, a, b in zip(weights(network), weights(weak), weights(strong), strict=True):
        torch.testing.assert_close(4 * (a - start), b - start, rtol=1e-3, atol=1e-5)
    large = nn.Linear(400, 200)
    moved = (WeightNoise(scale=1).apply(large, seeded()).weight - large.weight).detach()
    z = (moved / moved.norm(dim=1, keepdim=True) * 20).double()
    assert float(z.mean()) == pytest.approx(0, abs=0.02)
    assert float((z**4).mean()) == pytest.approx(3 * 400 / 402, abs=0.1)


def test_seeds_differ(network):
    one, two = (WeightNoise(scale=0.1).apply(network, seeded(s)) for s in (0, 1))
    assert not torch.equal(weights(one)[0], weights(two)[0])


# ------------------------------------------------------------------------- quantisation


@pytest.mark.parametrize("bits", [2, 3, 8])
def test_channels_hold_few_values_on_a_grid_through_zero(network, bits):
    found = Quantise(bits=bits).apply(network, seeded())
    levels = 2 ** (bits - 1) - 1
    for before, after in zip(weights(network), weights(found), strict=True):
        for exact, rounded in zip(before.flatten(1), after.flatten(1), strict=True):
            step = exact.abs().max() / levels
            numbers = rounded / step
            torch.testing.assert_close(numbers, numbers.round(), rtol=0, atol=1e-4 * levels)
            assert len(numbers.round().unique()) <= 2**bits - 1
            assert float(numbers.abs().max()) == pytest.approx(levels)
            assert float((rounded - exact).abs().max()) <= 0.5 * float(step) * (1 + 1e-5)
        largest = before.flatten(1).abs().argmax(1, keepdim=True)
        torch.testing.assert_close(
            after.flatten(1).gather(1, largest), before.flatten(1).gather(1, largest)
        )


def test_more_bits_are_closer_and_32_are_all(network):
    errors = [
        float(
            sum((a - b).square().sum() for a, b in zip(weights(network), weights(q), strict=True))
        )
        for q in (Quantise(bits=bits).apply(network, seeded()) for bits in (2, 4, 8, 16, 32))
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] == 0 < errors[-2]
    assert errors[1] / errors[2] == pytest.approx((127 / 7) ** 2, rel=0.1)
    assert [Quantise(bits=b).strength for b in (2, 32)] == [30, 0]


def test_quantising_twice_is_quantising_once(network):
    once = Quantise(bits=4).apply(network, seeded())
    twice = Quantise(bits=4).apply(once, seeded())
    for a, b in zip(weights(once), weights(twice), strict=True):
        torch.testing.assert_close(a, b)


# ------------------------------------------------------------------------- pruning


@pytest.mark.parametrize("sparsity", [0.0, 0.29, 0.5, 0.9, 1.0])
def test_exactly_the_smallest_weights_of_all_layers_are_zero(network, sparsity):
    found = MagnitudePrune(sparsity=sparsity).apply(network, seeded())
    before = torch.cat([w.flatten() for w in weights(network)])
    after = torch.cat([w.flatten() for w in weights(found)])
    zero = after == 0
    assert int(zero.sum()) == int(len(before) * sparsity + 1e-9)
    assert torch.equal(after[~zero], before[~zero])
    if 0 < sparsity < 1:
        assert float(before[zero].abs().max()) <= float(before[~zero].abs().min())
        shares = [float((w == 0).double().mean()) for w in weights(found)]
        assert max(shares) - min(shares) > 0.1, "layers are not pruned alike"


def test_zeros_are_nested(network):
    masks = [
        torch.cat([(w == 0).flatten() for w in weights(pruned)])
        for pruned in (MagnitudePrune(sparsity=s).apply(network, seeded()) for s in (0.2, 0.5, 0.8))
    ]
    for less, more in itertools.pairwise(masks):
        assert bool((more | ~less).all())


def test_ties_are_broken_by_position():
    model = nn.Linear(10, 10)
    nn.init.ones_(model.weight)
    found = MagnitudePrune(sparsity=0.29).apply(model, seeded()).weight
    assert torch.equal((found == 0).flatten(), torch.arange(100) < 29)
