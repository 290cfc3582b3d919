"""Deliberately wrong tasks are caught by the kit, each by the check meant for it."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from llt_core.interfaces import Batch, TensorExamples
from llt_core.testing import TaskConformance, TinyImages


class SumsTheLoss(TinyImages):
    def loss(self, outputs, batch):
        return super().loss(outputs, batch) * batch.weight


class DetachesTheLoss(TinyImages):
    def loss(self, outputs, batch):
        return super().loss(outputs, batch).detach()


class LossPerExample(TinyImages):
    def loss(self, outputs, batch):
        return self.evaluate(outputs, batch)["loss"]


class ScoresInPercent(TinyImages):
    def evaluate(self, outputs, batch):
        scores = super().evaluate(outputs, batch)
        return {**scores, "correct": 100 * scores["correct"]}


class ScoresTheMean(TinyImages):
    def evaluate(self, outputs, batch):
        return {name: values.mean() for name, values in super().evaluate(outputs, batch).items()}


class SaysNothingOfSplits(TinyImages):
    split_policy = "seeded"


class OtherSplits(TinyImages):
    def tiny(self):
        return {"training": super().tiny()["train"]}


class OtherShape(TinyImages):
    def describe(self):
        return super().describe().model_copy(update={"input_shape": (1, 8, 8)})


class TooManyLabels(TinyImages):
    def describe(self):
        return super().describe().model_copy(update={"outputs": 3})

    def tiny(self):
        return {name: replace(e, classes=0) for name, e in super().tiny().items()}


class OtherClasses(TinyImages):
    def tiny(self):
        return {name: replace(e, classes=5) for name, e in super().tiny().items()}


class RandomTiny(TinyImages):
    def tiny(self):
        splits = super().tiny()
        return {name: e.with_targets(torch.randint(4, (len(e),))) for name, e in splits.items()}


class Heavy(TensorExamples):
    def batch(self, indices):
        batch = super().batch(indices)
        return Batch(batch.inputs, batch.targets, weight=max(8, len(indices)))


class WrongWeight(TinyImages):
    def tiny(self):
        return {
            name: Heavy(e.inputs, e.targets, e.mean, e.std) for name, e in super().tiny().items()
        }


class Shuffles(TensorExamples):
    def subset(self, indices):
        return super().subset(indices.sort().values)


class SubsetsInItsOwnOrder(TinyImages):
    def tiny(self):
        return {
            name: Shuffles(e.inputs, e.targets, e.mean, e.std) for name, e in super().tiny().items()
        }


class ReadsElsewhere(TinyImages):
    def files(self, data_root):
        return (Path("/elsewhere/data.bin"),)


class HasPadding(TinyImages):
    def describe(self):
        return super().describe().model_copy(update={"padding": 0})


class Careless(TensorExamples):
    def slices(self, batch_size, **_):
        return super().slices(batch_size)


class CountsAnything(TinyImages):
    def tiny(self):
        return {name: Careless(x.inputs, x.targets) for name, x in super().tiny().items()}


class GivesFlatLogits(TinyImages):
    def logits(self, outputs, batch):
        return outputs.flatten()


def test_a_sound_task_passes(failures):
    assert failures(TaskConformance, TinyImages()) == {}


@pytest.mark.parametrize(
    ("task", "check", "words"),
    [
        (SumsTheLoss, "test_micro_batches_add_up", "must average"),
        (SumsTheLoss, "test_scores", "must average"),
        (DetachesTheLoss, "test_loss_is_differentiable", "cut off"),
        (LossPerExample, "test_loss_is_differentiable", "average it"),
        (ScoresInPercent, "test_scores", "0 or 1"),
        (ScoresTheMean, "test_scores", "one value for each term"),
        (SaysNothingOfSplits, "test_description", "whole sentence"),
        (OtherSplits, "test_tiny_matches_description", "training"),
        (OtherShape, "test_tiny_matches_description", "(1, 8, 8)"),
        (OtherClasses, "test_tiny_matches_description", "5 classes"),
        (TooManyLabels, "test_tiny_matches_description", "labels 0 to 3"),
        (RandomTiny, "test_tiny_is_always_the_same", "generator of your own"),
        (WrongWeight, "test_micro_batches_add_up", "weights add up"),
        (SubsetsInItsOwnOrder, "test_subsets_and_slices", "keep the order"),
        (ReadsElsewhere, "test_files", "outside the data root"),
        (HasPadding, "test_padding_changes_nothing", "but gives images"),
        (CountsAnything, "test_batches_of_tokens", "has no tokens"),
        (GivesFlatLogits, "test_logits_of_each_term", "expected (48, 4)"),
    ],
)
def test_a_wrong_task_is_caught(failures, task, check, words):
    assert words in failures(TaskConformance, task(), check)[check]
