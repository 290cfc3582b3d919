"""Augmentation, cutout and mixup against their definitions, on real images."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import beta, binom, kstest
from torch.nn.functional import cross_entropy, one_hot

from llt_core.interfaces import Batch, MixedBatch, RequestError, TaskDescription
from llt_core.work.stages import mixed_loss
from llt_plugins.perturbations.augmentation import Augmentation
from llt_plugins.perturbations.cutout import Cutout
from llt_plugins.perturbations.mixup import Mixup
from llt_plugins.tasks.digits import Digits

SMALL = TaskDescription(modality="image", input_shape=(1, 8, 6), outputs=3)
TEXT = TaskDescription(modality="text", input_shape=(8,), outputs=9, padding=0)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def batch(splits, count=64):
    return splits["train"].batch(torch.arange(count))


def numbered(count, height=7, width=9):
    """Images whose every pixel has a number of its own, from 1 on."""
    pixels = torch.arange(1.0, height * width + 1).view(1, 1, height, width)
    return Batch(pixels.repeat(count, 2, 1, 1), torch.zeros(count, dtype=torch.int64), count)


# ------------------------------------------------------------------------- augmentation


def naive_view(image, crop, dy, dx, flip):
    padded = np.pad(image, ((0, 0), (crop, crop), (crop, crop)))
    height, width = image.shape[1:]
    window = padded[:, dy : dy + height, dx : dx + width]
    return window[:, :, ::-1] if flip else window


def test_every_image_is_one_of_the_views_of_the_definition(splits):
    subject = batch(splits, 24)
    found = Augmentation(crop=2).apply(subject, seeded()).inputs.numpy()
    hits = []
    for image, seen in zip(subject.inputs.numpy(), found, strict=True):
        views = itertools.product(range(5), range(5), (False, True))
        hits.append([v for v in views if np.array_equal(naive_view(image, 2, *v), seen)])
    assert all(hits)
    assert len({hit[0] for hit in hits}) > 10


def test_shifts_and_mirrors_are_uniform():
    count = 20_000
    seen = Augmentation(crop=1).apply(numbered(count), seeded()).inputs[:, 0]
    centre = seen[:, 3, 4].long() - 1  # its number says which pixel of the image came here
    row, column = centre // 9, centre % 9
    mirrored = (seen[:, 3, 5] < seen[:, 3, 4]) | (seen[:, 3, 3] > seen[:, 3, 4])
    low, high = binom.interval(1 - 1e-6, count, 1 / 2)
    assert low <= int(mirrored.sum()) <= high
    low, high = binom.interval(1 - 1e-6, count, 1 / 18)
    kinds = ((row - 2) * 3 + (column - 3)) * 2 + mirrored
    counts = kinds.bincount(minlength=18).tolist()
    assert len(counts) == 18
    assert all(low <= n <= high for n in counts)


def test_without_flip_or_crop_the_other_remains():
    subject = numbered(200)
    flipped = Augmentation(crop=0).apply(subject, seeded()).inputs
    same = (flipped == subject.inputs).flatten(1).all(1)
    assert 0 < int(same.sum()) < 200
    assert torch.equal(flipped[~same], subject.inputs[~same].flip(3))
    shifted = Augmentation(crop=3, flip=False).apply(subject, seeded()).inputs[:, 0]
    steps = shifted[:, :, 1:] - shifted[:, :, :-1]
    inside = (shifted[:, :, 1:] > 0) & (shifted[:, :, :-1] > 0)
    assert bool((steps[inside] == 1).all())


def test_the_strength_of_augmentation_counts_views():
    assert Augmentation(crop=0, flip=False).strength == 0
    assert Augmentation(crop=0).strength == 1
    assert Augmentation(crop=4).strength == pytest.approx(np.log2(81 * 2))


# ------------------------------------------------------------------------- cutout


@pytest.mark.parametrize("size", [1, 4, 5])
def test_the_hole_is_a_square_clipped_at_the_border(splits, size):
    subject = replace(batch(splits), inputs=batch(splits).inputs + 100)  # nothing is zero
    found = Cutout(size=size).apply(subject, seeded()).inputs
    hole = found == 0
    assert torch.equal(found[~hole], subject.inputs[~hole])
    assert torch.equal(hole, hole[:, :1].expand_as(hole))
    for one in hole[:, 0]:
        rows, columns = one.any(1).nonzero().flatten(), one.any(0).nonzero().flatten()
        box = one[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert bool(box.all())
        for line, length in ((rows, one.shape[0]), (columns, one.shape[1])):
            touches = line[0] == 0 or line[-1] == length - 1
            assert len(line) == size or (touches and size // 2 <= len(line) < size)


def test_centres_are_uniform_over_all_pixels():
    count = 20_000
    hole = Cutout(size=1).apply(numbered(count, 4, 5), seeded()).inputs[:, 0] == 0
    assert torch.equal(hole.flatten(1).sum(1), torch.ones(count, dtype=torch.int64))
    low, high = binom.interval(1 - 1e-6, count, 1 / 20)
    assert all(low <= n <= high for n in hole.sum(0).flatten().tolist())


def test_a_smaller_hole_lies_in_a_larger_one():
    small, large = (Cutout(size=s).apply(numbered(50), seeded()).inputs == 0 for s in (2, 5))
    assert bool((large | ~small).all())
    assert int(large.sum()) > int(small.sum())


# ------------------------------------------------------------------------- mixup


def test_images_and_targets_are_mixed_alike(splits):
    subject = batch(splits)
    found = Mixup(alpha=1).apply(subject, seeded())
    (share, targets), (rest, others) = found.mixture
    assert share + rest == pytest.approx(1)
    assert share >= 0.5
    assert found.targets is subject.targets is targets
    partners = [
        next(
            j
            for j, other in enumerate(subject.inputs)
            if torch.allclose(share * image + rest * other, mixed, atol=1e-4)
        )
        for image, mixed in zip(subject.inputs, found.inputs, strict=True)
    ]
    assert sorted(partners) == list(range(64))
    assert torch.equal(subject.targets[partners], others)


def test_shares_follow_the_beta_distribution():
    for alpha in (0.2, 1.0, 16.0):
        generator, subject = seeded(1), numbered(4)
        shares = []
        for _ in range(800):
            shares.append(Mixup(alpha=alpha).apply(subject, generator).mixture[0][0])
        law = beta(alpha, alpha)
        # Of λ and 1 − λ the larger one is kept: the law folded at one half.
        assert kstest(shares, lambda x, law=law: law.cdf(x) - law.cdf(1 - x)).pvalue > 1e-4


def soft_targets(mixture, classes=10):
    return sum(share * one_hot(targets, classes).double() for share, targets in mixture)


@pytest.mark.parametrize("times", [1, 2])
def test_the_mixed_loss_is_the_cross_entropy_of_soft_targets(digits, times):
    found, generator = batch(digits), seeded(2)
    for _ in range(times):
        found = Mixup(alpha=2).apply(found, generator)
    assert sum(share for share, _ in found.mixture) == pytest.approx(1)
    assert len(found.mixture) == 2**times
    assert torch.equal(found.mixture[0][1], found.targets)
    outputs = torch.randn(64, 10, generator=seeded(3), dtype=torch.float64)
    expected = cross_entropy(outputs, soft_targets(found.mixture))
    assert float(mixed_loss(Digits(), outputs, found)) == pytest.approx(float(expected))
    plain = batch(digits)
    assert torch.equal(mixed_loss(Digits(), outputs, plain), cross_entropy(outputs, plain.targets))


def test_what_comes_after_mixup_keeps_the_mixture(digits):
    mixed = Mixup(alpha=1).apply(batch(digits), seeded())
    for later in (Cutout(size=8), Augmentation()):
        found = later.apply(mixed, seeded())
        assert isinstance(found, MixedBatch)
        assert found.mixture is mixed.mixture
        assert not torch.equal(found.inputs, mixed.inputs)


# ------------------------------------------------------------------------- refusals


@pytest.mark.parametrize("perturbation", [Augmentation(crop=2), Cutout(size=4), Mixup()])
def test_text_and_what_holds_no_images_is_refused(perturbation):
    assert perturbation.refuses(SMALL) is None
    assert "text" in perturbation.refuses(TEXT)
    tokens = torch.ones(2, 3, dtype=torch.int64)
    with pytest.raises(RequestError, match="no images"):
        perturbation.apply(Batch({"source": tokens, "target": tokens}, tokens, 6), seeded())


def test_what_is_larger_than_the_image_is_refused():
    assert Cutout(size=6).refuses(SMALL) is None
    assert "larger than images of 8x6" in Cutout(size=7).refuses(SMALL)
    assert Augmentation(crop=5).refuses(SMALL) is None
    assert "images of 8x6" in Augmentation(crop=6).refuses(SMALL)
