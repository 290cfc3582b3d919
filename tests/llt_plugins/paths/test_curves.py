"""Curves: exact points, exact ends, every kind of parameter and buffer."""

from __future__ import annotations

import copy
import itertools
import math

import pytest
import torch
from torch import nn

from llt_plugins.paths.curves import Path, bezier, polygon
from llt_plugins.paths.vectors import ParameterLayout

TS = [0.0, 0.1, 0.25, 0.5, 0.8, 1.0]
NAMES = ["mlp", "residual", "tied"]


def flat(model):
    return torch.cat([p.detach().reshape(-1) for p in model.parameters() if p.requires_grad])


def de_casteljau(control, t):
    points = list(control)
    while len(points) > 1:
        points = [(1 - t) * a + t * b for a, b in itertools.pairwise(points)]
    return points[0]


def random_path(make, name, bends, kind="bezier"):
    first, second = make(name, 0), make(name, 1)
    size = ParameterLayout(first).size
    inner = torch.randn(bends - 2, size, generator=torch.Generator().manual_seed(3))
    return Path(first, second, inner, kind=kind)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["bezier", "polygon"])
def test_two_bends_are_linear_interpolation(name, kind, make):
    first, second = make(name, 0), make(name, 1)
    path = Path(first, second, kind=kind)
    assert path.bends == 2
    for t in TS:
        expected = (1 - t) * flat(first) + t * flat(second)
        torch.testing.assert_close(path.point(t), expected, rtol=1e-6, atol=1e-7)
        torch.testing.assert_close(flat(path.model(t)), expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("bends", [3, 4, 6])
@pytest.mark.parametrize("t", TS)
def test_bezier_is_de_casteljau(bends, t, make):
    path = random_path(make, "mlp", bends)
    control = path.control.double()
    torch.testing.assert_close(
        path.point(t).double(), de_casteljau(control, t), rtol=1e-5, atol=1e-6
    )
    assert sum(bezier(t, bends)) == pytest.approx(1.0, abs=1e-15)


def test_a_polygon_goes_straight_from_point_to_point(make):
    path = random_path(make, "mlp", 4, "polygon")
    a, b, c, d = path.control
    for t, expected in [
        (0, a), (1 / 3, b), (2 / 3, c), (1, d), (1 / 6, (a + b) / 2), (0.9, 0.3 * c + 0.7 * d),
    ]:  # fmt: skip
        torch.testing.assert_close(path.point(t), expected, rtol=1e-5, atol=1e-6)
    assert polygon(0.5, 2) == (0.5, 0.5)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("bends", [2, 3])
def test_the_ends_are_the_models_to_the_bit(name, bends, make):
    path = random_path(make, name, bends)
    for t, seed in ((0.0, 0), (1.0, 1)):
        expected, found = make(name, seed).state_dict(), path.model(t).state_dict()
        assert expected.keys() == found.keys()
        for key, value in expected.items():
            assert torch.equal(found[key], value), key
            assert found[key].dtype == value.dtype


def test_an_end_is_met_even_if_the_other_one_is_broken(make):
    first, second = make("mlp", 0), make("mlp", 1)
    second[1].weight.data.fill_(math.nan)
    path = Path(first, second)
    assert torch.equal(path.point(0.0), flat(first))
    assert path.point(0.5).isnan().any()


def test_frozen_parameters_and_buffers_are_interpolated_and_tied_weights_stay_tied(make):
    first, second = make("tied", 0), make("tied", 1)
    path = random_path(make, "tied", 3)
    assert path.layout.names == ("encoder.weight",)
    assert path.layout.size == 25
    model = path.model(0.25)
    assert model.decoder.weight is model.encoder.weight
    assert torch.equal(model.encoder.weight.reshape(-1), path.point(0.25))
    for name in ("decoder.bias", "scale"):
        ends = [m.get_parameter(name) if "." in name else m.scale for m in (first, second)]
        found = model.get_parameter(name) if "." in name else model.scale
        torch.testing.assert_close(found, 0.75 * ends[0] + 0.25 * ends[1])
    residual = random_path(make, "residual", 3)
    assert int(residual.model(0.4).bn1.num_batches_tracked) == 1
    assert int(residual.model(0.6).bn1.num_batches_tracked) == 2


@pytest.mark.parametrize(("kind", "bends"), [("bezier", 3), ("bezier", 5), ("polygon", 4)])
def test_the_length_is_that_of_a_fine_polygon(kind, bends, make):
    path = random_path(make, "mlp", bends, kind)
    points = torch.stack([path.point(t / 3000) for t in range(3001)]).double()
    assert path.length() == pytest.approx(float(points.diff(dim=0).norm(dim=1).sum()), rel=1e-4)
    straight = path.through(path.straight(bends))
    assert straight.length() == pytest.approx(straight.distance(), rel=1e-6)
    assert path.distance() == pytest.approx(float((path.control[-1] - path.control[0]).norm()))
    assert path.length() > path.distance()


def test_a_line_of_many_bends_is_run_through_evenly(make):
    line = Path(make("residual", 0), make("residual", 1))
    for bends in (3, 5):
        bent = line.through(line.straight(bends))
        for t in TS:
            torch.testing.assert_close(bent.point(t), line.point(t), rtol=1e-5, atol=1e-6)


def test_the_models_are_left_alone(make):
    first, second = make("residual", 0), make("residual", 1)
    first.train()
    first.head.weight.grad = torch.ones_like(first.head.weight)
    before = [copy.deepcopy(m.state_dict()) for m in (first, second)]
    path = random_path(make, "residual", 3)
    path = Path(first, second, path.inner)
    model = path.model(0.5)
    model.head.weight.data.zero_()
    for old, m in zip(before, (first, second), strict=True):
        assert all(torch.equal(value, old[key]) for key, value in m.state_dict().items())
    assert first.training
    assert first.head.weight.grad.eq(1).all()
    assert all(p.grad is None for p in model.parameters())
    assert not model.training


def test_one_type_and_device_or_a_sentence(make):
    double = make("mlp", 0).double(), make("mlp", 1).double()
    assert Path(*double).point(0.3).dtype == torch.float64
    with pytest.raises(ValueError, match=r"'1\.weight' is .*float32.*first.*float64.*second"):
        Path(make("mlp", 0), double[1])


def test_parameters_of_several_types_keep_them():
    models = [nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2).double()) for _ in range(2)]
    path = Path(*models)
    assert path.point(0.5).dtype == torch.float64
    found = path.model(0.5)
    for name, parameter in found.named_parameters():
        a, b = (m.get_parameter(name) for m in models)
        assert parameter.dtype == a.dtype
        torch.testing.assert_close(parameter, (a + b) / 2)


def test_mismatches_name_the_first_difference(make):
    wide = nn.Sequential(nn.Flatten(), nn.Linear(16, 13), nn.ReLU(), nn.Linear(13, 6))
    with pytest.raises(ValueError, match=r"'1\.weight' is \(12, 16\).*\(13, 16\)"):
        Path(make("mlp"), wide)
    with pytest.raises(ValueError, match=r"parameter '0\.bias' is in the second model only"):
        Path(nn.Sequential(nn.Linear(2, 2, bias=False)), nn.Sequential(nn.Linear(2, 2)))
    bn = [nn.BatchNorm1d(2), nn.BatchNorm1d(2, track_running_stats=False)]
    with pytest.raises(ValueError, match="buffer 'running_mean' is in the first model only"):
        Path(*bn)
    frozen = make("mlp")
    frozen[1].weight.requires_grad_(False)
    with pytest.raises(ValueError, match=r"trainable.*fixed"):
        Path(make("mlp"), frozen)
    with pytest.raises(ValueError, match="no trainable parameter"):
        Path(nn.ReLU(), nn.ReLU())
    with pytest.raises(ValueError, match=r"shape \(1, 3\), expected \(bends − 2, 303\)"):
        Path(make("mlp", 0), make("mlp", 1), torch.zeros(1, 3))
    with pytest.raises(ValueError, match=r"t is 1\.5"):
        Path(make("mlp", 0), make("mlp", 1)).point(1.5)
