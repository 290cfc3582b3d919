"""Deliberately wrong networks are caught by the kit, each by the check meant for it."""

import numpy as np
import pytest
import torch
from torch import nn

from llt_core.interfaces import Architecture, RequestError, parameter
from llt_core.testing import ArchitectureConformance


class Flat(nn.Sequential):
    def __init__(self, features, width, outputs):
        super().__init__(nn.Flatten(), nn.Linear(features, width), nn.Linear(width, outputs))


class SoundArchitecture(Architecture):
    summary = "an architecture that keeps every rule"
    accepts = frozenset({"image"})
    load_field = "width"

    width: int = parameter(2, ge=1, description="Units of the hidden layer")

    def build(self, task):
        channels, height, width = task.input_shape
        return Flat(channels * height * width, self.width, task.outputs)


class IgnoresOutputs(SoundArchitecture):
    def build(self, task):
        channels, height, width = task.input_shape
        return Flat(channels * height * width, self.width, 10)


class SeedsItself(SoundArchitecture):
    def build(self, task):
        torch.manual_seed(0)
        return super().build(task)


class DrawsOutsideTorch(SoundArchitecture):
    def build(self, task):
        model = super().build(task)
        model[2].bias.data.fill_(np.random.default_rng().random())
        return model


class AcceptsAnything(SoundArchitecture):
    def refuses(self, task):
        return None

    def build(self, task):
        return Flat(int(np.prod(task.input_shape)), self.width, task.outputs)


class RefusesEverything(SoundArchitecture):
    def refuses(self, task):
        return "it reads nothing at all"


class RefusesWithoutReason(SoundArchitecture):
    def refuses(self, task):
        return super().refuses(task) and "no"


class FailsLate(SoundArchitecture):
    def refuses(self, task):
        refusal = super().refuses(task)
        return refusal or ("it reads colour only" if task.input_shape[0] == 1 else None)

    def build(self, task):
        if task.input_shape[0] == 1:
            raise IndexError("channels")
        return super().build(task)


class FailsAsItShould(FailsLate):
    def build(self, task):
        refusal = self.refuses(task)
        if refusal:
            raise RequestError(refusal)
        return super().build(task)


class LoadsNothing(SoundArchitecture):
    load_field = "wdth"


class LoadIsNotUsed(SoundArchitecture):
    def build(self, task):
        channels, height, width = task.input_shape
        return Flat(channels * height * width, 2, task.outputs)


class ProbesNothing(SoundArchitecture):
    def probes(self, model):
        return ["layer7"]


class ProbesOutOfOrder(SoundArchitecture):
    def probes(self, model):
        return ["2", "1"]


class Explodes(SoundArchitecture):
    def build(self, task):
        model = super().build(task)
        model[2].bias.data.fill_(float("inf"))
        return model


class Noisy(nn.Module):
    def forward(self, x):
        return x + torch.rand_like(x)


class AlwaysNoisy(SoundArchitecture):
    def build(self, task):
        return super().build(task).append(Noisy())


class Mixing(nn.Module):
    def forward(self, x):
        return x - x.mean(0)


class MixesTheBatch(SoundArchitecture):
    def build(self, task):
        return super().build(task).append(Mixing())


class EmbedsImages(SoundArchitecture):
    def embeddings(self, model):
        return ["1"]


class Sly(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network
        self.function = lambda x: network(x)

    def forward(self, x):
        return self.function(x)


class SharedBetweenCopies(SoundArchitecture):
    def build(self, task):
        return Sly(super().build(task))


@pytest.mark.parametrize("architecture", [SoundArchitecture, FailsAsItShould])
def test_a_sound_architecture_passes(failures, architecture):
    assert failures(ArchitectureConformance, architecture()) == {}


@pytest.mark.parametrize(
    ("architecture", "check", "words"),
    [
        (IgnoresOutputs, "test_output_shape", "not from constants"),
        (SeedsItself, "test_same_seed_same_network", "do not seed"),
        (DrawsOutsideTorch, "test_same_seed_same_network", "torch's global generator"),
        (AcceptsAnything, "test_refuses_other_modalities", "does not refuse text"),
        (RefusesEverything, "test_output_shape", "set `descriptions`"),
        (RefusesWithoutReason, "test_refusals_are_sentences", "whole sentence"),
        (FailsLate, "test_what_is_refused_is_not_built", "RequestError"),
        (LoadsNothing, "test_load_field_adds_parameters", "'wdth'"),
        (LoadIsNotUsed, "test_load_field_adds_parameters", "does not add parameters"),
        (ProbesNothing, "test_probes_are_called_in_order", "'layer7'"),
        (ProbesOutOfOrder, "test_probes_are_called_in_order", "a forward pass calls"),
        (Explodes, "test_finite_in_train_and_eval_mode", "non-finite"),
        (AlwaysNoisy, "test_eval_mode_draws_nothing", "random state of torch"),
        (MixesTheBatch, "test_finite_in_train_and_eval_mode", "mixes the examples"),
        (EmbedsImages, "test_embeddings_turn_tokens_into_vectors", "for images"),
        (SharedBetweenCopies, "test_a_copy_is_independent_and_equal", "of the original"),
    ],
)
def test_a_wrong_architecture_is_caught(failures, architecture, check, words):
    assert words in failures(ArchitectureConformance, architecture(), check)[check]
