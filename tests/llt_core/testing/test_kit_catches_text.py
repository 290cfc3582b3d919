"""Deliberately wrong text tasks are caught by the kit, each by the check meant for it."""

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch.nn.functional import cross_entropy

from llt_core.interfaces import Batch, Examples, RequestError, Task, TaskDescription
from llt_core.testing import TaskConformance

PAD, BOS, EOS = 0, 1, 2
ROWS = [[4, 5, EOS], [6, 7, 8, 9, EOS], [9, EOS], [5, 5, 5, EOS], [8, 7, EOS], [4, 9, 6, EOS]]


@dataclass(frozen=True)
class Copies(Examples):
    """Sentences whose translation is the sentence itself."""

    rows: tuple

    def __len__(self):
        return len(self.rows)

    def subset(self, indices):
        return type(self)(tuple(self.rows[at] for at in indices.tolist()))

    def to(self, device):
        return self

    def filled(self, rows):
        width = max(map(len, rows))
        return torch.tensor([row + [PAD] * (width - len(row)) for row in rows])

    def known(self, rows):
        return self.filled([[BOS, *row[:-1]] for row in rows])

    def batch(self, indices):
        rows = [self.rows[at] for at in indices.tolist()]
        inputs = {"source": self.filled(rows), "target": self.known(rows)}
        return Batch(inputs, self.filled(rows), weight=sum(map(len, rows)))

    def slices(self, batch_size, *, unit="examples", generator=None, drop_last=False):
        if unit == "examples":
            yield from super().slices(batch_size, generator=generator, drop_last=drop_last)
            return
        order = range(len(self))
        if generator is not None:
            order = torch.randperm(len(self), generator=generator).tolist()
        for at in order:
            yield torch.tensor([at])


class SoundText(Task):
    """Cross-entropy of each token."""

    summary = "a text task that keeps every rule"
    split_policy = "The first six sentences train and the same six are the test split."

    examples: ClassVar[type[Examples]] = Copies

    def describe(self):
        return TaskDescription(modality="text", input_shape=(5,), outputs=10, padding=PAD)

    def datasets(self, data_root):
        return self.tiny()

    def tiny(self):
        return {"train": type(self).examples(tuple(ROWS)), "test": Copies(tuple(ROWS))}

    def at(self, batch):
        return batch.targets.flatten() != PAD

    def logits(self, outputs, batch):
        return outputs.flatten(0, 1)[self.at(batch)]

    def loss(self, outputs, batch):
        return self.evaluate(outputs, batch)["loss"].mean()

    def evaluate(self, outputs, batch):
        logits, targets = self.logits(outputs, batch), batch.targets.flatten()[self.at(batch)]
        loss = cross_entropy(logits, targets, reduction="none")
        return {"loss": loss, "correct": (logits.argmax(1) == targets).float()}


class Undescribed(SoundText):
    def describe(self):
        return super().describe().model_copy(update={"padding": None})


class LongerThanSaid(SoundText):
    def describe(self):
        return super().describe().model_copy(update={"input_shape": (4,)})


class MoreTokensThanSaid(SoundText):
    def describe(self):
        return super().describe().model_copy(update={"outputs": 9})


class Unshifted(Copies):
    def known(self, rows):
        return self.filled(rows)


class SeesTheAnswer(SoundText):
    examples: ClassVar[type[Examples]] = Unshifted


class Leading(Copies):
    def filled(self, rows):
        width = max(map(len, rows))
        return torch.tensor([[PAD] * (width - len(row)) + row for row in rows])


class PadsInFront(SoundText):
    examples: ClassVar[type[Examples]] = Leading


class Counted(Copies):
    def batch(self, indices):
        batch = super().batch(indices)
        return Batch(batch.inputs, batch.targets, weight=len(indices))


class WeighsSentences(SoundText):
    examples: ClassVar[type[Examples]] = Counted


class LearnsPadding(SoundText):
    def loss(self, outputs, batch):
        return cross_entropy(outputs.flatten(0, 1), batch.targets.flatten())


class PaddingLeaksIntoGradients(SoundText):
    def loss(self, outputs, batch):
        padding = outputs.flatten(0, 1)[~self.at(batch)].sum()
        return super().loss(outputs, batch) + padding - padding.detach()


class LogitsOfEverything(SoundText):
    def logits(self, outputs, batch):
        return outputs.flatten(0, 1)

    def evaluate(self, outputs, batch):
        return SoundText.evaluate(SoundText(), outputs, batch)


class Overfull(Copies):
    def slices(self, batch_size, *, unit="examples", generator=None, drop_last=False):
        return Examples.slices(self, batch_size, generator=generator, drop_last=drop_last)


class CountsSentences(SoundText):
    examples: ClassVar[type[Examples]] = Overfull

    def tiny(self):
        return {"train": Overfull(tuple(ROWS * 4)), "test": Copies(tuple(ROWS))}


class Forgetful(Copies):
    def slices(self, batch_size, *, unit="examples", generator=None, drop_last=False):
        found = list(super().slices(batch_size, unit=unit, generator=generator))
        yield from found[:-1] if unit == "tokens" else found


class LosesSentences(SoundText):
    examples: ClassVar[type[Examples]] = Forgetful


class Unseeded(Copies):
    def slices(self, batch_size, *, unit="examples", generator=None, drop_last=False):
        generator = generator and torch.Generator().manual_seed(torch.seed() % 2**31)
        return super().slices(batch_size, unit=unit, generator=generator)


class ShufflesUnseeded(SoundText):
    examples: ClassVar[type[Examples]] = Unseeded


class WithoutTokens(Copies):
    def slices(self, batch_size, *, unit="examples", generator=None, drop_last=False):
        if unit == "tokens":
            raise RequestError("batches of these examples cannot be counted in tokens")
        return super().slices(batch_size, generator=generator, drop_last=drop_last)


class CannotCountTokens(SoundText):
    examples: ClassVar[type[Examples]] = WithoutTokens


def test_a_sound_text_task_passes(failures):
    assert failures(TaskConformance, SoundText()) == {}


@pytest.mark.parametrize(
    ("task", "check", "words"),
    [
        (Undescribed, "test_tiny_matches_description", "which token is padding"),
        (LongerThanSaid, "test_tiny_matches_description", "has 5 tokens"),
        (MoreTokensThanSaid, "test_tiny_matches_description", "holds tokens 0 to 9"),
        (SeesTheAnswer, "test_tiny_matches_description", "not the tokens that follow"),
        (PadsInFront, "test_tiny_matches_description", "padding stands before"),
        (WeighsSentences, "test_tiny_matches_description", "the weight is 6 for 21"),
        (LearnsPadding, "test_padding_changes_nothing", "changes the loss"),
        (PaddingLeaksIntoGradients, "test_padding_changes_nothing", "changes the gradient"),
        (LogitsOfEverything, "test_logits_of_each_term", "expected (21, 10)"),
        (CountsSentences, "test_batches_of_tokens", "a batch of 15 tokens holds 75"),
        (LosesSentences, "test_batches_of_tokens", "do not see each example once"),
        (ShufflesUnseeded, "test_batches_of_tokens", "from the generator alone"),
        (CannotCountTokens, "test_batches_of_tokens", "cannot be counted in tokens"),
    ],
)
def test_a_wrong_text_task_is_caught(failures, task, check, words):
    assert words in failures(TaskConformance, task(), check).get(check, "passed")
