"""Terms know their example, and a pass goes through examples in order."""

from __future__ import annotations

import math

import pytest
import torch

from llt_core.interfaces import Batch, ClassificationTask, MeasureContext, TensorExamples
from llt_core.testing import TinyImages, TinyTexts, small_network, small_translator
from llt_core.testing.text_samples import TinyPairs


class Bucketed(TinyPairs):
    """Batches of like length, as a split with buckets has them."""

    def slices(self, batch_size, **options):
        order = (self.source != 0).sum(dim=1).argsort(stable=True)
        yield from order.split(batch_size)


def context(splits=None, seed=0):
    task = TinyTexts()
    model = small_translator(task.describe(), seed)
    return MeasureContext(task, (model,), splits or task.tiny())


def test_a_classified_example_is_a_term_of_its_own():
    task = TinyImages()
    setting = MeasureContext(task, (small_network(task.describe()),), task.tiny())
    assert setting.owners("test") is None
    assert task.owners(task.tiny()["test"].batch(torch.arange(3))) is None
    assert setting.counted == "samples"


def test_targets_of_several_axes_belong_to_their_row():
    targets = torch.tensor([[5, 2, 0], [2, 0, 0], [4, 5, 2]])
    batch = Batch({"source": targets, "target": targets}, targets, weight=6)
    assert TinyTexts().owners(batch).tolist() == [0, 0, 1, 2, 2, 2]
    dense = Batch(torch.zeros(2, 1), torch.zeros(2, 2, 2), weight=8)
    assert TinyImages().owners(dense).tolist() == [0, 0, 0, 0, 1, 1, 1, 1]


def test_terms_that_are_not_understood_stand_for_themselves():
    targets = torch.zeros(4, 3)  # one vector to regress to for each example
    assert TinyImages().owners(Batch(torch.zeros(4, 1), targets, weight=4)) is None


def test_owners_go_through_the_split_in_order():
    setting = context()
    owners = setting.owners("test")
    lengths = (setting.splits["test"].target[:, 1:] != 0).sum(dim=1)
    assert torch.equal(owners, torch.repeat_interleave(torch.arange(24), lengths))
    assert len(setting.owners("test", 5)) == len(
        torch.cat([b.targets[b.targets != 0] for b in setting.chunks("test", 5)])
    )
    assert setting.counted == "tokens"


def test_scores_come_in_the_order_of_examples_however_a_split_batches():
    plain = context()
    tiny = plain.splits
    bucketed = context({n: Bucketed(x.source, x.target) for n, x in tiny.items()})
    for name, values in plain.scores("test").items():
        torch.testing.assert_close(bucketed.scores("test", batch_size=5)[name], values)


def test_scores_are_those_of_the_task_on_one_batch():
    setting = context()
    batch = setting.splits["test"].batch(torch.arange(24))
    expected = setting.task.evaluate(setting.model(**batch.inputs), batch)["loss"]
    torch.testing.assert_close(setting.scores("test", batch_size=7)["loss"].float(), expected)


def test_batches_of_texts_keep_their_logits_small(monkeypatch):
    from llt_core.interfaces import context as module

    setting = context()
    vocabulary, longest = setting.task.describe().outputs, 8
    monkeypatch.setattr(module, "_LOGITS", 5 * vocabulary * longest + 1)
    assert setting.at_once(512) == 5
    assert setting.at_once(3) == 3
    assert [len(batch.targets) for batch in setting.chunks("test")] == [5, 5, 5, 5, 4]
    monkeypatch.setattr(module, "_LOGITS", 1)
    assert setting.at_once(512) == 1
    images = TinyImages()
    assert MeasureContext(images, (), images.tiny()).at_once(512) == 512


def test_embeddings_are_those_of_the_architecture_or_every_embedding():
    setting = context()
    assert setting.embeddings() == ["source_embedding", "target_embedding"]
    setting.embed = lambda model: ["source_embedding"]
    assert setting.embeddings() == ["source_embedding"]


class Numbers(ClassificationTask):
    """Classification, to see that nothing changed for it."""

    summary = "Numbers"
    split_policy = "all"

    def describe(self):
        return TinyImages().describe()

    def datasets(self, data_root):
        return self.tiny()

    def tiny(self):
        return {"test": TensorExamples(torch.zeros(9, 3, 8, 8), torch.arange(9) % 4)}


def test_progress_of_scores_ends_at_the_number_of_examples():
    seen = []
    task = Numbers()
    setting = MeasureContext(task, (small_network(task.describe()),), task.tiny())
    setting.report = lambda done, total: seen.append((done, total))
    setting.scores("test", batch_size=4)
    assert seen == [(4, 9), (8, 9), (9, 9)]


def test_the_small_translator_ignores_padding_and_what_follows():
    task = TinyTexts()
    model = small_translator(task.describe(), 1)
    batch = task.tiny()["train"].batch(torch.arange(6))
    outputs = model(**batch.inputs)
    wider = {k: torch.nn.functional.pad(v, (0, 3)) for k, v in batch.inputs.items()}
    torch.testing.assert_close(model(**wider)[:, : outputs.shape[1]], outputs)
    for row in range(6):
        alone = task.tiny()["train"].batch(torch.tensor([row]))
        length = alone.targets.shape[1]
        torch.testing.assert_close(model(**alone.inputs)[0], outputs[row, :length])
    changed = batch.inputs["target"].clone()
    changed[:, 3:] = 5
    later = model(source=batch.inputs["source"], target=changed)
    torch.testing.assert_close(later[:, :3], outputs[:, :3])
    assert sum(p.numel() for p in model.parameters()) == 1568


def test_tiny_texts_say_what_they_are():
    tiny = TinyTexts().tiny()
    pairs = tiny["train"]
    words = [pairs.decode(row.tolist()).split() for row in pairs.source]
    reverse = [text.split() for text in pairs.references(torch.arange(40))]
    assert [list(reversed(each)) for each in words] == reverse
    assert len({len(each) for each in words}) > 3
    assert pairs.decode([1, 4, 3, 2, 5]) == "a ?"
    batch = pairs.batch(torch.tensor([0, 1]))
    assert batch.weight == int((batch.targets != 0).sum())
    loss = TinyTexts().loss(torch.zeros(*batch.targets.shape, 16), batch)
    assert loss.item() == pytest.approx(math.log(16))
