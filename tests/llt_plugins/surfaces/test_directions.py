"""Filter normalisation by its definition, and the plane through three points."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import nn
from torch.func import functional_call

from llt_plugins.curvature.krylov import Krylov
from llt_plugins.paths.vectors import trainable
from llt_plugins.surfaces.directions import leading_eigenvectors, random_direction, with_fixed_sign
from llt_plugins.surfaces.parameters import flatten, unflatten, weight_matrices
from llt_plugins.surfaces.plane import plane_through


def pieces(model, vector):
    return unflatten(vector, trainable(model))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_every_filter_has_the_norm_of_the_same_filter_of_the_model(network):
    model = network()
    direction = random_direction(model, generator())
    for name, part in pieces(model, direction).items():
        theta = model.get_parameter(name)
        if theta.ndim == 1:
            assert not part.any(), name
            continue
        for filter_, own in zip(part, theta, strict=True):
            torch.testing.assert_close(filter_.norm(), own.norm(), rtol=1e-12, atol=0)
            assert abs(torch.dot(filter_.flatten(), own.flatten()) / own.norm() ** 2) < 0.999


def outputs_of(layer, channel, weight):
    """What ``layer`` gives for the inputs 1, 2, … on one output channel, with another weight."""
    inputs = torch.arange(1.0, layer.in_channels + 1).double().view(1, -1, 1, 1)
    with torch.no_grad():
        out = functional_call(layer.double(), {"weight": weight.double()}, (inputs,))
    return out[0, channel]


@pytest.mark.parametrize("groups", [1, 3])
def test_a_filter_of_a_transposed_convolution_makes_one_output_channel(groups):
    layer = nn.ConvTranspose2d(6, 9, 2, groups=groups, bias=False)
    direction = random_direction(layer, generator()).view(layer.weight.shape)
    theta = layer.weight.detach().double()
    for channel in range(9):
        # The entries that change this output are its filter, whatever the layout.
        group, own = divmod(channel, 9 // groups)
        inside = slice(group * 6 // groups, (group + 1) * 6 // groups)
        other = torch.zeros_like(theta)
        other[inside, own] = theta[inside, own]
        assert torch.equal(outputs_of(layer, channel, other), outputs_of(layer, channel, theta))
        lengths = [tensor[inside, own].norm() for tensor in (direction, theta)]
        torch.testing.assert_close(*lengths, rtol=1e-12, atol=0)


def test_every_layer_has_the_norm_of_the_same_layer_of_the_model(network):
    model = network()
    direction = random_direction(model, generator(), normalisation="layer", biases=True)
    for name, part in pieces(model, direction).items():
        theta = model.get_parameter(name)
        torch.testing.assert_close(part.norm(), theta.norm(), rtol=1e-12, atol=1e-12)
    parts = pieces(model, direction)
    assert not torch.allclose(parts["0.weight"][0].norm(), model[0].weight[0].norm(), rtol=1e-3)


def test_rescaling_a_layer_rescales_the_direction(network):
    """Why filters are normalised: the surface is the same for equivalent networks."""
    model, scaled = network(), network()
    with torch.no_grad():
        scaled[0].weight.mul_(7.0)
    ours = pieces(model, random_direction(model, generator()))["0.weight"]
    theirs = pieces(scaled, random_direction(scaled, generator()))["0.weight"]
    torch.testing.assert_close(theirs, 7.0 * ours)


def test_plain_directions_are_standard_normal(network):
    model = network()
    direction = random_direction(model, generator(), normalisation="none", biases=True)
    assert direction.shape == flatten(model).shape
    assert direction.dtype == torch.float64
    assert abs(direction.mean()) < 4 / len(direction) ** 0.5
    assert abs(direction.square().mean() - 1) < 4 * (2 / len(direction)) ** 0.5


def test_the_draw_of_a_layer_does_not_depend_on_the_options(network):
    model = network()
    with_biases = random_direction(model, generator(), biases=True)
    without = random_direction(model, generator())
    moved = without != 0
    assert torch.equal(with_biases[moved], without[moved])
    assert not torch.equal(random_direction(model, generator(1)), without)


def test_zero_filters_stay_zero_and_norms_are_no_matrices():
    model = nn.Sequential(nn.Linear(4, 3), nn.LayerNorm((3,)), nn.LayerNorm((1, 3)))
    with torch.no_grad():
        model[0].weight[1].zero_()
    direction = pieces(model, random_direction(model, generator()))
    assert weight_matrices(model) == {"0.weight": 0}
    assert not direction["0.weight"][1].any()
    assert direction["0.weight"][0].any()
    assert not direction["2.weight"].any()


def test_flattening_follows_the_trainable_parameters(network):
    model = network()
    model[6].weight.requires_grad_(False)
    tied = nn.Linear(3, 3)
    both = nn.Sequential(model, tied, tied)
    flat = flatten(both)
    expected = [p.reshape(-1) for p in both.parameters() if p.requires_grad]
    assert torch.equal(flat, torch.cat([p.double() for p in expected]))
    for name, part in unflatten(flat, trainable(both)).items():
        assert torch.equal(part, both.get_parameter(name))
    with pytest.raises(ValueError, match="no trainable parameter"):
        flatten(tied.requires_grad_(False))


def test_the_memory_layout_is_kept(network):
    model = network().to(memory_format=torch.channels_last)
    parts = unflatten(flatten(model), trainable(model))
    assert parts["0.weight"].stride() == model[0].weight.stride()
    assert torch.equal(parts["0.weight"], model[0].weight)


def test_the_plane_contains_its_corners():
    first, second, third = torch.randn(3, 50, generator=generator(), dtype=torch.float64)
    plane = plane_through(first, second, third)
    torch.testing.assert_close(plane.directions @ plane.directions.T, torch.eye(2).double())
    for corner, vector in zip(plane.corners, (first, second, third), strict=True):
        torch.testing.assert_close(plane.origin + corner @ plane.directions, vector)
    assert torch.equal(plane.corners[0], torch.zeros(2).double())
    assert plane.corners[1, 1] == 0
    distance = torch.dist(second, third)
    torch.testing.assert_close(torch.dist(plane.corners[1], plane.corners[2]), distance)


def test_three_points_that_span_no_plane_are_refused():
    first, second = torch.randn(2, 9, generator=generator(), dtype=torch.float64)
    for third in (first, second, 0.3 * first + 0.7 * second, 5 * first - 4 * second):
        with pytest.raises(ValueError, match="on one line"):
            plane_through(first, second, third)
    with pytest.raises(ValueError, match="on one line"):
        plane_through(first, first, second)
    with pytest.raises(ValueError, match=r"\[9, 9, 8\]"):
        plane_through(first, second, second[:8])


@dataclass
class Matrix:
    values: torch.Tensor

    @property
    def size(self):
        return len(self.values)

    def matvec(self, vector):
        return self.values @ vector


def test_leading_eigenvectors_are_those_of_the_matrix():
    spectrum = torch.tensor([-4.0, 3.0, 3.0, 1.0, *torch.linspace(-0.5, 0.5, 26)]).double()
    square = torch.randn(30, 30, generator=generator(), dtype=torch.float64)
    basis, _ = torch.linalg.qr(square)
    matrix = (basis * spectrum) @ basis.T
    krylov = Krylov(Matrix(matrix), generator(1), block_size=3)
    found = leading_eigenvectors(krylov, 3, tolerance=1e-8)
    values, vectors = found.values, found.vectors
    torch.testing.assert_close(values, spectrum[:3], rtol=1e-6, atol=0)
    torch.testing.assert_close(vectors @ vectors.T, torch.eye(3).double(), rtol=0, atol=1e-6)
    torch.testing.assert_close(matrix @ vectors.T, vectors.T * values, rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match="2 parameters do not span 5"):
        leading_eigenvectors(Krylov(Matrix(matrix[:2, :2]), generator()), 5)
    broken = leading_eigenvectors(Krylov(Matrix(matrix * float("nan")), generator()), 2)
    assert broken.stopped == "not_finite"
    assert broken.vectors.isnan().all()
    assert broken.vectors.shape == (2, 30)


def test_the_sign_of_an_eigenvector_is_settled():
    vector = torch.tensor([0.1, -0.9, 0.3])
    assert torch.equal(with_fixed_sign(vector), -vector)
    assert torch.equal(with_fixed_sign(-vector), -vector)
