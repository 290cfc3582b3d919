"""Deliberately wrong plugins are caught by the kit, each by the check meant for it."""

import copy
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from llt_core.interfaces import (
    Architecture,
    Batch,
    DataPerturbation,
    Measurement,
    Metric,
    MixedBatch,
    Perturbation,
    Quantity,
    RequestError,
    TensorExamples,
    TrainingPerturbation,
    WeightPerturbation,
    parameter,
)
from llt_core.testing import (
    ArchitectureConformance,
    MetricConformance,
    PerturbationConformance,
    TaskConformance,
    TinyImages,
)


def failures(kit, instance, **attributes):
    """Run every check of ``kit`` on ``instance``; return the messages of those that fail."""
    checks = type("Checks", (kit,), {"component": instance, **attributes})()
    found = {}
    for name in dir(checks):
        if name.startswith("test_"):
            try:
                getattr(checks, name)()
            except Exception as error:
                found[name] = str(error)
    return found


# ------------------------------------------------------------------------------- metrics


class Sound(Metric):
    """Mean loss of the training split, plus a little noise drawn as it should be."""

    summary = "a metric that keeps every rule"
    returns = (Quantity(name="probe", unit="nats", description="mean loss"),)

    def number(self, context):
        generator = context.generator()
        batch = context.batches("train", samples=16)[0]
        with torch.no_grad():
            loss = context.loss(context.model, batch).item()
        return loss + torch.rand((), generator=generator).item()

    def measure(self, context):
        return [Measurement(name="probe", unit="nats", value=self.number(context), n=16)]


class SoundPair(Sound):
    scope = "pair"

    def measure(self, context):
        first, second = context.models
        pairs = zip(first.parameters(), second.parameters(), strict=True)
        gap = sum((p - q).square().sum().item() for p, q in pairs)
        return [Measurement(name="probe", unit="nats", value=gap)]


class SoundSet(Sound):
    scope = "set"

    def measure(self, context):
        assert len(context.models) == 3
        return super().measure(context)


class FlipsModes(Sound):
    def number(self, context):
        value = super().number(context)
        context.model.train()
        context.model.eval()
        return value


class UpdatesBuffers(Sound):
    def number(self, context):
        modes = {module: module.training for module in context.model.modules()}
        context.model.train()
        value = super().number(context)
        for module, mode in modes.items():
            module.training = mode
        return value


class LeavesGradients(Sound):
    def number(self, context):
        loss = context.loss(context.model, context.batches("train")[0])
        loss.backward()
        return loss.item()


class ClearsGradients(Sound):
    def number(self, context):
        context.model.zero_grad()
        return super().number(context)


class Unfreezes(Sound):
    def number(self, context):
        context.model.requires_grad_(True)
        return super().number(context)


class MovesWeights(Sound):
    def number(self, context):
        weight = next(context.model.parameters())
        value = super().number(context)
        with torch.no_grad():
            weight.add_(1e-3).sub_(1e-3)
        return value


class LeavesHooks(Sound):
    def number(self, context):
        context.model.register_forward_hook(lambda *_: None)
        return super().number(context)


class DrawsGlobally(Sound):
    def number(self, context):
        return torch.randn(()).item()


class DrawsFromNumpy(Sound):
    def number(self, context):
        return float(np.random.rand())


class DrawsFromPython(Sound):
    def number(self, context):
        return random.random()


class Reseeds(Sound):
    def number(self, context):
        torch.manual_seed(0)
        return super().number(context)


class ForksButDrawsGlobally(Sound):
    def number(self, context):
        with torch.random.fork_rng(devices=[]):
            return torch.randn(()).item()


class SpoilsData(Sound):
    def number(self, context):
        context.splits["train"].inputs.zero_()
        return super().number(context)


class SwitchesGradientsOff(Sound):
    def number(self, context):
        torch.set_grad_enabled(False)
        return super().number(context)


class WritesFiles(Sound):
    def number(self, context):
        Path("curve.npy").write_text("numbers")
        return super().number(context)


class RaisesOnNan(Sound):
    def number(self, context):
        value = super().number(context)
        if value != value:
            raise ValueError("nan")
        return value


class Overshoots(Sound):
    def number(self, context):
        context.report(3, 2)
        return super().number(context)


class Renames(Sound):
    def measure(self, context):
        return [Measurement(name="other", unit="nats", value=0.0)]


class ForgetsUnit(Sound):
    def measure(self, context):
        return [Measurement(name="probe", value=0.0)]


class NegativeError(Sound):
    def measure(self, context):
        return [Measurement(name="probe", unit="nats", value=0.0, standard_error=-1.0)]


class Silent(Sound):
    summary = "oops"


class Undescribed(Sound):
    samples: int = 3


@pytest.mark.parametrize("metric", [Sound, SoundPair, SoundSet])
def test_a_sound_metric_passes(metric):
    assert failures(MetricConformance, metric()) == {}


@pytest.mark.parametrize(
    ("metric", "check", "words"),
    [
        (FlipsModes, "test_leaves_models_as_found", "train/eval mode of module '6'"),
        (UpdatesBuffers, "test_leaves_models_as_found", "buffer '1."),
        (LeavesGradients, "test_leaves_models_as_found", ".grad"),
        (ClearsGradients, "test_leaves_models_as_found", ".grad"),
        (Unfreezes, "test_leaves_models_as_found", "requires_grad"),
        (MovesWeights, "test_leaves_models_as_found", "values of parameter"),
        (LeavesHooks, "test_leaves_models_as_found", "hooks"),
        (DrawsGlobally, "test_leaves_the_process_as_found", "random state of torch"),
        (DrawsFromNumpy, "test_leaves_the_process_as_found", "random state of numpy"),
        (DrawsFromPython, "test_leaves_the_process_as_found", "random state of random"),
        (Reseeds, "test_leaves_the_process_as_found", "random state of torch"),
        (ForksButDrawsGlobally, "test_one_seed_one_result", "context.generator()"),
        (SpoilsData, "test_leaves_the_process_as_found", "split 'train'"),
        (SwitchesGradientsOff, "test_leaves_the_process_as_found", "records gradients"),
        (WritesFiles, "test_writes_no_files", "Measurement.arrays"),
        (RaisesOnNan, "test_broken_weights_are_a_status", "not_finite"),
        (Overshoots, "test_progress_is_sane", "(3, 2)"),
        (Renames, "test_returns_what_it_declares", "`returns`"),
        (ForgetsUnit, "test_returns_what_it_declares", "'nats'"),
        (NegativeError, "test_returns_what_it_declares", "standard error"),
        (Silent, "test_summary_and_version", "whole sentence"),
        (Undescribed, "test_every_parameter_is_described", "description"),
    ],
)
def test_a_wrong_metric_is_caught(metric, check, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    try:
        assert words in failures(MetricConformance, metric())[check]
    finally:
        torch.set_grad_enabled(True)


# ------------------------------------------------------------------------- architectures


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


@pytest.mark.parametrize("architecture", [SoundArchitecture, FailsAsItShould])
def test_a_sound_architecture_passes(architecture):
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
    ],
)
def test_a_wrong_architecture_is_caught(architecture, check, words):
    assert words in failures(ArchitectureConformance, architecture())[check]


class Reader(nn.Module):
    """Add what the target was so far to the mean of the source."""

    def __init__(self, task, width=4):
        super().__init__()
        self.padding = task.padding
        self.words = nn.Embedding(task.outputs, width)
        self.output = nn.Linear(width, task.outputs)

    def forward(self, source, target):
        real = (source != self.padding).unsqueeze(-1)
        known = self.words(target)
        lengths = torch.arange(1, target.shape[1] + 1).view(-1, 1)
        return self.output(self.said(source, real) + self.heard(known, lengths))

    def said(self, source, real):
        return (self.words(source) * real).sum(1, keepdim=True) / real.sum(1, keepdim=True)

    def heard(self, known, lengths):
        return known.cumsum(1) / lengths


class SoundTranslator(Architecture):
    summary = "a translator that keeps every rule"
    accepts = frozenset({"text"})

    def build(self, task):
        return Reader(task)


class AheadReader(Reader):
    def heard(self, known, lengths):
        return known.flip(1).cumsum(1).flip(1) / lengths


class LooksAhead(SoundTranslator):
    def build(self, task):
        return AheadReader(task)


class LengthReader(Reader):
    def heard(self, known, lengths):
        return known.cumsum(1) / len(lengths)


class NormalisesByLength(SoundTranslator):
    def build(self, task):
        return LengthReader(task)


class PaddingReader(Reader):
    def said(self, source, real):
        return self.words(source).mean(1, keepdim=True)


class ReadsPadding(SoundTranslator):
    def build(self, task):
        return PaddingReader(task)


class FragileReader(Reader):
    def said(self, source, real):
        return super().said(source, real) / (real.sum(1, keepdim=True) > 1)


class BreaksOnPadding(SoundTranslator):
    def build(self, task):
        return FragileReader(task)


class LastReader(Reader):
    def forward(self, source, target):
        return super().forward(source, target)[:, -1]


class OneAnswerForAll(SoundTranslator):
    def build(self, task):
        return LastReader(task)


class MixingReader(Reader):
    def heard(self, known, lengths):
        return super().heard(known - known.mean(0), lengths)


class MixesTheTexts(SoundTranslator):
    def build(self, task):
        return MixingReader(task)


class EmbedsNothing(SoundTranslator):
    def embeddings(self, model):
        return []


class EmbedsWithTheOutput(SoundTranslator):
    def embeddings(self, model):
        return ["output"]


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


def test_a_sound_translator_passes():
    assert failures(ArchitectureConformance, SoundTranslator()) == {}


@pytest.mark.parametrize(
    ("architecture", "check", "words"),
    [
        (LooksAhead, "test_logits_of_a_token_depend_on_what_precedes_it", "causal attention"),
        (NormalisesByLength, "test_logits_of_a_token_depend_on_what_precedes_it", "how long"),
        (ReadsPadding, "test_padding_is_ignored", "task.padding"),
        (BreaksOnPadding, "test_padding_is_ignored", "one token and padding"),
        (OneAnswerForAll, "test_output_shape", "(4, 10, 31)"),
        (MixesTheTexts, "test_finite_in_train_and_eval_mode", "mixes the examples"),
        (EmbedsNothing, "test_embeddings_turn_tokens_into_vectors", "take tokens"),
        (EmbedsWithTheOutput, "test_embeddings_turn_tokens_into_vectors", "for each token"),
        (EmbedsImages, "test_embeddings_turn_tokens_into_vectors", "for images"),
        (SharedBetweenCopies, "test_a_copy_is_independent_and_equal", "of the original"),
    ],
)
def test_a_wrong_translator_is_caught(architecture, check, words):
    assert words in failures(ArchitectureConformance, architecture())[check]


# ------------------------------------------------------------------------- perturbations


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


def perturbation_failures(cls):
    return failures(PerturbationConformance, cls(), identity=cls(fraction=0))


@pytest.mark.parametrize("perturbation", [SoundPerturbation, SoundOnBatches, SoundOnWeights])
def test_a_sound_perturbation_passes(perturbation):
    assert perturbation_failures(perturbation) == {}


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
            "expected ['train', 'test']",
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
def test_a_wrong_perturbation_is_caught(perturbation, check, words):
    assert words in perturbation_failures(perturbation)[check]


def test_the_identity_must_be_given():
    found = failures(PerturbationConformance, SoundPerturbation())
    assert list(found) == ["test_strength_zero_changes_nothing"]
    assert "set `identity`" in found["test_strength_zero_changes_nothing"]


# --------------------------------------------------------------------------------- tasks


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


def test_a_sound_task_passes():
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
def test_a_wrong_task_is_caught(task, check, words):
    assert words in failures(TaskConformance, task())[check]
