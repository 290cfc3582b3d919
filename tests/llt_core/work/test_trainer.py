"""Training on the real digits: it learns, keeps the right epoch, and stops when it must."""

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from llt_core.errors import RequestError
from llt_core.interfaces import ClassificationTask, TaskDescription, TensorExamples
from llt_core.spec import TrainingRecipe
from llt_core.work.schedule import rate_factor
from llt_core.work.trainer import Trainer
from llt_plugins.architectures.mlp import Mlp
from llt_plugins.architectures.resnet import ResNet18
from llt_plugins.tasks.digits import Digits

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def train_split():
    return Digits().datasets(Path())["train"]


def quiet(done, total, text):
    """Report to nobody."""


def trainer(examples, architecture=None, *, seed=0, model=None, task=None, **settings):
    settings = {"learning_rate": 0.1, "epochs": 3, "batch_size": 64} | settings
    task = task or Digits()
    if model is None:
        torch.manual_seed(seed)
        model = (architecture or Mlp(width=16, depth=1)).build(task.describe())
    return Trainer(model, task, examples, TrainingRecipe(**settings), seed=seed, device=CPU)


def head(examples, count):
    return examples.subset(torch.arange(count))


def test_the_loss_falls_and_the_history_is_whole(train_split):
    trained = trainer(train_split, Mlp(), learning_rate=0.05, epochs=4).run(quiet)
    assert trained.status == "done"
    assert [line.epoch for line in trained.history] == [1, 2, 3, 4]
    losses = [line.train_loss for line in trained.history]
    assert losses == sorted(losses, reverse=True)
    assert losses[0] < math.log(10)
    assert losses[-1] < 0.3
    assert trained.history[-1].train_accuracy > 90
    assert trained.epoch == 4


def test_with_a_tiny_rate_the_history_is_the_loss_of_the_model_itself(train_split):
    examples = head(train_split, 100)
    built = trainer(examples, learning_rate=1e-12, epochs=1, batch_size=30, drop_last=False)
    batch = examples.batch(torch.arange(100))
    with torch.no_grad():
        outputs = built.model(batch.inputs)
    (line,) = built.run(quiet).history
    expected = nn.functional.cross_entropy(outputs, batch.targets)
    assert line.train_loss == pytest.approx(float(expected), rel=1e-5)
    correct = (outputs.argmax(1) == batch.targets).double().mean()
    assert line.train_accuracy == pytest.approx(100 * float(correct))


@pytest.mark.parametrize(("drop_last", "steps"), [(True, 3), (False, 4)])
def test_the_incomplete_batch_is_skipped_or_kept(train_split, drop_last, steps):
    built = trainer(head(train_split, 100), batch_size=30, epochs=2, drop_last=drop_last)
    assert built.steps == steps
    calls = []
    built.model.register_forward_hook(lambda module, args, out: calls.append(len(out)))
    built.run(quiet)
    full = [30] * 3
    assert calls == (full * 2 if drop_last else [*full, 10] * 2)


def test_every_example_is_seen_once_an_epoch_and_the_order_changes(train_split):
    examples = head(train_split, 50)
    marked = TensorExamples(torch.arange(50.0).view(50, 1), examples.targets, classes=10)
    seen = []

    class Spy(nn.Linear):
        def forward(self, x):
            seen.append(x.flatten().tolist())
            return super().forward(x / 50)

    for _ in range(2):
        torch.manual_seed(0)
        built = trainer(marked, model=Spy(1, 10), batch_size=20, epochs=2, drop_last=False)
        built.run(quiet)
    first = [x for batch in seen[:3] for x in batch]
    second = [x for batch in seen[3:6] for x in batch]
    assert sorted(first) == sorted(second) == list(range(50))
    assert first != second
    assert seen[:6] == seen[6:], "the order follows from the seed"


def test_a_batch_larger_than_the_split_is_refused(train_split):
    with pytest.raises(RequestError, match="batch of 64 is larger than the training split of 10"):
        trainer(head(train_split, 10))
    kept = trainer(head(train_split, 10), drop_last=False, epochs=1)
    assert kept.run(quiet).status == "done"


def test_the_best_training_loss_is_the_model(train_split):
    # From half-way on every epoch starts from spoiled weights: the best one is before.
    examples = head(train_split, 256)
    settings = {"epochs": 6, "schedule": "constant", "learning_rate": 0.05}
    states = []

    class Spoiled(Trainer):
        def epoch(self, epoch, *rest):
            if epoch >= 4:
                with torch.no_grad():
                    for parameter in self.model.parameters():
                        parameter.zero_()
            line = super().epoch(epoch, *rest)
            states.append({k: v.clone() for k, v in self.model.state_dict().items()})
            return line

    plain = trainer(examples, checkpoint="best_train_loss", **settings)
    built = Spoiled(plain.model, plain.task, examples, plain.recipe, seed=0, device=CPU)
    trained = built.run(quiet)
    losses = [line.train_loss for line in trained.history]
    best = losses.index(min(losses)) + 1
    assert best == 3
    assert trained.epoch == best
    for key, value in trained.state.items():
        assert torch.equal(value, states[best - 1][key])
        assert not torch.equal(value, states[-1][key])


def test_the_last_epoch_is_the_model_otherwise(train_split):
    built = trainer(head(train_split, 128), epochs=2)
    trained = built.run(quiet)
    assert trained.epoch == 2
    for key, value in built.model.state_dict().items():
        assert torch.equal(trained.state[key], value)


def test_early_stop_ends_the_run(train_split):
    stop = {"early_stop": True, "early_stop_after": 4, "early_stop_window": 2}
    trained = trainer(head(train_split, 64), epochs=20, learning_rate=1e-9, **stop).run(quiet)
    assert len(trained.history) == 4
    assert trained.epoch == 4


def test_divergence_ends_the_run_with_a_status(train_split):
    trained = trainer(head(train_split, 256), learning_rate=1e30, epochs=9).run(quiet)
    assert trained.status == "diverged"
    assert trained.state is None
    assert trained.history[-1].train_loss is None
    assert trained.history[-1].train_accuracy is None
    assert len(trained.history) < 9


def test_weights_that_are_not_finite_at_the_end_are_divergence_too(train_split):
    # One step in all: the loss before it is finite, the weights after it are not.
    trained = trainer(head(train_split, 64), learning_rate=1e39, epochs=1, momentum=0.0).run(quiet)
    assert trained.history[-1].train_loss is not None
    assert trained.status == "diverged"


@pytest.mark.parametrize(
    "settings",
    [
        {"optimizer": "adamw", "learning_rate": 0.003, "weight_decay": 0.01},
        {"schedule": "cosine", "warmup_epochs": 0.5},
        {"schedule": "step", "milestones": [0.5, 0.75]},
        {"dtype": "bfloat16"},
        {"optimizer": "adam", "learning_rate": 0.003, "weight_decay": 0.0},
        {"sam_radius": 0.05},
        {"sam_radius": 0.05, "dtype": "bfloat16"},
        {"gradient_clip": 0.5},
        {"schedule": "inverse_sqrt", "warmup_steps": 15},
        {"lr_scaling": True, "learning_rate": 0.2},
    ],
    ids=lambda settings: "-".join(map(str, settings.values())),
)
def test_every_kind_of_training_learns(train_split, settings):
    trained = trainer(head(train_split, 640), epochs=4, **settings).run(quiet)
    assert trained.status == "done"
    assert trained.history[-1].train_loss < 0.8 * trained.history[0].train_loss
    assert all(t.dtype == torch.float32 for t in trained.state.values())


def test_bfloat16_is_another_arithmetic(train_split):
    losses = {
        dtype: trainer(head(train_split, 128), epochs=1, dtype=dtype).run(quiet).history[0]
        for dtype in ("float32", "bfloat16")
    }
    half, full = losses["bfloat16"].train_loss, losses["float32"].train_loss
    assert half != full
    assert half == pytest.approx(full, rel=0.05)


def test_the_optimiser_gets_the_rates_of_the_schedule(train_split):
    settings = {"schedule": "cosine", "epochs": 3, "learning_rate": 0.2, "warmup_epochs": 1.0}
    built = trainer(head(train_split, 128), batch_size=32, **settings)
    rates = []
    built.optimizer.register_step_pre_hook(
        lambda optimizer, args, kwargs: rates.append(optimizer.param_groups[0]["lr"])
    )
    built.run(quiet)
    assert rates[:4] == pytest.approx([0.05, 0.1, 0.15, 0.2])
    assert rates[4:] == pytest.approx(
        [0.2 * rate_factor(built.recipe, 1 + step / 4) for step in range(8)]
    )


def test_weight_decay_is_an_l2_penalty(train_split):
    examples = head(train_split, 32)
    after = {}
    for decay in (0.0, 0.1):
        built = trainer(
            examples, batch_size=32, epochs=1, momentum=0.0, learning_rate=0.5, weight_decay=decay
        )
        before = [p.detach().clone() for p in built.model.parameters()]
        built.run(quiet)
        after[decay] = [p.detach() for p in built.model.parameters()]
    for start, plain, decayed in zip(before, after[0.0], after[0.1], strict=True):
        torch.testing.assert_close(decayed, plain - 0.5 * 0.1 * start)


def test_parameters_without_gradient_stay(train_split):
    built = trainer(head(train_split, 64), epochs=1)
    model = built.model
    first = next(model.parameters())
    first.requires_grad_(False)
    before = first.clone()
    again = trainer(head(train_split, 64), model=model, epochs=1)
    again.run(quiet)
    assert torch.equal(first, before)


def test_images_and_weights_are_channels_last_unless_asked_otherwise(train_split):
    examples = head(train_split, 32)
    found = {}
    for channels_last in (True, False):
        torch.manual_seed(0)
        model = ResNet18(width=2).build(Digits().describe())
        recipe = TrainingRecipe(epochs=1, batch_size=16, learning_rate=0.05)
        built = Trainer(
            model, Digits(), examples, recipe, seed=0, device=CPU, channels_last=channels_last
        )
        layouts = []
        model.register_forward_hook(
            lambda module, args, out, layouts=layouts: layouts.append(args[0].stride(-1))
        )
        found[channels_last] = built.run(quiet).history[0].train_loss
        weight = next(p for p in model.parameters() if p.ndim == 4 and p.shape[1] > 1)
        layout = torch.channels_last if channels_last else torch.contiguous_format
        assert weight.is_contiguous(memory_format=layout)
    assert found[True] == pytest.approx(found[False], rel=1e-3)


class Words(ClassificationTask):
    """Inputs called by keyword, to show that the trainer needs no images."""

    summary = "two inputs by keyword"
    split_policy = "none"

    def describe(self):
        return TaskDescription(modality="text", input_shape=(4,), outputs=3, padding=0)

    def datasets(self, data_root):
        return {"train": TensorExamples(torch.randn(30, 4), torch.arange(30) % 3, classes=3)}

    def tiny(self):
        return self.datasets(None)


def test_inputs_that_are_no_images():
    torch.manual_seed(0)
    task = Words()
    built = trainer(
        task.datasets(None)["train"], task=task, model=nn.Linear(4, 3), batch_size=10, epochs=5
    )
    assert built.run(quiet).status == "done"


@pytest.mark.parametrize(("max_steps", "epochs"), [(7, 3), (9, 3), (2, 1), (100, 4)])
def test_training_ends_after_the_steps_it_may_take(train_split, max_steps, epochs):
    built = trainer(head(train_split, 100), batch_size=30, epochs=4, max_steps=max_steps)
    told = []
    trained = built.run(lambda *what: told.append(what))
    assert built.taken == len(told) == min(max_steps, 12)
    assert len(trained.history) == trained.epoch == epochs
    assert told[-1][0] == told[-1][1]


def test_the_schedule_ends_with_the_steps(train_split):
    settings = {"schedule": "cosine", "batch_size": 30, "epochs": 50, "max_steps": 8}
    built = trainer(head(train_split, 100), learning_rate=1.0, **settings)
    rates = []
    built.optimizer.register_step_pre_hook(
        lambda optimizer, args, kwargs: rates.append(optimizer.param_groups[0]["lr"])
    )
    built.run(quiet)
    assert rates == pytest.approx([math.cos(math.pi * step / 16) ** 2 for step in range(8)])


def test_training_to_zero_loss_stops_there(train_split):
    settings = {"learning_rate": 0.03, "weight_decay": 0.0, "epochs": 400, "batch_size": 16}
    trained = trainer(head(train_split, 64), stop_at_loss=0.01, **settings).run(quiet)
    losses = [line.train_loss for line in trained.history]
    assert losses[-1] <= 0.01 < min(losses[:-1])
    assert trained.history[-1].train_accuracy == 100
    assert trained.epoch == len(losses) < 400


def test_progress_counts_up_to_the_end(train_split):
    told = []
    trainer(head(train_split, 128), epochs=2).run(lambda *what: told.append(what))
    done = [line[0] for line in told]
    assert done == sorted(done)
    assert told[-1][0] == told[-1][1] == 2000
    assert told[-1][2].startswith("epoch 2/2, loss ")
