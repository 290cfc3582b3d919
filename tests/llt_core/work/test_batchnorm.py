"""The faster batch normalisation gives torch's numbers, and steps aside where it should."""

import copy

import pytest
import torch
from torch import nn

from llt_core.work.batchnorm import fast_batch_norm


def network(channels):
    torch.manual_seed(0)
    model = nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU(), nn.BatchNorm2d(channels))
    for module in (model[0], model[2]):
        nn.init.uniform_(module.weight, 0.5, 2)
        nn.init.uniform_(module.bias, -1, 1)
    return model


def images(channels, size, batch=6, offset=3.0):
    torch.manual_seed(1)
    x = torch.randn(batch, channels, size, size) * 2 + offset
    return x.contiguous(memory_format=torch.channels_last)


def step(model, x):
    x = x.clone(memory_format=torch.preserve_format).requires_grad_()
    y = model(x)
    gradients = torch.autograd.grad(
        (y * torch.linspace(-1, 2, y.numel()).view_as(y)).sum(), [x, *model.parameters()]
    )
    return [y, *gradients, *model.buffers()]


@pytest.mark.parametrize(("channels", "size"), [(1, 8), (3, 7), (8, 32), (11, 8), (16, 4), (64, 4)])
def test_as_close_to_the_exact_numbers_as_torch(channels, size):
    ours, theirs, x = network(channels), network(channels), images(channels, size)
    exact = copy.deepcopy(theirs).double()
    for _ in range(2):
        with fast_batch_norm(ours):
            found = step(ours, x)
        for a, b, truth in zip(found, step(theirs, x), step(exact, x.double()), strict=True):
            scale = truth.abs().max() + 1e-3
            allowed = 4 * (b.double() - truth).abs().max() + 1e-5 * scale
            assert (a.double() - truth).abs().max() <= allowed


def test_the_narrow_case_really_takes_the_fast_path():
    model, x = network(8), images(8, 8)
    with fast_batch_norm(model):
        assert "_BatchNorm" in type(model[0](x).grad_fn).__name__
    assert "forward" not in vars(model[0])


def test_a_large_mean_does_not_spoil_the_variance():
    model, x = network(8), images(8, 16, offset=1000.0)
    with fast_batch_norm(model):
        y = model[0](x)
    exact = copy.deepcopy(network(8)[0]).double()(x.double()).float()
    torch.testing.assert_close(y, exact, rtol=1e-2, atol=2e-3)


def test_other_inputs_are_left_to_torch():
    plain = images(8, 8).contiguous()
    double = network(8).double()
    for model, x in ((network(8), plain), (double, images(8, 8).double())):
        expected = copy.deepcopy(model)(x)
        with fast_batch_norm(model):
            assert torch.equal(model(x), expected)


def test_eval_mode_is_torchs_own():
    model, x = network(8).eval(), images(8, 8)
    expected = model(x)
    with fast_batch_norm(model):
        assert torch.equal(model(x), expected)
