import itertools
import subprocess
import sys

import pydantic
import pytest
import torch
from scipy.stats import binom

from llt_core.interfaces import RequestError, TaskDescription, TensorExamples
from llt_plugins.perturbations.label_noise import LabelNoise

N, CLASSES = 20_000, 10
IMAGES = TaskDescription(modality="image", input_shape=(1, 2, 2), outputs=CLASSES)
TEXT = TaskDescription(modality="text", input_shape=(8,), outputs=CLASSES, padding=0)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def split(n=N, classes=CLASSES):
    targets = torch.arange(n) % CLASSES
    return TensorExamples(torch.zeros(n, 1, 2, 2, dtype=torch.uint8), targets, classes=classes)


@pytest.fixture(scope="module")
def subject():
    return {"train": split(), "test": split(1000)}


def noisy(subject, fraction, seed=0, **parameters):
    return LabelNoise(fraction=fraction, **parameters).apply(subject, seeded(seed))


@pytest.mark.parametrize("fraction", [0.025, 0.1, 0.5, 0.8, 1.0])
def test_the_changed_fraction_is_p_times_nine_tenths(subject, fraction):
    changed = noisy(subject, fraction)["train"].targets != subject["train"].targets
    low, high = binom.interval(1 - 1e-6, N, fraction * (1 - 1 / CLASSES))
    assert low <= int(changed.sum()) <= high


def test_new_labels_are_uniform_over_all_classes(subject):
    counts = noisy(subject, 1.0)["train"].targets.bincount(minlength=CLASSES)
    low, high = binom.interval(1 - 1e-6, N, 1 / CLASSES)
    assert len(counts) == CLASSES
    assert all(low <= count <= high for count in counts.tolist())


def test_more_noise_contains_less_noise_with_the_same_new_labels(subject):
    clean = subject["train"].targets
    labels = [noisy(subject, p)["train"].targets for p in (0.05, 0.1, 0.4, 0.8, 1.0)]
    for less, more in itertools.pairwise(labels):
        hit = less != clean
        assert torch.equal(more[hit], less[hit])
        assert int((more != clean).sum()) > int(hit.sum())


def test_strength_zero_changes_nothing(subject):
    result = noisy(subject, 0.0)
    assert LabelNoise(fraction=0).strength == 0
    assert torch.equal(result["train"].targets, subject["train"].targets)
    assert LabelNoise.minimal().strength > 0


def test_the_subject_stays_as_it_was(subject):
    before = subject["train"].targets.clone()
    result = noisy(subject, 1.0, splits=("train", "test"))
    assert torch.equal(subject["train"].targets, before)
    assert result["train"].inputs is subject["train"].inputs
    assert result is not subject


def test_only_the_named_splits_change_and_none_depends_on_the_others(subject):
    one = noisy(subject, 0.5)
    both = noisy(subject, 0.5, splits=("test", "train"))
    assert one["test"] is subject["test"]
    assert torch.equal(one["train"].targets, both["train"].targets)
    assert not torch.equal(both["test"].targets, subject["test"].targets)
    assert not torch.equal(both["test"].targets, both["train"].targets[:1000])


def test_it_depends_on_the_generator_alone(subject):
    assert torch.equal(noisy(subject, 0.3)["train"].targets, noisy(subject, 0.3)["train"].targets)
    assert not torch.equal(
        noisy(subject, 0.3)["train"].targets, noisy(subject, 0.3, seed=1)["train"].targets
    )
    state = torch.get_rng_state()
    noisy(subject, 0.3)
    assert torch.equal(torch.get_rng_state(), state)


def test_another_process_draws_the_same_labels(subject):
    code = f"""
import torch
from llt_core.interfaces import TensorExamples
from llt_plugins.perturbations.label_noise import LabelNoise
train = TensorExamples(torch.zeros({N}, 1), torch.arange({N}) % {CLASSES}, classes={CLASSES})
noise = LabelNoise(fraction=0.3).apply({{"train": train}}, torch.Generator().manual_seed(0))
print(noise["train"].targets[:500].tolist())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(noisy(subject, 0.3)["train"].targets[:500].tolist())


def test_what_cannot_be_changed_is_refused(subject):
    assert LabelNoise(fraction=0.1).refuses(IMAGES) is None
    assert "text" in LabelNoise(fraction=0.1).refuses(TEXT)
    assert "'dev'" in LabelNoise(fraction=0.1, splits=("dev",)).refuses(IMAGES)
    with pytest.raises(RequestError, match="dev"):
        noisy(subject, 0.1, splits=("dev",))
    with pytest.raises(RequestError, match="train"):
        noisy({"train": split(classes=0)}, 0.1)


@pytest.mark.parametrize("fraction", [-0.1, 1.1, float("nan")])
def test_fractions_outside_zero_to_one_are_refused(fraction):
    with pytest.raises(pydantic.ValidationError):
        LabelNoise(fraction=fraction)
