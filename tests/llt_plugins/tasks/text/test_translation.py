"""Loss and scores against their definitions; padding and cuts change nothing."""

import subprocess
import sys

import pytest
import torch

from llt_core.testing.text import fill_up
from llt_plugins.tasks.iwslt import Iwslt
from llt_plugins.tasks.text.tiny import NOUNS, SIZES, VERBS, tiny_pairs

TASK = Iwslt.minimal()


def network(seed=0, outputs=64, width=6):
    """Return a small model that looks at padding of the source only to leave it out."""
    torch.manual_seed(seed)
    table = torch.nn.Embedding(outputs, width).double()
    last = torch.nn.Linear(width, outputs).double()

    def model(source, target):
        there = (source != 0).unsqueeze(-1)
        mean = (table(source) * there).sum(1) / there.sum(1)
        return last(torch.tanh(table(target) + mean.unsqueeze(1)))

    return model, [*table.parameters(), *last.parameters()]


def everything(examples):
    return examples.batch(torch.arange(len(examples)))


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_the_loss_is_its_definition(smoothing):
    task = TASK.model_copy(update={"label_smoothing": smoothing})
    batch = everything(task.tiny()["train"])
    model, _ = network()
    outputs = model(**batch.inputs)
    losses, correct, rows = [], [], []
    for sentence, tokens in zip(outputs, batch.targets, strict=True):
        for logits, token in zip(sentence, tokens, strict=True):
            if token != 0:
                nll = torch.logsumexp(logits, 0) - logits
                losses.append((1 - smoothing) * nll[token] + smoothing * nll.mean())
                correct.append(float(logits.argmax() == token))
                rows.append(logits)
    scores = task.evaluate(outputs, batch)
    torch.testing.assert_close(scores["loss"], torch.stack(losses))
    torch.testing.assert_close(task.loss(outputs, batch), torch.stack(losses).mean())
    assert scores["correct"].tolist() == correct
    assert torch.equal(task.logits(outputs, batch), torch.stack(rows))
    assert batch.weight == len(rows)


def test_padding_changes_neither_loss_nor_gradients():
    examples = TASK.tiny()["train"]
    batch = everything(examples)
    model, parameters = network()
    found = []
    for each in (batch, fill_up(batch, TASK.describe(), 5)):
        loss = TASK.loss(model(**each.inputs), each)
        found.append([loss, *torch.autograd.grad(loss, parameters)])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("size", "unit"), [(5, "examples"), (40, "tokens"), (1, "examples")])
def test_micro_batches_add_up_to_loss_and_gradient(size, unit):
    examples = TASK.tiny()["train"]
    model, parameters = network()
    whole = everything(examples)
    loss = TASK.loss(model(**whole.inputs), whole)
    expected = [loss, *torch.autograd.grad(loss, parameters)]
    sums = [torch.zeros_like(x) for x in expected]
    for at in examples.slices(size, unit=unit, generator=torch.Generator().manual_seed(1)):
        batch = examples.batch(at)
        loss = TASK.loss(model(**batch.inputs), batch)
        for total, part in zip(sums, (loss, *torch.autograd.grad(loss, parameters)), strict=True):
            total += part.detach() * (batch.weight / whole.weight)
    for one, other in zip(expected, sums, strict=True):
        torch.testing.assert_close(one.detach(), other, rtol=1e-12, atol=1e-14)


def test_the_loss_can_be_differentiated_twice():
    batch = everything(TASK.tiny()["test"])
    model, parameters = network(width=2)
    outputs = model(**batch.inputs)
    gradient = torch.autograd.grad(TASK.loss(outputs, batch), outputs, create_graph=True)[0]
    # The Hessian for the logits of one token is (diag p − p pᵀ) / weight, whatever ε is.
    (row,) = torch.autograd.grad(gradient[0, 0, 7], outputs)
    p = outputs[0, 0].softmax(0).detach()
    expected = -p * p[7]
    expected[7] += p[7]
    torch.testing.assert_close(row[0, 0], expected / batch.weight)
    assert not row[0, 1:].any()
    assert not row[1:].any()
    assert parameters


def test_outputs_of_another_shape_are_told():
    batch = everything(TASK.tiny()["test"])
    for outputs in (torch.zeros(3, 4), torch.zeros(*batch.targets.T.shape, 64), (1, 2)):
        with pytest.raises(TypeError, match=r"expected logits \(B, T, outputs\)"):
            TASK.loss(outputs, batch)


def test_tiny_is_german_and_english_without_overlap():
    pairs = tiny_pairs()
    texts = [
        pair for split in pairs.values() for pair in zip(split.sources, split.targets, strict=True)
    ]
    assert {name: len(split) for name, split in pairs.items()} == SIZES
    assert len(set(texts)) == len(texts) == len(NOUNS) * len(VERBS)
    for german, english in texts:
        _, noun, verb, _ = german.split()
        assert english == f"the {NOUNS[noun]} {VERBS[verb]} ."
    tiny = TASK.tiny()
    for name, examples in tiny.items():
        at = torch.arange(len(examples))
        assert examples.sources(at) == list(pairs[name].sources)
        decoded = [examples.decode(row) for row in examples.batch(at).targets.tolist()]
        assert decoded == examples.references(at) == list(pairs[name].targets)


def test_describing_and_planning_import_no_torch():
    code = """
import sys
from llt_plugins.tasks.iwslt import Iwslt
from llt_plugins.tasks.parallel_text import ParallelText
for task in (Iwslt(), ParallelText()):
    described = task.describe()
    assert described.input_shape == (101,) and described.outputs == 2000, described
    assert described.padding == 0 and described.modality == "text"
assert not {"torch", "sentencepiece", "torchtext"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
