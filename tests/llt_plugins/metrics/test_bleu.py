"""bleu: a model that copies the references, refusals, errors and details."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sacrebleu.metrics import BLEU
from torch import nn

from llt_core.interfaces import MeasureContext, RequestError
from llt_core.testing import TinyImages, TinyTexts, small_network, small_translator
from llt_core.testing.text_samples import TinyPairs
from llt_plugins.metrics.bleu import Bleu
from llt_plugins.translation.decode import greedy

TASK = TinyTexts()
BY_HALVES = {"greedy": {}, "beam": {"beam": 3}}


class Copier(nn.Module):
    """Says the source backwards, which is what these references are; leaves out ``lost`` words."""

    def __init__(self, lost: int = 0) -> None:
        super().__init__()
        self.lost = lost
        self.sure = nn.Parameter(torch.tensor(10.0))

    def forward(self, source, target):
        logits = torch.zeros(*target.shape, TASK.describe().outputs)
        for row, tokens in enumerate(source):
            words = [token for token in tokens.tolist() if token > 2][::-1]
            following = [*words[self.lost :], 2, *[2] * target.shape[1]]
            logits[row, torch.arange(target.shape[1]), following[: target.shape[1]]] = self.sure
        return logits


def context(model: nn.Module, task=TASK) -> MeasureContext:
    return MeasureContext(task, (model,), task.tiny(), seed=3, sample_seed=4)


@pytest.mark.parametrize("way", BY_HALVES)
@pytest.mark.parametrize("split", ["train", "test"])
def test_a_model_that_copies_the_references_scores_100(split, way):
    score, ratio, unfinished = Bleu(split=split, **BY_HALVES[way]).measure(context(Copier()))
    assert (score.value, ratio.value, unfinished.value) == (100.0, 1.0, 0.0)
    assert (score.unit, score.counted) == ("percent", "sentences")
    assert score.n == {"train": 40, "test": 24}[split]
    # On the test split nothing says how often it would fail elsewhere.
    assert score.standard_error == (0.0 if split == "train" else None)


def test_it_is_the_bleu_of_the_translations():
    model = small_translator(TASK.describe(), 0)
    examples = TASK.tiny()["test"]
    (score, ratio, unfinished) = Bleu().measure(context(model))
    source = examples.batch(torch.arange(24)).inputs["source"]
    limits = [min(8, 2 * int((row != 0).sum()) + 10) for row in source]
    found = greedy(model, source, limits)
    texts = [examples.decode(one.tokens) for one in found]
    expected = BLEU().corpus_score(texts, [examples.references(range(24))])
    assert score.value == pytest.approx(expected.score, abs=1e-9)
    assert ratio.value == pytest.approx(expected.ratio)
    assert unfinished.value == pytest.approx(100 * np.mean([not one.ended for one in found]))
    assert score.details["signature"].startswith("nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp")
    assert score.details["decoding"] == "greedy"
    assert score.details["example"]["reference"] == examples.references([0])[0]
    assert score.standard_error > 0
    assert score.arrays["sentence_bleu"].shape == (24,)
    assert score.arrays["length"].sum() == expected.sys_len


def test_worse_translations_score_less_and_shorter_ones_are_punished():
    half = Copier(lost=1)
    score, ratio, _ = Bleu(split="train").measure(context(half))
    assert 5 < score.value < 95
    assert ratio.value < 1
    assert score.details["brevity_penalty"] < 1
    assert score.details["precisions"][0] == 100.0


def test_the_number_of_sentences_and_the_size_of_batches():
    model = small_translator(TASK.describe(), 0)
    some, *_ = Bleu(split="train", samples=10).measure(context(model))
    assert some.n == 10
    assert some.standard_error > 0  # ten of forty are a sample
    whole = Bleu(beam=2).measure(context(model))[0]
    from llt_core.interfaces import context as core

    kept = core._LOGITS
    try:
        core._LOGITS = 8 * 16 * 6
        again = Bleu(beam=2).measure(context(model))[0]
    finally:
        core._LOGITS = kept
    assert again.value == pytest.approx(whole.value)
    assert again.standard_error == whole.standard_error


def test_beams_say_how_they_searched():
    score, *_ = Bleu(beam=3, length_penalty=1.0, samples=4).measure(context(Copier()))
    assert score.details["decoding"] == "beam search, 3 places"
    assert score.details["length_penalty"] == 1.0


def test_translations_are_cut():
    class Endless(Copier):
        def forward(self, source, target):
            logits = torch.zeros(*target.shape, TASK.describe().outputs)
            logits[..., 5] = self.sure
            return logits

    score, _, unfinished = Bleu(max_length=0.001).measure(context(Endless()))
    assert unfinished.value == 100.0
    assert score.arrays["length"].tolist() == [8.0] * 24  # the longest sentence of the task


def test_broken_models_are_a_status():
    model = small_translator(TASK.describe(), 0)
    with torch.no_grad():
        model.output.weight[5, 0] = math.inf
    assert {r.status for r in Bleu().measure(context(model))} == {"not_finite"}

    class Overflowing(Copier):
        def forward(self, source, target):
            return super().forward(source, target) * math.nan

    results = Bleu(beam=2).measure(context(Overflowing()))
    assert {r.status for r in results} == {"not_finite"}
    assert "NaN" in results[0].details["reason"]

    class Infinite(Copier):
        def forward(self, source, target):
            return super().forward(source, target).index_fill(-1, torch.tensor([7]), math.inf)

    for beam in (1, 2):
        results = Bleu(beam=beam).measure(context(Infinite()))
        assert {r.status for r in results} == {"not_finite"}


def test_what_is_no_text_is_refused():
    images = TinyImages()
    assert "text" in Bleu().refuses(images.describe())
    assert "'validation'" in Bleu(split="validation").refuses(TASK.describe())

    class Wordless(TinyPairs):
        decode = None

    class Numbers(TinyTexts):
        def tiny(self):
            return {n: Wordless(x.source, x.target) for n, x in super().tiny().items()}

    with pytest.raises(RequestError, match="Wordless has no method 'decode'") as refused:
        Bleu().measure(context(Copier(), Numbers()))
    assert "leave out what needs translations" in str(refused.value)
    with pytest.raises(RequestError, match="no method 'decode'"):
        Bleu().measure(context(small_network(images.describe()), images))
