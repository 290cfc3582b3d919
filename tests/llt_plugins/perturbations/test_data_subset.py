from dataclasses import dataclass

import pydantic
import pytest
import torch

from llt_core.interfaces import Batch, Examples, RequestError, TaskDescription
from llt_plugins.perturbations.data_subset import DataSubset


@dataclass(frozen=True)
class Numbers(Examples):
    """The least that a split can be: no tensors of inputs, no classes."""

    values: torch.Tensor

    def __len__(self):
        return len(self.values)

    def subset(self, indices):
        return Numbers(self.values[indices])

    def batch(self, indices):
        return Batch(self.values[indices], self.values[indices], weight=len(indices))

    def to(self, device):
        return Numbers(self.values.to(device))


def subject(n):
    return {"train": Numbers(torch.arange(n)), "test": Numbers(torch.arange(7))}


def kept(n, fraction, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return DataSubset(fraction=fraction).apply(subject(n), generator)["train"].values.tolist()


@pytest.mark.parametrize(
    ("n", "fraction", "expected"),
    [(10, 0.7, 7), (100, 0.29, 29), (1000, 0.57, 570), (1437, 0.5, 718), (3, 0.34, 1), (9, 1, 9)],
)
def test_the_floor_is_that_of_the_decimal_fraction(n, fraction, expected):
    assert len(kept(n, fraction)) == expected


def test_every_tenth_of_many_sizes_is_exact():
    for n in (10, 50, 110, 1000, 50_000):
        for tenths in range(1, 11):
            assert DataSubset(fraction=tenths / 10)._kept(n) == n * tenths // 10


def test_smaller_subsets_are_the_beginning_of_larger_ones():
    larger = kept(100, 0.9)
    for fraction in (0.05, 0.1, 0.3, 0.5):
        assert larger[: round(100 * fraction)] == kept(100, fraction)
    assert len(set(larger)) == 90
    assert larger != sorted(larger)


def test_the_order_is_seeded():
    assert kept(100, 0.5) == kept(100, 0.5)
    assert kept(100, 0.5) != kept(100, 0.5, seed=1)
    assert kept(10, 0.5) == [4, 1, 7, 5, 3]  # pinned: the same subset next year


def test_strength_zero_changes_nothing():
    assert kept(20, 1.0) == list(range(20))
    assert DataSubset(fraction=1).strength == 0
    assert DataSubset(fraction=0.25).strength == 0.75
    assert DataSubset.minimal().strength > 0


def test_only_training_data_is_left_out_and_never_in_place():
    before = subject(10)
    result = DataSubset(fraction=0.5).apply(before, torch.Generator())
    assert result["test"] is before["test"]
    assert before["train"].values.tolist() == list(range(10))


def test_an_empty_subset_is_refused():
    with pytest.raises(RequestError, match="keeps none of 10"):
        kept(10, 0.05)
    with pytest.raises(RequestError, match="'train'"):
        DataSubset(fraction=0.5).apply({"test": Numbers(torch.arange(3))}, torch.Generator())


@pytest.mark.parametrize("fraction", [0, -0.5, 1.01, float("nan")])
def test_fractions_outside_zero_to_one_are_refused(fraction):
    with pytest.raises(pydantic.ValidationError):
        DataSubset(fraction=fraction)


def test_images_and_text_are_accepted():
    for modality in ("image", "text"):
        task = TaskDescription(modality=modality, input_shape=(4,), outputs=3, padding=0)
        assert DataSubset(fraction=0.5).refuses(task) is None
