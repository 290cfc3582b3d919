"""All labels random: the case p = 1 of label noise."""

import torch
from scipy.stats import binom

from llt_plugins.perturbations.label_noise import LabelNoise
from llt_plugins.perturbations.random_labels import RandomLabels


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_it_is_label_noise_with_fraction_one(splits):
    found = RandomLabels().apply(splits, generator())
    expected = LabelNoise(fraction=1).apply(splits, generator())
    assert torch.equal(found["train"].targets, expected["train"].targets)
    assert found["test"] is splits["test"]
    assert RandomLabels().strength == 1


def test_labels_say_nothing_of_the_true_ones(splits):
    labels = splits["train"].targets
    found = RandomLabels().apply(splits, generator())["train"].targets
    low, high = binom.interval(1 - 1e-6, len(labels), 0.1)
    assert low <= int((found == labels).sum()) <= high
    counts = found.bincount(minlength=10)
    assert all(low <= count <= high for count in counts.tolist())
