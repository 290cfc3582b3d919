"""Metrics on a translation: terms are tokens, errors count sentences, micro-batches add up."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from torch import nn

from llt_core.interfaces import MeasureContext, RequestError
from llt_core.interfaces import context as core
from llt_core.testing import TinyImages, TinyTexts, small_translator
from llt_plugins.means import standard_error
from llt_plugins.metrics import outputs as module
from llt_plugins.metrics.agreement import Agreement, JsDivergence, LogitCosine, PredictionChurn
from llt_plugins.metrics.bleu import Bleu
from llt_plugins.metrics.calibration import CalibrationError
from llt_plugins.metrics.cka import Cka
from llt_plugins.metrics.ensemble import EnsembleAccuracy, EnsembleGain
from llt_plugins.metrics.gauss_newton import GaussNewtonTrace
from llt_plugins.metrics.gradient import GradientNorm
from llt_plugins.metrics.hessian import HessianTopEigenvalue, HessianTrace
from llt_plugins.metrics.linear_connectivity import LinearConnectivity
from llt_plugins.metrics.loss_line import LossLine
from llt_plugins.metrics.mode_connectivity import ModeConnectivity
from llt_plugins.metrics.scores import TestAccuracy, TestLoss, TrainLoss
from llt_plugins.metrics.sharpness import Sharpness

TASK = TinyTexts()
for score in (TestAccuracy, TestLoss):
    score.__test__ = False


def context(count: int = 2, **more) -> MeasureContext:
    models = tuple(small_translator(TASK.describe(), seed) for seed in range(count))
    return MeasureContext(TASK, models, TASK.tiny(), seed=1, sample_seed=2, **more)


def by_tokens(setting: MeasureContext, split: str = "test", rows=None):
    """Return logits ``(K, T, V)``, right tokens ``(T,)`` and sentences ``(T,)``, one by one."""
    examples = setting.splits[split]
    logits, right, owners = [[] for _ in setting.models], [], []
    for row in range(len(examples)) if rows is None else rows:
        batch = examples.batch(torch.tensor([row]))  # alone, so without padding
        for found, model in zip(logits, setting.models, strict=True):
            found.append(model(**batch.inputs)[0].detach())
        right.append(batch.targets[0])
        owners += [row] * batch.weight
    return (
        torch.stack([torch.cat(each) for each in logits]).double(),
        torch.cat(right),
        torch.tensor(owners),
    )


def check(result, terms, owners):
    assert (result.n, result.counted, result.status) == (len(terms), "tokens", "ok")
    assert result.value == pytest.approx(terms.mean().item(), rel=1e-5)
    assert result.standard_error == pytest.approx(standard_error(terms, owners), rel=1e-4)
    assert result.details["examples"] == len(owners.unique())
    assert "by example" in result.details["error_kind"]


def test_scores_count_tokens_and_their_errors_sentences():
    setting = context(1)
    (logits,), right, owners = by_tokens(setting)
    loss = nn.functional.cross_entropy(logits, right, reduction="none")
    check(TestLoss().measure(setting)[0], loss, owners)
    check(TestAccuracy().measure(setting)[0], 100.0 * (logits.argmax(1) == right), owners)
    (train,) = TrainLoss().measure(setting)
    assert (train.standard_error, train.details["error_kind"]) == (0.0, "exact over the split")


def test_comparisons_token_by_token():
    setting = context()
    (a, b), right, owners = by_tokens(setting)
    same = (a.argmax(1) == b.argmax(1)).double()
    check(Agreement().measure(setting)[0], 100.0 * same, owners)
    p, q = a.softmax(1), b.softmax(1)
    m = (0.5 * (p + q)).log()
    divergence = 0.5 * (p * (p.log() - m) + q * (q.log() - m)).sum(1)
    check(JsDivergence().measure(setting)[0], divergence, owners)
    hits = [(x.argmax(1) == right).double() for x in (a, b)]
    (churn,) = PredictionChurn().measure(setting)
    check(churn, 100.0 * (hits[0] != hits[1]), owners)
    assert churn.details["accuracies"] == pytest.approx([100 * float(h.mean()) for h in hits])


def test_cosines_are_of_consecutive_tokens():
    setting = context()
    (a, b), _, _ = by_tokens(setting)
    (found,) = LogitCosine(batch_size=20).measure(setting)
    x, y = (each[:100].reshape(5, -1) for each in (a, b))
    cosines = nn.functional.cosine_similarity(x, y, dim=1)
    assert found.value == pytest.approx(float(cosines.mean()), rel=1e-5)
    assert found.standard_error == pytest.approx(float(cosines.std()) / 5**0.5, rel=1e-4)
    assert (found.n, found.counted) == (5, "batches")


def test_ensembles_of_translators():
    setting = context(3)
    logits, right, owners = by_tokens(setting)
    together = (logits.softmax(2).mean(0).argmax(1) == right).double()
    alone = (logits.argmax(2) == right).double()
    check(EnsembleAccuracy().measure(setting)[0], 100 * together, owners)
    check(EnsembleGain().measure(setting)[0], 100 * (together - alone.mean(0)), owners)


def test_calibration_of_tokens():
    setting = context(1)
    (logits,), right, owners = by_tokens(setting)
    confidence, correct = logits.softmax(1).amax(1), (logits.argmax(1) == right).double()
    width, mass, excess = CalibrationError(bins=1).measure(setting)
    gap = 100 * (confidence - correct)
    check(excess, gap, owners)
    for binned in (width, mass):
        assert (binned.n, binned.counted) == (len(right), "tokens")
        assert binned.value == pytest.approx(abs(float(gap.mean())), rel=1e-5)
        assert binned.standard_error == pytest.approx(standard_error(gap, owners), rel=1e-4)
        accuracy = standard_error(100 * correct, owners)
        assert binned.arrays["accuracy_error"] == pytest.approx([accuracy], rel=1e-4)


def test_some_sentences_are_compared_and_a_part_of_train_is_a_sample(monkeypatch):
    setting = context()
    rows = torch.randperm(40, generator=torch.Generator().manual_seed(2))[:7].sort().values
    (a, b), _, owners = by_tokens(setting, "train", rows.tolist())
    same = (a.argmax(1) == b.argmax(1)).double()
    (found,) = Agreement(split="train", samples=7).measure(setting)
    check(found, 100 * same, owners)
    monkeypatch.setattr(module, "TEXTS", 7)
    assert Agreement(split="train").measure(setting)[0] == found
    (whole,) = Agreement(split="train", samples=40).measure(setting)
    assert (whole.standard_error, whole.details["examples"]) == (0.0, 40)


def test_paths_are_scored_token_by_token():
    setting = context()
    results = {r.name: r for r in LinearConnectivity(points=3).measure(setting)}
    middle = small_translator(TASK.describe(), 0)
    with torch.no_grad():
        for p, q in zip(middle.parameters(), setting.models[1].parameters(), strict=True):
            p.copy_(0.5 * (p + q))
    three = MeasureContext(TASK, (*setting.models, middle), setting.splits)
    logits, right, owners = by_tokens(three)
    losses = torch.stack([nn.functional.cross_entropy(x, right, reduction="none") for x in logits])
    terms = losses[2] - 0.5 * (losses[0] + losses[1])
    barrier = results["linear_connectivity_test_loss_barrier"]
    assert (barrier.n, barrier.counted) == (len(right), "tokens")
    assert barrier.value == pytest.approx(float(terms.mean()), rel=1e-4)
    assert barrier.standard_error == pytest.approx(standard_error(terms, owners), rel=1e-4)
    assert "by example" in barrier.details["error_kind"]
    arrays = results["linear_connectivity"].arrays
    assert arrays["test_loss"] == pytest.approx(losses[[0, 2, 1]].mean(1).tolist(), rel=1e-4)
    expected = [standard_error(losses[k], owners) for k in (0, 2, 1)]
    assert arrays["test_loss_se"] == pytest.approx(expected, rel=1e-4)


def test_bleu_along_a_path_is_that_of_the_models_on_it():
    setting = context()
    for model in setting.models:  # translations of untrained networks share no words with any
        learn(model, setting.splits["train"])
    (first, *_) = LinearConnectivity(points=3, translated=20).measure(setting)
    middle = small_translator(TASK.describe(), 0)
    with torch.no_grad():
        ends = (model.parameters() for model in setting.models)
        for p, one, two in zip(middle.parameters(), *ends, strict=True):
            p.copy_(0.5 * (one + two))
    for place, model in zip((0, 1, 2), (setting.models[0], middle, setting.models[1]), strict=True):
        alone = MeasureContext(TASK, (model,), setting.splits, sample_seed=setting.sample_seed)
        assert first.arrays["test_bleu"][place] == Bleu(samples=20).measure(alone)[0].value
    assert len(set(first.arrays["test_bleu"].tolist())) > 1
    assert any(figure.y == ("test_bleu",) for figure in first.figures)
    assert "test_bleu" not in LinearConnectivity(points=3).measure(setting)[0].arrays
    reason = LinearConnectivity(translated=20).refuses(TinyImages().describe())
    assert "translate 20 sentences" in reason


def learn(model, examples):
    batch = examples.batch(torch.arange(len(examples)))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(60):
        optimizer.zero_grad()
        torch.autograd.backward(TASK.loss(model(**batch.inputs), batch))
        optimizer.step()
    model.zero_grad()


def test_a_curve_is_trained_on_texts():
    setting = context()
    metric = ModeConnectivity(points=3, epochs=30, batch_size=10, learning_rate=0.05)
    results = {r.name: r for r in metric.measure(setting)}
    straight = LinearConnectivity(points=3).measure(setting)
    line = next(r for r in straight if r.name == "linear_connectivity_train_loss_peak")
    assert results["mode_connectivity_train_loss_peak"].value > line.value
    losses = results["mode_connectivity"].arrays["training_loss"]
    assert losses[-1] < losses[0]


def test_networks_that_cannot_be_followed_are_refused_with_a_reason():
    with pytest.raises(RequestError, match="SmallTranslator cannot be followed") as refused:
        LinearConnectivity(points=3, align="weights").measure(context())
    assert "align = none" in str(refused.value)


def test_the_error_of_a_line_counts_sentences():
    setting = context(1)
    metric = LossLine(split="test", samples=None, directions_count=1, points=3, dtype="float64")
    rise = metric.measure(setting)[0]
    assert rise.details["error_kind"] == "sampling of the examples"
    vectors = metric.choose(setting, 1).vectors
    from llt_plugins.surfaces.parameters import flatten

    points = torch.tensor([[-1.0], [0.0], [1.0]]).double()
    each = torch.eye(3).double()
    found = metric.cut(setting, setting.model, flatten(setting.model), vectors, points, each)
    terms = found.contrasts[:, 0]
    heights = 0.5 * (terms[0] + terms[2]) - terms[1]
    owners = setting.owners("test")
    assert rise.value == pytest.approx(float(heights.mean()))
    assert rise.standard_error == pytest.approx(standard_error(heights, owners))
    assert rise.standard_error != pytest.approx(standard_error(heights), rel=1e-3)


MICRO = {
    "gradient_norm": partial(GradientNorm, samples=None),
    "sharpness": partial(Sharpness, samples=None),
    "hessian_trace": partial(HessianTrace, samples=None, max_vectors=8),
    "hessian_top_eigenvalue": partial(HessianTopEigenvalue, samples=None, max_steps=5),
    "gauss_newton_trace": partial(GaussNewtonTrace, samples=None, max_vectors=8),
    "loss_line": partial(LossLine, samples=None, directions_count=2, points=3),
}


@pytest.mark.parametrize("name", MICRO)
def test_micro_batches_of_unequal_numbers_of_tokens_add_up(name):
    found = [
        MICRO[name](batch_size=size, dtype="float64").measure(context(1))[0].value
        for size in (40, 7)
    ]
    assert found[0] == pytest.approx(found[1], rel=1e-7)


def test_the_gradient_is_that_of_the_mean_over_tokens():
    setting = context(1)
    (found,) = GradientNorm(samples=None, batch_size=3, dtype="float64").measure(setting)
    model = setting.model.double()
    _, right, _ = by_tokens(setting, "train")
    total = 0.0
    for row in range(40):
        batch = setting.splits["train"].batch(torch.tensor([row]))
        total = total + TASK.loss(model(**batch.inputs), batch) * batch.weight
    parameters = [p for p in model.parameters() if p.requires_grad]
    slopes = torch.autograd.grad(total / len(right), parameters)
    norm = math.sqrt(sum(float(slope.square().sum()) for slope in slopes))
    assert found.value == pytest.approx(norm, rel=1e-9)


def test_the_size_of_passes_changes_no_number(monkeypatch):
    metrics = [TestLoss(), Agreement(), LinearConnectivity(points=3), EnsembleAccuracy()]
    before = [m.measure(context())[0].value for m in metrics]
    monkeypatch.setattr(core, "_LOGITS", 4 * 8 * 16)
    after = [m.measure(context())[0].value for m in metrics]
    assert after == pytest.approx(before, rel=1e-6)


@pytest.mark.parametrize("inputs", ["mixup", "plain"])
@pytest.mark.parametrize("features", ["softmax", "logits", "layers"])
def test_a_model_is_like_itself_and_less_like_another(features, inputs):
    metric = Cka(samples=32, batch_size=8, features=features, inputs=inputs)
    setting = context()
    (other,) = metric.measure(setting)
    (same,) = metric.measure(setting.restricted([0, 0]))
    assert same.value == pytest.approx(1.0)
    assert other.value < 0.9
    assert other.n == 32
    assert other.counted == ("samples" if features == "layers" else "tokens")
    assert other.details["debiased"]
    assert other.standard_error > 0


def test_cka_of_plain_texts_by_hand():
    """Chosen tokens are those of the draws, and features the logits that sentences give alone."""
    from llt_plugins.similarity.cka import cka
    from llt_plugins.similarity.representation import represent

    setting = context()
    (found,) = Cka(features="logits", inputs="plain", samples=40).measure(setting)
    draws = torch.rand(40, generator=setting.sample_generator("representations"))
    rows = [[], []]
    for row, draw in enumerate(draws):
        batch = setting.splits["train"].batch(torch.tensor([row]))
        place = int(draw * batch.weight)
        for found_rows, model in zip(rows, setting.models, strict=True):
            found_rows.append(model(**batch.inputs)[0, place].detach())
    expected = cka(*(represent(torch.stack(each)) for each in rows), debiased=True)
    assert found.value == pytest.approx(expected.value, rel=1e-4)
    assert found.standard_error == pytest.approx(expected.standard_error, rel=1e-3)


def test_mixtures_pass_in_parts_where_the_vocabulary_is_large(monkeypatch):
    metric = Cka(samples=32, batch_size=16, features="logits")
    before = metric.measure(context())[0].value
    monkeypatch.setattr(core, "_LOGITS", 8 * 8 * 16)
    after = metric.measure(context())[0].value
    assert after == pytest.approx(before, rel=1e-5)


def test_what_cannot_be_compared_is_refused():
    described = TASK.describe()
    assert Cka().refuses(described) is None
    assert "pool = average" in Cka(features="layers", pool="flatten").refuses(described)
    assert "compat" in Cka(compat="reference").refuses(described)
    setting = context(embed=lambda model: [])
    with pytest.raises(RequestError, match="names no layer that turns tokens") as refused:
        Cka(samples=16, batch_size=8).measure(setting)
    assert "inputs = plain" in str(refused.value)
    assert Cka(samples=16, inputs="plain").measure(setting)[0].status == "ok"


def test_mixed_texts_cost_two_passes():
    described = TASK.describe()
    assert Cka().cost(described) == 2 * Cka(inputs="plain").cost(described)


class Unpadded(TinyTexts):
    """Texts of one length, so that nothing is filled up."""

    def describe(self):
        return super().describe().model_copy(update={"padding": None})


def test_texts_that_need_no_padding_are_scored_and_not_translated():
    task, everything = Unpadded(), TASK.tiny()
    test = everything["test"]
    lengths = torch.tensor([test.batch(torch.tensor([row])).weight for row in range(len(test))])
    alike = test.subset((lengths == lengths.mode().values).nonzero().squeeze(1))
    splits = everything | {"test": alike}
    models = tuple(small_translator(TASK.describe(), seed) for seed in range(2))
    found, same = (
        PredictionChurn().measure(MeasureContext(one, models, splits)) for one in (task, TASK)
    )
    assert found == same
    with pytest.raises(RequestError, match="names no padding"):
        Bleu().measure(MeasureContext(task, models[:1], splits))
