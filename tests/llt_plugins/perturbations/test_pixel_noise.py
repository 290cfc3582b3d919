"""Pixel noise against its definition, on real images and where its moments are known."""

import math

import pytest
import torch
from scipy.stats import binom

from llt_core.interfaces import RequestError, TaskDescription, TensorExamples
from llt_plugins.perturbations import pixel_noise
from llt_plugins.perturbations.pixel_noise import PixelNoise

KINDS = ("bernoulli", "gaussian", "uniform", "positive_uniform")
SIZE = 3 * 32 * 32 * 400


def noisy(subject, magnitude=20, seed=0, **parameters):
    generator = torch.Generator().manual_seed(seed)
    return PixelNoise(magnitude=magnitude, **parameters).apply(subject, generator)


def gray(level=128, count=400):
    """Images of one level, far from both bounds."""
    images = torch.full((count, 3, 32, 32), level, dtype=torch.uint8)
    return {"train": TensorExamples(images, torch.zeros(count, dtype=torch.int64), classes=2)}


def difference(magnitude, **parameters):
    return noisy(gray(), magnitude, **parameters)["train"].inputs.double() - 128


@pytest.mark.parametrize("distribution", KINDS)
@pytest.mark.parametrize("mode", ["add", "replace"])
def test_only_the_training_images_change_and_keep_their_form(splits, distribution, mode):
    before = splits["train"].inputs.clone()
    result = noisy(splits, distribution=distribution, mode=mode)
    images = result["train"].inputs
    assert images.dtype == torch.uint8
    assert images.shape == before.shape
    assert images.stride() == splits["train"].inputs.stride()
    assert not torch.equal(images, before)
    assert torch.equal(splits["train"].inputs, before)
    assert result["train"].targets is splits["train"].targets
    assert result["test"] is splits["test"]
    batch, clean = (s["train"].batch(torch.arange(8)).inputs for s in (result, splits))
    assert batch.shape == clean.shape
    assert batch.is_contiguous(memory_format=torch.channels_last)


def test_bernoulli_moves_each_value_up_or_down_and_stops_at_the_bounds(splits):
    clean = splits["train"].inputs.to(torch.int64)
    found = noisy(splits, 20, distribution="bernoulli")["train"].inputs.to(torch.int64)
    up, down = (clean + 20).clamp(max=255), (clean - 20).clamp(min=0)
    rose = found == up
    assert bool((rose | (found == down)).all())
    low, high = binom.interval(1 - 1e-6, clean.numel(), 0.5)
    assert low <= int(rose.sum()) <= high
    assert int(found.min()) == 0
    assert int(found.max()) == min(255, int(clean.max()) + 20)


MOMENTS = {
    # mean, variance, fourth central moment of z
    "bernoulli": (0.0, 1.0, 1.0),
    "gaussian": (0.0, 1.0, 3.0),
    "uniform": (0.0, 1 / 3, 1 / 5),
    "positive_uniform": (0.5, 1 / 12, 1 / 80),
}


@pytest.mark.parametrize("distribution", KINDS)
def test_moments(distribution):
    z = difference(24, distribution=distribution) / 24
    mean, variance, fourth = MOMENTS[distribution]
    rounding = 1 / (12 * 24**2)  # variance of the rounding to whole levels
    error = math.sqrt(variance / SIZE)
    assert float(z.mean()) == pytest.approx(mean, abs=5 * error)
    spread = math.sqrt(max(fourth - variance**2, 1e-9) / SIZE)
    expected = variance + (rounding if distribution != "bernoulli" else 0)
    assert float(z.var()) == pytest.approx(expected, abs=5 * spread + 1e-3 * variance)


@pytest.mark.parametrize(
    ("distribution", "low", "high"),
    [("uniform", -50, 50), ("positive_uniform", 0, 50), ("bernoulli", -50, 50)],
)
def test_bounds_of_the_noise_are_reached_and_kept(distribution, low, high):
    found = difference(50, distribution=distribution)
    assert (int(found.min()), int(found.max())) == (low, high)


@pytest.mark.parametrize("distribution", KINDS)
def test_noise_of_two_magnitudes_is_one_draw(distribution):
    weak, strong = (difference(m, distribution=distribution) for m in (8, 24))
    inside = strong.abs() < 120  # a Gaussian can reach the bounds
    assert float((3 * weak - strong)[inside].abs().max()) <= 2  # both are rounded: 3/2 + 1/2


@pytest.mark.parametrize("distribution", KINDS)
def test_replaced_images_do_not_depend_on_what_was_there(distribution):
    dark, light = (
        noisy(gray(level), 100, distribution=distribution, mode="replace")["train"].inputs
        for level in (10, 200)
    )
    assert torch.equal(dark, light)
    z = difference(100, distribution=distribution).clamp(min=0)
    inside = z < 127
    assert float((dark - z)[inside].abs().max()) <= 1  # halves are rounded to even numbers
    assert int(dark.min()) == 0
    if distribution == "bernoulli":
        assert set(dark.unique().tolist()) == {0, 100}


def test_the_values_do_not_depend_on_how_many_are_done_at_once(monkeypatch):
    subject = gray(count=50)
    whole = noisy(subject)["train"].inputs
    monkeypatch.setattr(pixel_noise, "CHUNK", 64)
    assert torch.equal(noisy(subject)["train"].inputs, whole)


def test_splits_are_independent(digits):
    one, both = noisy(digits), noisy(digits, splits=("test", "train"))
    assert torch.equal(one["train"].inputs, both["train"].inputs)
    assert not torch.equal(both["test"].inputs, digits["test"].inputs)


def test_seeds_differ(digits):
    one, two = (noisy(digits, seed=seed)["train"].inputs for seed in (0, 1))
    assert not torch.equal(one, two)


def test_what_cannot_be_changed_is_refused():
    images = TaskDescription(modality="image", input_shape=(1, 2, 2), outputs=2)
    text = TaskDescription(modality="text", input_shape=(8,), outputs=9, padding=0)
    assert PixelNoise(magnitude=1).refuses(images) is None
    assert "text" in PixelNoise(magnitude=1).refuses(text)
    assert "'dev'" in PixelNoise(magnitude=1, splits=("dev",)).refuses(images)
    floats = {"train": TensorExamples(torch.rand(4, 1, 2, 2), torch.zeros(4, dtype=torch.int64))}
    with pytest.raises(RequestError, match="train"):
        noisy(floats)
