"""Deliberately wrong perturbations are caught by the kit, each by the check meant for it."""

import copy
import random
from dataclasses import replace

import pytest
import torch

from llt_core.interfaces import (
    DataPerturbation,
    MixedBatch,
    Perturbation,
    TrainingPerturbation,
    WeightPerturbation,
    parameter,
)
from llt_core.testing import PerturbationConformance


class SoundPerturbation(DataPerturbation):
    summary = "a perturbation that keeps every rule"
    accepts = frozenset({"image"})

    fraction: float = parameter(0.5, ge=0, le=1, description="Share of the labels shifted by one")

    @property
    def strength(self):
        return self.fraction

    def apply(self, subject, generator):
        train = subject["train"]
        hit = torch.rand(len(train), generator=generator) < self.fraction
        return {**subject, "train": train.with_targets((train.targets + hit) % 4)}


class InPlace(SoundPerturbation):
    def apply(self, subject, generator):
        train = subject["train"]
        train.targets.add_(torch.rand(len(train), generator=generator) < self.fraction)
        return subject


class ReplacesInPlace(SoundPerturbation):
    def apply(self, subject, generator):
        subject.update(super().apply(subject, generator))
        return subject


class NeverZero(SoundPerturbation):
    def apply(self, subject, generator):
        return type(self)(fraction=max(0.2, self.fraction))._really(subject, generator)

    def _really(self, subject, generator):
        return SoundPerturbation.apply(self, subject, generator)


class IgnoresGenerator(SoundPerturbation):
    def apply(self, subject, generator):
        return super().apply(subject, torch.Generator().manual_seed(random.randrange(1 << 30)))


class ForksAndDraws(SoundPerturbation):
    def apply(self, subject, generator):
        seed = torch.initial_seed()
        return super().apply(subject, torch.Generator().manual_seed(seed))


class DropsASplit(SoundPerturbation):
    def apply(self, subject, generator):
        return {"train": super().apply(subject, generator)["train"]}


class LeavesNobody(SoundPerturbation):
    def apply(self, subject, generator):
        return {**subject, "train": subject["train"].subset(torch.arange(0))}


class DoesNothing(SoundPerturbation):
    def apply(self, subject, generator):
        return subject


class SoundOnBatches(TrainingPerturbation):
    """Mixes each image with another, as mixup does."""

    summary = "a perturbation of batches that keeps every rule"
    accepts = frozenset({"image"})

    fraction: float = parameter(0.25, ge=0, le=0.5, description="Share of the other image")

    @property
    def strength(self):
        return self.fraction

    def apply(self, subject, generator):
        if self.fraction == 0:
            return subject
        other = torch.randperm(subject.weight, generator=generator)
        inputs = torch.lerp(subject.inputs, subject.inputs[other], self.fraction)
        return self.mixed(subject, inputs, subject.targets[other])

    def mixed(self, subject, inputs, others):
        mixture = ((1 - self.fraction, subject.targets), (self.fraction, others))
        return MixedBatch(inputs, subject.targets, subject.weight, mixture=mixture)


class BatchInPlace(SoundOnBatches):
    def apply(self, subject, generator):
        subject.inputs.mul_(1 - self.fraction)
        return subject


class Crops(SoundOnBatches):
    def apply(self, subject, generator):
        return replace(subject, inputs=subject.inputs[..., 1:])


class SharesOfNothing(SoundOnBatches):
    def mixed(self, subject, inputs, others):
        return MixedBatch(
            inputs, subject.targets, subject.weight, mixture=((0.9, subject.targets), (0.3, others))
        )


class WrongMajority(SoundOnBatches):
    def mixed(self, subject, inputs, others):
        return replace(super().mixed(subject, inputs, others), targets=others)


class SoundOnWeights(WeightPerturbation):
    summary = "a perturbation of weights that keeps every rule"

    fraction: float = parameter(0.5, ge=0, description="How much noise is added to weights")

    @property
    def strength(self):
        return self.fraction

    def apply(self, subject, generator):
        return self.noisy(copy.deepcopy(subject), generator)

    def noisy(self, model, generator):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += self.fraction * torch.randn(parameter.shape, generator=generator)
        return model


class WeightsInPlace(SoundOnWeights):
    def apply(self, subject, generator):
        return self.noisy(subject, generator)


class Trains(SoundOnWeights):
    def apply(self, subject, generator):
        return super().apply(subject, generator).train()


class SoundPerturbationOfNoStage(Perturbation):
    summary = "a perturbation that names no stage"
    accepts = frozenset({"image"})
    axis = "load"

    fraction: float = parameter(0.5, ge=0, description="It is not used at all")

    @property
    def strength(self):
        return self.fraction

    def apply(self, subject, generator):
        return subject


@pytest.mark.parametrize("perturbation", [SoundPerturbation, SoundOnBatches, SoundOnWeights])
def test_a_sound_perturbation_passes(failures, perturbation):
    identity = perturbation(fraction=0)
    assert failures(PerturbationConformance, perturbation(), identity=identity) == {}


@pytest.mark.parametrize(
    ("perturbation", "check", "words"),
    [
        (InPlace, "test_never_in_place", "the targets of the split 'train'"),
        (ReplacesInPlace, "test_never_in_place", "split 'train'"),
        (NeverZero, "test_strength_zero_changes_nothing", "at strength zero"),
        (IgnoresGenerator, "test_same_generator_same_result", "generator that apply() is given"),
        (ForksAndDraws, "test_leaves_global_random_state", "depends on the global seed"),
        (
            DropsASplit,
            "test_the_result_can_take_the_place_of_the_subject",
            "expected: the splits train, test, each of Examples",
        ),
        (LeavesNobody, "test_the_result_can_take_the_place_of_the_subject", "no example"),
        (DoesNothing, "test_changes_something", "changes nothing"),
        (BatchInPlace, "test_never_in_place", "the inputs of the batch"),
        (Crops, "test_the_result_can_take_the_place_of_the_subject", "returns inputs"),
        (SharesOfNothing, "test_the_result_can_take_the_place_of_the_subject", "add up to 1"),
        (WrongMajority, "test_the_result_can_take_the_place_of_the_subject", "largest share"),
        (WeightsInPlace, "test_never_in_place", "the values of parameter"),
        (Trains, "test_the_result_can_take_the_place_of_the_subject", "train/eval mode"),
        (SoundPerturbationOfNoStage, "test_stage_and_axis", "subclass DataPerturbation"),
    ],
)
def test_a_wrong_perturbation_is_caught(failures, perturbation, check, words):
    identity = perturbation(fraction=0)
    found = failures(PerturbationConformance, perturbation(), check, identity=identity)
    assert words in found[check]


def test_the_identity_must_be_given(failures):
    found = failures(PerturbationConformance, SoundPerturbation())
    assert list(found) == ["test_strength_zero_changes_nothing"]
    assert "set `identity`" in found["test_strength_zero_changes_nothing"]
