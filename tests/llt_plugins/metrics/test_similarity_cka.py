"""The metric `cka`: what it compares, on which inputs, once per model."""

from __future__ import annotations

import copy
import itertools
import math

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from llt_core.interfaces import MeasureContext, RequestError, TaskDescription, TensorExamples
from llt_core.testing.samples import TinyImages
from llt_plugins.metrics.cka import Cka


class Counting(nn.Module):
    """A small network that counts its forward passes."""

    def __init__(self, seed: int, width: int = 6) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.conv = nn.Conv2d(3, width, 3)
        self.act = nn.ReLU(inplace=True)
        self.head = nn.Linear(width, 4)
        for p in self.parameters():
            p.data = 0.5 * torch.randn(p.shape, generator=generator)
        self.examples = 0

    def forward(self, x):
        self.examples += len(x)
        return self.head(self.act(self.conv(x)).mean((2, 3)))


def context_of(*models, **more):
    task = TinyImages()
    models = tuple(model.eval() for model in models)
    return MeasureContext(task, models, task.tiny(), **{"seed": 1, "sample_seed": 5} | more)


def centred(x):
    x = x.double().flatten(1)
    return x - x.mean(0)


def biased(x, y):
    x, y = centred(x), centred(y)
    return float((x.T @ y).square().sum() / ((x.T @ x).norm() * (y.T @ y).norm()))


def debiased(x, y):
    """Equation 4 of Song et al. (2012), written out."""
    grams = [centred(z) @ centred(z).T for z in (x, y)]
    k, l = (g - g.diagonal().diag() for g in grams)
    n, one = len(k), torch.ones(len(k), dtype=torch.float64)

    def song(k, l):
        apart = (one @ k @ one) * (one @ l @ one) / ((n - 1) * (n - 2))
        return (k @ l).trace() + apart - 2 * (one @ k @ l @ one) / (n - 2)

    return float(song(k, l) / (song(k, k) * song(l, l)).sqrt())


@pytest.mark.parametrize("features", ["softmax", "logits"])
@pytest.mark.parametrize("unbiased", [None, True])
def test_plain_outputs(features, unbiased):
    context = context_of(Counting(0), Counting(1))
    metric = Cka(features=features, inputs="plain", samples=30, debiased=unbiased)
    (result,) = metric.measure(context)
    inputs = context.batches("train", 30)[0].inputs
    with torch.no_grad():
        x, y = (model(inputs) for model in context.models)
    if features == "softmax":
        x, y = x.softmax(1), y.softmax(1)
    expected = debiased(x, y) if unbiased else biased(x, y)
    assert result.value == pytest.approx(expected, abs=1e-6)
    assert (result.name, result.unit, result.n, result.status) == ("cka", "", 30, "ok")
    assert result.standard_error > 0
    assert result.details["debiased"] is bool(unbiased)
    assert result.details["features"] == features
    assert result.details["inputs"] == "plain"


def test_mixtures_are_those_of_the_cell():
    context = context_of(Counting(0), Counting(1))
    seen = []
    handle = context.models[0].register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    (result,) = Cka(samples=40, batch_size=16).measure(context)
    handle.remove()
    assert [len(x) for x in seen] == [16, 16, 8]
    assert result.n == 40
    with torch.no_grad():
        x, y = (torch.cat([model(x) for x in seen]).softmax(1) for model in context.models)
    assert result.value == pytest.approx(biased(x, y), abs=1e-6)
    # Mixed images lie between training images, and nearly all are none themselves.
    examples = context.examples("train").batch(torch.arange(48)).inputs.flatten(1)
    first = seen[0].flatten(1)
    assert bool((first <= examples.max(0).values + 1e-6).all())
    assert float(torch.cdist(first, examples).min(1).values.median()) > 1.0


def test_all_pairs_of_a_cell_see_the_same_inputs_and_cost_one_pass_each():
    models = [Counting(seed) for seed in range(4)]
    context = context_of(*models)
    metric = Cka(samples=40, batch_size=16)
    values = {}
    for i, j in itertools.combinations(range(4), 2):
        (result,) = metric.measure(context.restricted((i, j)).fresh(seed=10 * i + j))
        values[i, j] = result.value
    assert [model.examples for model in models] == [40] * 4
    alone = metric.measure(context_of(models[2], models[1], seed=99))[0].value
    assert alone == pytest.approx(values[1, 2], rel=1e-12)
    metric.model_copy(update={"features": "logits"}).measure(context.restricted((0, 1)))
    assert models[0].examples == 80


def test_the_reference_draws_again_for_each_ordered_pair():
    models = Counting(0), Counting(1)
    context = context_of(*models)
    (result,) = Cka(samples=24, batch_size=8, compat="reference").measure(context)
    assert models[0].examples == 2 * 32  # one batch more, and two directions
    there, back = result.details["there"], result.details["back"]
    assert there != back
    assert result.value == pytest.approx((there + back) / 2)
    assert result.details["compat"] == "reference"
    (again,) = Cka(samples=24, batch_size=8, compat="reference").measure(context.fresh(seed=2))
    assert again.value != result.value


def test_layers_against_layers():
    models = Counting(0), Counting(1, width=9)
    context = context_of(*models)
    (result,) = Cka(features="layers", inputs="plain", samples=48).measure(context)
    assert result.details["debiased"] is True
    assert result.details["layers"] == ["conv", "act", "head"]
    inputs = context.batches("train", 48)[0].inputs
    with torch.no_grad():
        layers = []
        for model in models:
            conv = model.conv(inputs)
            hidden = conv.relu()
            layers.append([conv.mean((2, 3)), hidden.mean((2, 3)), model(inputs)])
    expected = [[debiased(x, y) for y in layers[1]] for x in layers[0]]
    assert result.arrays["matrix"].tolist() == [
        [pytest.approx(value, abs=1e-6) for value in row] for row in expected
    ]
    diagonal = [expected[i][i] for i in range(3)]
    assert result.arrays["layers"].tolist() == pytest.approx(diagonal, abs=1e-6)
    assert result.value == pytest.approx(sum(diagonal) / 3, abs=1e-6)
    kinds = {figure.kind: figure for figure in result.figures}
    assert kinds["matrix"].z in result.arrays
    assert kinds["matrix"].labels == ("conv", "act", "head")
    assert all(name in result.arrays for figure in result.figures for name in figure.arrays)
    flat = Cka(features="layers", inputs="plain", samples=48, pool="flatten").measure(context)
    assert flat[0].details["pool"] == "flatten"
    assert flat[0].value != result.value


def test_a_collapsed_model_is_undefined_and_costs_only_its_pairs():
    alive, dead, third = Counting(0), Counting(1), Counting(2)
    dead.head.weight.data.zero_()
    context = context_of(alive, dead, third)
    (result,) = Cka(samples=24).measure(context.restricted((0, 1)))
    assert (result.value, result.status) == (None, "undefined")
    assert "collapsed" in result.details["reason"]
    assert Cka(samples=24).measure(context.restricted((0, 2)))[0].status == "ok"
    (layers,) = Cka(samples=24, features="layers").measure(context.restricted((0, 1)))
    assert layers.status == "ok"
    assert list(layers.details["undefined_layers"]) == ["head"]
    assert layers.value == pytest.approx(layers.arrays["layers"][:2].mean())
    assert math.isnan(layers.arrays["matrix"][0, 2])
    assert math.isfinite(layers.arrays["matrix"][2, 1])


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("more", [{}, {"features": "layers"}, {"compat": "reference"}])
def test_not_a_number_is_a_status(which, more):
    models = [Counting(0), Counting(1)]
    models[which].head.bias.data[0] = math.nan
    (result,) = Cka(samples=24, **more).measure(context_of(*models))
    assert (result.value, result.standard_error, result.status) == (None, None, "not_finite")


def test_the_bootstrap_is_an_alternative_error():
    context = context_of(Counting(0), Counting(1))
    kept, drawn = (
        Cka(samples=48, inputs="plain", bootstrap=count).measure(context)[0] for count in (0, 300)
    )
    assert kept.value == drawn.value
    assert drawn.standard_error == pytest.approx(kept.standard_error, rel=0.4)
    assert (kept.details["error_kind"], drawn.details["error_kind"]) == (
        "jackknife over inputs",
        "bootstrap over inputs",
    )


def test_minibatches_are_said():
    context = context_of(Counting(0), Counting(1))
    metric = Cka(samples=48, debiased=True, minibatch=12)
    (result,) = metric.measure(context)
    assert (result.details["minibatch"], result.n) == (12, 48)


def test_the_same_model_twice_is_one():
    model = Counting(0)
    (result,) = Cka(samples=24).measure(context_of(model, copy.deepcopy(model)))
    assert result.value == pytest.approx(1.0, abs=1e-9)


class Tokens(nn.Module):
    """Class scores of four classes from eight tokens."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.embed, self.head = nn.Embedding(20, 5), nn.Linear(5, 4)

    def forward(self, tokens):
        return self.head(self.embed(tokens).mean(1))


class TokenExamples(TensorExamples):
    """Inputs that stay whole numbers."""

    def batch(self, indices):
        batch = super().batch(indices)
        return type(batch)(self.inputs[indices], batch.targets, batch.weight)


def test_tokens_cannot_be_mixed_but_compared():
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(20, (30, 8), generator=generator)
    splits = {"train": TokenExamples(tokens, torch.zeros(30).long())}
    models = tuple(Tokens(seed).eval() for seed in (0, 1))
    context = MeasureContext(TinyImages(), models, splits)
    with pytest.raises(ValueError, match='inputs = "plain"'):
        Cka(samples=20).measure(context)
    assert Cka(samples=20, inputs="plain").measure(context)[0].status == "ok"
    (layers,) = Cka(samples=20, inputs="plain", features="layers").measure(context)
    assert layers.details["layers"] == ["embed", "head"]
    text = TaskDescription(modality="text", input_shape=(8,), outputs=4, padding=0)
    assert Cka().refuses(text) is None  # texts are mixed behind their embeddings
    assert Cka(inputs="plain").refuses(text) is None


def test_splits_that_are_missing_empty_or_too_small_are_named():
    context = context_of(Counting(0), Counting(1))
    with pytest.raises(RequestError, match="'validation'"):
        Cka(split="validation").measure(context)
    train = context.splits["train"]
    context.splits = {"train": train.subset(torch.tensor([]).long())}
    for inputs in ("mixup", "plain"):
        with pytest.raises(RequestError, match="'train' is empty"):
            Cka(inputs=inputs).measure(context)
    context = context_of(Counting(0), Counting(1))
    context.splits = {"train": train.subset(torch.arange(3))}
    for features in ("layers", "softmax"):
        (found,) = Cka(features=features, inputs="plain", debiased=True).measure(context)
        assert (found.value, found.status) == (None, "undefined")
        assert "at least 4 samples, and there are 3" in found.details["reason"]


def test_one_class_is_compared_like_any_other():
    context = context_of(Counting(0), Counting(1))
    train = context.splits["train"]
    context.splits = {"train": train.with_targets(torch.zeros_like(train.targets))}
    assert Cka(samples=24).measure(context)[0].status == "ok"


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"minibatch": 8}, "debiased = true"),
        ({"bootstrap": 5, "features": "layers"}, "bootstrap = 0"),
        ({"bootstrap": 5, "minibatch": 8, "debiased": True}, "bootstrap = 0"),
        ({"bootstrap": 1}, "no spread"),
        ({"bootstrap": 50, "compat": "reference"}, "bootstrap = 0"),
        ({"compat": "reference", "inputs": "plain"}, "mixup and outputs"),
        ({"compat": "reference", "features": "layers"}, "mixup and outputs"),
        ({"samples": 3}, "greater than or equal to 4"),
    ],
)
def test_what_does_not_go_together_is_refused(wrong, says):
    with pytest.raises(ValidationError, match=says):
        Cka(**wrong)


def test_the_defaults_are_the_paper_s():
    metric = Cka()
    assert (metric.samples, metric.batch_size, metric.alpha) == (640, 128, 16.0)
    assert (metric.kernel, metric.features, metric.inputs) == ("linear", "softmax", "mixup")
    assert metric.splits() == ("train",)
    assert metric.cost(TinyImages().describe()) == pytest.approx(2 * 640 / 50_000)
