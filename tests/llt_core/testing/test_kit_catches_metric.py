"""Deliberately wrong metrics are caught by the kit, each by the check meant for it."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch

from llt_core.interfaces import Measurement, Metric, Quantity
from llt_core.testing import MetricConformance


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
def test_a_sound_metric_passes(failures, metric):
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
def test_a_wrong_metric_is_caught(failures, metric, check, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    try:
        assert words in failures(MetricConformance, metric(), check)[check]
    finally:
        torch.set_grad_enabled(True)
