"""Perturbations of every stage in whole runs on the real digits."""

from pathlib import Path

import pytest
import torch
from torch.nn.functional import cross_entropy

import llt_core
from llt_core.errors import LltError, RequestError
from llt_core.store import Store
from llt_core.work.checkpoint import load_checkpoint
from llt_core.work.stages import at_stage, batch_changes, perturbed
from llt_plugins.architectures.mlp import Mlp
from llt_plugins.perturbations.augmentation import Augmentation
from llt_plugins.perturbations.cutout import Cutout
from llt_plugins.perturbations.data_subset import DataSubset
from llt_plugins.perturbations.label_noise import LabelNoise
from llt_plugins.perturbations.magnitude_prune import MagnitudePrune
from llt_plugins.perturbations.quantise import Quantise
from llt_plugins.perturbations.weight_noise import WeightNoise
from llt_plugins.tasks.digits import Digits


@pytest.fixture
def trained(tmp_path):
    """Return a function that trains one MLP and gives its record and its network."""

    def run(*perturbations, metrics=(), seed=0, **train):
        store = tmp_path / "store"
        result = llt_core.run(
            "digits",
            list(metrics),
            architecture="mlp:width=8,depth=1",
            perturbations=list(perturbations),
            train={"recipe": "quick_small", "epochs": 2, **train},
            seed=seed,
            store=store,
            compute={"threads": 1, "device": "cpu"},
        )
        assert not result.failed
        record = next(r for r in result.records if r.cell.kind == "train")
        model = Mlp(width=8, depth=1).build(Digits().describe())
        path = Store(store).path(record.digest) / "model.safetensors"
        return result, record, load_checkpoint(model, path, torch.device("cpu"))

    return run


def losses(record):
    return [line.train_loss for line in record.history]


def same(one, two):
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))


def test_all_strengths_of_a_weight_perturbation_start_from_one_trained_model(trained):
    _, plain, start = trained()
    for text, perturbation in (
        ("quantise:bits=32", Quantise(bits=32)),
        ("quantise:bits=3", Quantise(bits=3)),
        ("magnitude_prune:sparsity=0.7", MagnitudePrune(sparsity=0.7)),
    ):
        _, record, found = trained(text)
        assert record.digest != plain.digest
        assert losses(record) == losses(plain)
        assert same(found, perturbation.apply(start, torch.Generator()))
    _, _, other = trained(seed=1)
    assert not same(start, other)


def test_weights_are_perturbed_alike_for_all_models_and_in_the_order_given(trained):
    noise, quantise = "weight_noise:scale=0.2", "quantise:bits=3"
    for seed in (0, 1):
        _, _, start = trained(seed=seed)
        named = [("llt/weight_noise", WeightNoise(scale=0.2)), ("llt/quantise", Quantise(bits=3))]
        for order in (1, -1):
            _, _, found = trained(*(noise, quantise)[::order], seed=seed)
            assert same(found, perturbed("weights", named[::order], start))


def test_metrics_see_the_perturbed_weights(trained):
    accuracy = {}
    for bits in (2, 32):
        result, _, model = trained(f"quantise:bits={bits}", metrics=["test_accuracy"], epochs=6)
        test = Digits().datasets(Path())["test"]
        everything = test.batch(torch.arange(len(test)))
        right = (model(everything.inputs).argmax(1) == everything.targets).double().mean()
        (measured,) = (m for r in result.records for m in r.measurements)
        assert measured.value == pytest.approx(100 * float(right))
        accuracy[bits] = measured.value
    assert accuracy[2] < accuracy[32]


def test_batches_are_perturbed_and_what_is_measured_is_not(trained):
    chain = ("augmentation:crop=3", "mixup:alpha=1", "cutout:size=8")
    result, record, model = trained(*chain, metrics=["train_loss"])
    _, plain, _ = trained()
    assert losses(record)[-1] > 1.1 * losses(plain)[-1]
    train = Digits().datasets(Path())["train"]
    everything = train.batch(torch.arange(len(train)))
    expected = cross_entropy(model(everything.inputs), everything.targets).item()
    (measured,) = (m for r in result.records for m in r.measurements)
    assert measured.value == pytest.approx(expected, rel=1e-4)
    _, turned, _ = trained(*chain[::-1])
    assert losses(turned) != losses(record)


def test_each_stage_gets_its_own_in_the_order_given():
    mixed = [
        ("a", Quantise(bits=4)),
        ("b", Cutout(size=4)),
        ("c", LabelNoise(fraction=0.5)),
        ("d", Augmentation()),
        ("e", DataSubset(fraction=0.5)),
    ]
    for stage, names in (("data", "ce"), ("training", "bd"), ("weights", "a")):
        assert "".join(name for name, _ in at_stage(stage, mixed)) == names


def test_batches_of_two_models_and_of_two_places_in_the_chain_are_perturbed_differently():
    digits = Digits().datasets(Path())["train"].batch(torch.arange(20))
    chain = [("llt/cutout", Cutout(size=8)), ("llt/cutout", Cutout(size=8))]
    first, second = batch_changes(chain, seed=1)
    holes = [first(digits).inputs, first(digits).inputs, second(digits).inputs]
    holes += [batch_changes(chain, seed=2)[0](digits).inputs]
    assert len({tensor.numpy().tobytes() for tensor in holes}) == 4
    again = batch_changes(chain, seed=1)[0](digits).inputs
    assert torch.equal(again, holes[0])


REFUSED = [
    ({"perturbations": ["cutout:size=33"]}, "larger than images of 32x32"),
    ({"perturbations": ["augmentation:crop=40"]}, "images of 32x32"),
    ({"perturbations": ['label_noise:fraction=0.1,splits=["dev"]']}, "'dev'"),
    ({"perturbations": ['pixel_noise:magnitude=3,splits=["dev"]']}, "'dev'"),
    ({"perturbations": ["weight_noise:scale=0.1"] * 2}, "weight_noise is given twice"),
    ({"train": {"recipe": "transformer"}}, "batches counted in tokens do not go with llt/digits"),
]


@pytest.mark.parametrize(("request_", "reason"), REFUSED, ids=[r for _, r in REFUSED])
def test_what_does_not_go_together_is_refused_before_any_work(tmp_path, request_, reason):
    with pytest.raises(RequestError) as caught:
        llt_core.run("digits", store=tmp_path / "store", **request_)
    assert reason in str(caught.value)
    assert caught.value.next_step
    assert not (tmp_path / "store" / "cells").exists()


TEXT_TASK = """
from llt_core.interfaces import Architecture, Perturbation, Task, TaskDescription
class Sentences(Task):
    summary = "sentences"
    split_policy = "none"
    def describe(self):
        return TaskDescription(modality="text", input_shape=(9,), outputs=7, padding=0)
    def datasets(self, data_root): raise AssertionError("nothing may be loaded")
    def tiny(self): raise AssertionError
    def loss(self, outputs, batch): raise AssertionError
    def evaluate(self, outputs, batch): raise AssertionError
class Reads(Architecture):
    summary = "reads"
    accepts = frozenset({"text", "image"})
    def build(self, task): raise AssertionError
class NoStage(Perturbation):
    summary = "no stage"
    accepts = frozenset({"text", "image"})
    axis = "load"
    @property
    def strength(self): return 1.0
    def apply(self, subject, generator): return subject
"""
MANIFEST = """
[sentences]
kind = "task"
target = "sentence_plugins:Sentences"
summary = "sentences"
architecture = "reads"
[reads]
kind = "architecture"
target = "sentence_plugins:Reads"
summary = "reads"
[no_stage]
kind = "perturbation"
target = "sentence_plugins:NoStage"
summary = "no stage"
"""


@pytest.fixture
def sentences(tmp_path, monkeypatch):
    (tmp_path / "sentence_plugins.py").write_text(TEXT_TASK)
    (tmp_path / "llt.toml").write_text(MANIFEST)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "perturbation",
    ["mixup", "cutout", "augmentation", "pixel_noise:magnitude=1", "random_labels"],
)
def test_text_is_not_perturbed_as_images_are(sentences, perturbation):
    with pytest.raises(RequestError, match="image tasks, but this is one of text"):
        llt_core.run("sentences", perturbations=[perturbation], store=sentences / "store")


def test_a_perturbation_without_a_stage_is_broken(sentences):
    with pytest.raises(LltError, match="no_stage' is broken: NoStage names no stage"):
        llt_core.run("digits", perturbations=["no_stage"], store=sentences / "store")
