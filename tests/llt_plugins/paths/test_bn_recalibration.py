"""Batch-norm statistics of a point of a path, against statistics computed by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from llt_plugins.paths.batchnorm import normalisations, recalibrate


def by_hand(batches):
    """Mean and unbiased variance of each minibatch (B, C, H, W), averaged by minibatch sizes."""
    total = sum(len(x) for x in batches)
    mean = sum(len(x) * x.mean((0, 2, 3)) for x in batches) / total
    flat = [x.transpose(0, 1).flatten(1) for x in batches]
    var = sum(len(x) * f.var(1, correction=1) for x, f in zip(batches, flat, strict=True)) / total
    return mean, var


@torch.no_grad()
def test_statistics_are_those_computed_by_hand(make, data):
    model = make("residual").double()
    data.inputs = data.inputs.double()
    data.batch = 40  # the last of three minibatches is smaller
    sizes = [len(y) for _, y in data.chunks()]
    assert sizes == [40, 40, 16]
    before = {k: v.clone() for k, v in model.state_dict().items() if "running" not in k}
    assert recalibrate(model, data.passes()) == 96
    first = [model.stem(x) for x, _ in data.chunks()]
    mean, var = by_hand(first)
    torch.testing.assert_close(model.bn1.running_mean, mean)
    torch.testing.assert_close(model.bn1.running_var, var)
    # What reaches the second normalisation was normalised by each minibatch, not by the average.
    second = []
    for x in first:
        m, v = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), correction=0, keepdim=True)
        scale, shift = model.bn1.weight.view(1, -1, 1, 1), model.bn1.bias.view(1, -1, 1, 1)
        second.append(model.conv(torch.relu((x - m) / (v + 1e-5).sqrt() * scale + shift)))
    mean, var = by_hand(second)
    torch.testing.assert_close(model.bn2.running_mean, mean)
    torch.testing.assert_close(model.bn2.running_var, var)
    for key, value in before.items():
        if "num_batches" not in key:
            assert torch.equal(model.state_dict()[key], value)


def test_mode_momentum_and_randomness_are_left(make, data):
    model = make("residual")
    model.bn1.momentum = 0.3
    state = torch.get_rng_state()
    recalibrate(model, data.passes())
    assert torch.equal(torch.get_rng_state(), state)  # dropout stayed off
    assert not any(module.training for module in model.modules())
    assert (model.bn1.momentum, model.bn2.momentum) == (0.3, 0.1)
    again = make("residual")
    recalibrate(again, data.passes())
    assert torch.equal(again.bn2.running_var, model.bn2.running_var)

    def broken(_):
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        recalibrate(model, [(4, broken)])
    assert not any(module.training for module in model.modules())
    assert model.bn1.momentum == 0.3


class Twice(nn.Module):
    """One normalisation that sees x, and then 3 x + 10; another that sees every second pass."""

    def __init__(self):
        super().__init__()
        self.bn, self.rare = nn.BatchNorm1d(1), nn.BatchNorm1d(1)
        self.passes = 0

    def forward(self, x):
        self.passes += 1
        self.bn(x)
        if self.passes % 2:
            self.rare(x)
        return self.bn(3 * x + 10)


@pytest.mark.parametrize("count", [1, 4])
def test_a_normalisation_that_is_used_several_times_counts_each_use(count):
    model = Twice().double().eval()
    chunks = torch.randn(4000, 1, generator=torch.Generator().manual_seed(0)).double().chunk(count)
    passes = [(len(chunk), lambda m, chunk=chunk: m(chunk)) for chunk in chunks]
    assert recalibrate(model, passes) == 4000
    mean = sum(chunk.mean() for chunk in chunks) / count
    var = sum(chunk.var() for chunk in chunks) / count
    assert model.bn.running_mean.item() == pytest.approx((mean + 3 * mean + 10) / 2)
    assert model.bn.running_var.item() == pytest.approx((var + 9 * var) / 2)
    seen = chunks[::2]
    expected = sum(chunk.mean() for chunk in seen) / len(seen)
    assert model.rare.running_mean.item() == pytest.approx(expected)
    assert not model.bn._forward_pre_hooks


def test_without_batch_norm_nothing_is_passed(make):
    def passes():
        raise AssertionError("no pass is needed")
        yield

    assert recalibrate(make("mlp"), passes()) == 0
    untracked = nn.Sequential(nn.BatchNorm1d(3, track_running_stats=False))
    assert normalisations(untracked) == []
    assert recalibrate(untracked.eval(), passes()) == 0


def test_no_minibatch_is_refused(make):
    with pytest.raises(ValueError, match="no minibatch to estimate the statistics"):
        recalibrate(make("residual"), [])
