"""Deliberately wrong translators are caught by the kit, each by the check meant for it."""

import pytest
import torch
from torch import nn

from llt_core.interfaces import Architecture
from llt_core.testing import ArchitectureConformance


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


def test_a_sound_translator_passes(failures):
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
    ],
)
def test_a_wrong_translator_is_caught(failures, architecture, check, words):
    assert words in failures(ArchitectureConformance, architecture(), check)[check]
