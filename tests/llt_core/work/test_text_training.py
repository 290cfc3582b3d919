"""Training on batches of tokens: inputs by keyword, logits of each term, batches counted in tokens.

The task is to say a sequence backwards, which a small Transformer of torch's own learns.
"""

import math
from dataclasses import dataclass

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from llt_core.errors import RequestError
from llt_core.interfaces import Batch, Examples, Task, TaskDescription
from llt_core.spec import RECIPES, TrainingRecipe
from llt_core.work.trainer import Trainer

CPU = torch.device("cpu")
PADDING, BEGIN, END, VOCABULARY = 0, 1, 2, 20


@dataclass(frozen=True)
class Pairs(Examples):
    """Sequences ``(N, L)`` of lengths ``(N,)``, each with itself backwards as its translation."""

    tokens: torch.Tensor
    lengths: torch.Tensor

    def __len__(self):
        return len(self.tokens)

    def subset(self, indices):
        return Pairs(self.tokens[indices], self.lengths[indices])

    def to(self, device):
        return Pairs(self.tokens.to(device), self.lengths.to(device))

    def batch(self, indices):
        lengths = self.lengths[indices]
        longest = int(lengths.max())
        source = self.tokens[indices][:, :longest]
        at = lengths[:, None] - 1 - torch.arange(longest)
        backwards = source.gather(1, at.clamp(min=0)).masked_fill(at < 0, PADDING)
        begin = torch.full((len(indices), 1), BEGIN)
        target = torch.cat([begin, backwards], 1)
        targets = torch.cat([backwards, torch.zeros_like(begin)], 1)
        targets = targets.scatter(1, lengths[:, None], END)
        weight = int((targets != PADDING).sum())
        return Batch({"source": source, "target": target}, targets, weight)

    def slices(self, batch_size, *, unit="examples", generator=None, drop_last=False):
        if unit == "examples":
            yield from super().slices(batch_size, generator=generator, drop_last=drop_last)
            return
        order = torch.arange(len(self))
        if generator is not None:
            order = torch.randperm(len(self), generator=generator)
        taken, total = [], 0
        for index in order.tolist():
            length = int(self.lengths[index]) + 1
            if taken and total + length > batch_size:
                yield torch.tensor(taken)
                taken, total = [], 0
            taken.append(index)
            total += length
        if taken and not drop_last:
            yield torch.tensor(taken)


class Backwards(Task):
    summary = "sequences and themselves backwards"
    split_policy = "none"

    def describe(self):
        return TaskDescription(
            modality="text", input_shape=(6,), outputs=VOCABULARY, padding=PADDING
        )

    def tiny(self):
        return {"train": pairs(200)}

    def datasets(self, data_root):
        return self.tiny()

    def loss(self, outputs, batch):
        return cross_entropy(outputs.flatten(0, 1), batch.targets.flatten(), ignore_index=PADDING)

    def evaluate(self, outputs, batch):
        kept = batch.targets != PADDING
        logits, targets = outputs[kept], batch.targets[kept]
        return {
            "loss": cross_entropy(logits, targets, reduction="none"),
            "correct": (logits.argmax(1) == targets).float(),
        }


class Network(nn.Module):
    def __init__(self, width=32):
        super().__init__()
        self.tokens = nn.Embedding(VOCABULARY, width)
        self.places = nn.Embedding(12, width)
        self.body = nn.Transformer(width, 2, 1, 1, 64, dropout=0.1, batch_first=True)
        self.last = nn.Linear(width, VOCABULARY)

    def forward(self, source, target):
        causal = torch.ones(target.shape[1], target.shape[1], dtype=torch.bool).triu(1)
        ignored = source == PADDING
        x, y = (self.tokens(t) + self.places.weight[: t.shape[1]] for t in (source, target))
        y = self.body(
            x, y, tgt_mask=causal, src_key_padding_mask=ignored, memory_key_padding_mask=ignored
        )
        return self.last(y)


def pairs(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(2, 7, (count,), generator=generator)
    tokens = torch.randint(3, VOCABULARY, (count, 6), generator=generator)
    return Pairs(tokens.masked_fill(torch.arange(6) >= lengths[:, None], PADDING), lengths)


def trainer(examples, **settings):
    torch.manual_seed(0)
    return Trainer(Network(), Backwards(), examples, TrainingRecipe(**settings), seed=0, device=CPU)


TEXT = dict(RECIPES["quick_text"])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_it_learns_by_the_quick_recipe(dtype):
    settings = TEXT | {"batch_size": 300, "epochs": 6, "warmup_steps": 30, "dtype": dtype}
    built = trainer(pairs(600), **settings)
    torch.manual_seed(1)
    trained = built.run(lambda *_: None)
    losses = [line.train_loss for line in trained.history]
    assert trained.status == "done"
    assert losses == sorted(losses, reverse=True)
    assert losses[0] < 1.2 * math.log(VOCABULARY)
    assert losses[-1] < 0.8 * losses[0]
    assert trained.history[-1].train_accuracy > 1.5 * trained.history[0].train_accuracy
    assert all(t.dtype == torch.float32 for t in trained.state.values())


def test_the_history_averages_over_tokens_not_batches():
    examples = pairs(50)
    built = trainer(examples, **TEXT | {"learning_rate": 1e-12, "epochs": 1, "batch_size": 40})
    for module in built.model.modules():
        if isinstance(module, nn.Dropout | nn.MultiheadAttention):
            module.p = module.dropout = 0.0
    everything = examples.batch(torch.arange(50))
    with torch.no_grad():
        outputs = built.model(**everything.inputs)
    (line,) = built.run(lambda *_: None).history
    task = Backwards()
    assert line.train_loss == pytest.approx(float(task.loss(outputs, everything)), rel=1e-4)
    right = float(task.evaluate(outputs, everything)["correct"].mean())
    assert line.train_accuracy == pytest.approx(100 * right, abs=1e-3)


def test_an_epoch_has_as_many_steps_as_the_split_makes_batches():
    examples = pairs(120)
    built = trainer(examples, **TEXT | {"batch_size": 50, "epochs": 2})
    calls, told = [], []
    built.model.register_forward_hook(lambda module, args, out: calls.append(out.shape[0]))
    built.run(lambda *what: told.append(what))
    assert sum(calls) == 240
    assert len(told) == len(calls)
    assert built.taken == len(calls)
    assert abs(built.steps - len(calls) / 2) <= 2, "shuffled batches are other batches"
    done = [line[0] for line in told]
    assert done == sorted(done)
    assert done[-1] == told[-1][1] == 2000


def test_warm_up_counts_steps_across_epochs():
    settings = TEXT | {"batch_size": 100, "epochs": 3, "warmup_steps": 9, "learning_rate": 0.1}
    built = trainer(pairs(60), **settings)
    rates = []
    built.optimizer.register_step_pre_hook(
        lambda optimizer, args, kwargs: rates.append(optimizer.param_groups[0]["lr"])
    )
    built.run(lambda *_: None)
    assert len(rates) > 9
    expected = [0.1 * min(s / 9, (9 / s) ** 0.5) for s in range(1, len(rates) + 1)]
    assert rates == pytest.approx(expected)


def test_a_split_that_fills_no_batch_is_refused():
    with pytest.raises(RequestError, match="10 examples fills no batch of 1500 tokens") as caught:
        trainer(pairs(10), **TEXT | {"drop_last": True})
    assert caught.value.next_step == "--set train.drop_last=false"
    assert trainer(pairs(10), **TEXT).steps == 1


class Bucketed(Pairs):
    """Shuffled passes have half as many batches as passes in file order."""

    def slices(self, batch_size, *, unit="examples", generator=None, drop_last=False):
        order = torch.arange(len(self))
        return iter(torch.split(order, batch_size if generator is None else 2 * batch_size))


def test_a_budget_of_steps_is_spent_whole():
    """The steps of an epoch are those of a shuffled pass, whatever one in file order takes."""
    plain = pairs(40)
    examples = Bucketed(plain.tokens, plain.lengths)
    for budget in (3, 7):
        settings = {"batch_unit": "tokens", "batch_size": 5, "epochs": 50, "max_steps": budget}
        training = trainer(examples, optimizer="adam", **settings)
        assert training.run(lambda *_: None).status == "done"
        assert training.taken == budget
