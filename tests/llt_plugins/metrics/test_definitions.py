"""Metrics of pairs and predictions against their definitions, written out in plain numpy.

Nothing here but the models' outputs comes from the code under test.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from llt_core.interfaces import MeasureContext, TensorExamples
from llt_core.testing.samples import TinyImages
from llt_plugins.metrics.agreement import Agreement, JsDivergence, LogitCosine, PredictionChurn
from llt_plugins.metrics.calibration import CalibrationError
from llt_plugins.metrics.cka import Cka
from llt_plugins.metrics.distance import L2Distance
from llt_plugins.metrics.ensemble import EnsembleAccuracy, EnsembleGain
from llt_plugins.metrics.linear_connectivity import LinearConnectivity

SIZES = (5, 7, 4)
EXAMPLES = 37


def network(seed):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = nn.Linear(SIZES[0], SIZES[1]), nn.Tanh(), nn.Linear(SIZES[1], SIZES[2])
        model = nn.Sequential(*layers).eval()
        model[2].weight.data.mul_(6.0)  # far from uniform outputs
    return model


def forward(parameters, x):
    """The network in numpy."""
    first, bias, second, shift = parameters
    return np.tanh(x @ first.T + bias) @ second.T + shift


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


@pytest.fixture(params=range(4))
def case(request):
    """A context of three models, their parameters and outputs, and the data, in numpy."""
    generator = torch.Generator().manual_seed(100 + request.param)
    splits = {
        name: TensorExamples(
            torch.randn(EXAMPLES, SIZES[0], generator=generator),
            torch.randint(SIZES[2], (EXAMPLES,), generator=generator),
        )
        for name in ("train", "test")
    }
    models = [network(3 * request.param + k) for k in range(3)]
    context = MeasureContext(TinyImages(), tuple(models), splits, sample_seed=request.param)
    parameters = [[p.detach().double().numpy() for p in m.parameters()] for m in models]
    x, labels = splits["test"].inputs.double().numpy(), splits["test"].targets.numpy()
    return context, parameters, [forward(p, x) for p in parameters], labels


def measured(metric, context):
    count = {"model": 1, "pair": 2, "set": 3}[metric.scope]
    return {result.name: result for result in metric.measure(context.restricted(range(count)))}


def test_predictions(case):
    context, _, (a, b, c), labels = case
    p, q, r = map(softmax, (a, b, c))
    same = a.argmax(1) == b.argmax(1)
    found = measured(Agreement(), context)["agreement"]
    assert found.value == pytest.approx(100 * same.mean())
    assert found.standard_error == pytest.approx(100 * same.std(ddof=1) / math.sqrt(EXAMPLES))

    right = [scores.argmax(1) == labels for scores in (a, b, c)]
    found = measured(PredictionChurn(), context)["prediction_churn"]
    assert found.value == pytest.approx(100 * np.mean(right[0] != right[1]))

    m = np.maximum((p + q) / 2, 1e-7)
    divergence = ((p * np.log(p / m)).sum(1) + (q * np.log(q / m)).sum(1)) / 2
    found = measured(JsDivergence(), context)["js_divergence"]
    assert found.value == pytest.approx(divergence.mean(), rel=1e-5)
    error = divergence.std(ddof=1) / math.sqrt(EXAMPLES)
    assert found.standard_error == pytest.approx(error, rel=1e-5)

    cosines = [
        np.vdot(a[i : i + 9], b[i : i + 9])
        / np.sqrt(np.vdot(a[i : i + 9], a[i : i + 9]) * np.vdot(b[i : i + 9], b[i : i + 9]))
        for i in range(0, 36, 9)
    ]
    found = measured(LogitCosine(batch_size=9), context)["logit_cosine"]
    assert found.value == pytest.approx(np.mean(cosines), abs=1e-6)

    together = ((p + q + r) / 3).argmax(1) == labels
    found = measured(EnsembleAccuracy(), context)["ensemble_accuracy"]
    assert found.value == pytest.approx(100 * together.mean())
    gain = 100 * (together.mean() - np.mean(right))
    assert measured(EnsembleGain(), context)["ensemble_gain"].value == pytest.approx(gain)


def test_calibration(case):
    context, _, (logits, *_), labels = case
    confidence, right = softmax(logits).max(1), logits.argmax(1) == labels
    found = measured(CalibrationError(bins=6), context)

    def gap(chosen):
        """Return the part of one bin."""
        if not chosen.any():
            return 0.0
        return chosen.mean() * abs(right[chosen].mean() - confidence[chosen].mean())

    edges = np.linspace(0, 1, 7)
    width = sum(gap((confidence > low) & (confidence <= high)) for low, high in pairwise(edges))
    assert found["calibration_error"].value == pytest.approx(100 * width, rel=1e-5)
    ranks = confidence.argsort(kind="stable").argsort()
    mass = sum(gap(ranks * 6 // EXAMPLES == k) for k in range(6))
    assert found["calibration_error_adaptive"].value == pytest.approx(100 * mass, rel=1e-5)
    excess = 100 * (confidence.mean() - right.mean())
    assert found["calibration_error_overconfidence"].value == pytest.approx(excess, rel=1e-5)


def unbiased(k, l):
    """Return the HSIC of Song et al. 2012, equation 5."""
    n = len(k)
    k, l = k - np.diag(np.diag(k)), l - np.diag(np.diag(l))
    one = np.ones(n)
    total = np.trace(k @ l) + (one @ k @ one) * (one @ l @ one) / ((n - 1) * (n - 2))
    return (total - 2 / (n - 2) * (one @ k @ l @ one)) / (n * (n - 3))


def biased(k, l):
    """Return the HSIC of Gretton et al. 2005."""
    centre = np.eye(len(k)) - 1 / len(k)
    return np.trace(k @ centre @ l @ centre) / (len(k) - 1) ** 2


def gram(x, kernel):
    """Return the Gram matrix, RBF with the median distance for its width."""
    if kernel == "linear":
        return x @ x.T
    squares = ((x[:, None] - x[None]) ** 2).sum(-1)
    # torch's median of an even number of values is the lower of the two in the middle.
    between = np.sort(np.sqrt(squares[np.triu_indices(len(x), 1)]))
    return np.exp(-squares / (2 * between[(len(between) - 1) // 2] ** 2))


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
@pytest.mark.parametrize(("debiased", "hsic"), [(False, biased), (True, unbiased)])
@pytest.mark.parametrize("features", ["softmax", "logits"])
def test_cka(case, kernel, debiased, hsic, features):
    context, _, outputs, _ = case
    metric = Cka(
        features=features, kernel=kernel, debiased=debiased, inputs="plain", split="test",
        samples=EXAMPLES,
    )  # fmt: skip
    x, y = outputs[:2] if features == "logits" else map(softmax, outputs[:2])
    k, l = gram(x, kernel), gram(y, kernel)
    expected = hsic(k, l) / math.sqrt(hsic(k, k) * hsic(l, l))
    assert measured(metric, context)["cka"].value == pytest.approx(expected, abs=1e-6)


def test_linear_connectivity_and_distance(case):
    context, (first, second, _), *_ = case
    found = measured(LinearConnectivity(points=7), context)
    for split in ("train", "test"):
        x = context.splits[split].inputs.double().numpy()
        labels = context.splits[split].targets.numpy()
        errors, losses = [], []
        for t in np.linspace(0, 1, 7):
            logits = forward([(1 - t) * a + t * b for a, b in zip(first, second, strict=True)], x)
            errors.append(100 * np.mean(logits.argmax(1) != labels))
            losses.append(-np.log(softmax(logits)[np.arange(EXAMPLES), labels]).mean())
        for kind, values in (("error", errors), ("loss", losses)):
            name = f"linear_connectivity_{split}_{kind}"
            main = found[name.removesuffix("_train_error")].value
            ends = (values[0] + values[-1]) / 2
            # Of the two signs that a tie of the ends allows, the documented one is the lower.
            farthest = max(values, key=lambda value: (round(abs(ends - value), 6), value))
            assert main == pytest.approx(ends - farthest, rel=1e-4, abs=1e-4)
            inside = values[1:-1]
            expected = {
                "barrier": max(inside) - ends, "dip": ends - min(inside), "peak": -max(inside),
            }  # fmt: skip
            for what, value in expected.items():
                measurement = found[f"{name.removesuffix('_train_error')}_{what}"]
                assert measurement.value == pytest.approx(value, rel=1e-4, abs=1e-4)
    squares = sum(((a - b) ** 2).sum() for a, b in zip(first, second, strict=True))
    distance = math.sqrt(squares)
    assert found["linear_connectivity_length"].value == pytest.approx(distance, rel=1e-6)
    assert measured(L2Distance(), context)["l2_distance"].value == pytest.approx(distance)
