"""Training one model: a plain loop over in-memory batches."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from llt_core.errors import RequestError
from llt_core.interfaces import Batch, Examples, Task, forward
from llt_core.spec import TrainingRecipe
from llt_core.store import Epoch
from llt_core.work.batchnorm import fast_batch_norm
from llt_core.work.narrow import guard
from llt_core.work.optimizer import frozen_statistics, make_optimizer, uphill
from llt_core.work.schedule import rate_factor, should_stop
from llt_core.work.stages import NamedPerturbation, batch_changes, mixed_loss

Report = Callable[[int, int, str], None]


Watch = Callable[["Trainer", Epoch | None], None]
"""Called after each step (with None) and each epoch (with its line), when the state is whole."""


def _ignore(done: int, total: int, text: str) -> None:
    """Report progress to nobody."""


def _look_away(trainer: Trainer, line: Epoch | None) -> None:
    """Watch nothing."""


@dataclass
class Trained:
    """What came out: the state that counts as the model, or none if training diverged."""

    status: Literal["done", "diverged"]
    history: list[Epoch] = field(default_factory=list)
    state: dict[str, Any] | None = None
    epoch: int = 0


@dataclass
class Pass:
    """An epoch under way: where it began, and sums over the steps that are done.

    Attributes
    ----------
    order
        State of the generator of the order before it drew that of this epoch.
    loss, correct
        Sums ``()`` on the device, so that steps need not wait for them.
    start
        When it began, by :func:`time.perf_counter`; later by what happened between two processes.
    """

    order: Tensor
    loss: Tensor
    correct: Tensor
    start: float
    steps: int = 0
    weight: int = 0
    rate: float = 0.0


class Trainer:
    """Trains ``model`` in place on ``examples`` by ``recipe``.

    What it has reached lies in its attributes, which :mod:`llt_core.work.snapshot` reads and
    fills: :meth:`run` goes on from there.

    ``seed`` fixes the order of examples, and what the training stage of ``perturbations`` (with
    their names) does to the batches; the model's own randomness (dropout) follows the global
    generator, which the caller seeds.
    """

    def __init__(
        self,
        model: nn.Module,
        task: Task,
        examples: Examples,
        recipe: TrainingRecipe,
        *,
        seed: int,
        device: torch.device,
        channels_last: bool = True,
        perturbations: Sequence[NamedPerturbation] = (),
    ) -> None:
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        self.task, self.recipe, self.device = task, recipe, device
        self.examples = examples
        # Counted as it will be trained: bucketing by length makes another number than file order.
        self.steps = len(self._slices(torch.Generator().manual_seed(seed)))
        if self.steps == 0:
            raise _too_large(recipe, len(examples))
        self.length: float = recipe.epochs
        if recipe.max_steps is not None:
            self.length = min(recipe.epochs, recipe.max_steps / self.steps)
        self.taken = 0
        self.trained = Trained("done")
        self.under_way: Pass | None = None
        self.model = guard(model).to(device)
        _lay_out(self.model, self.layout)
        self.examples = examples.to(device)
        self.order = torch.Generator().manual_seed(seed)
        self.changes = batch_changes(perturbations, seed)
        self.loss = partial(mixed_loss, task) if self.changes else task.loss
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.optimizer = make_optimizer(self.parameters, recipe, device)

    def run(self, report: Report, watch: Watch = _look_away) -> Trained:
        """Train to the end, to the early stop, or to the first epoch without a finite loss."""
        trained = self.trained
        losses = [line.train_loss for line in trained.history if line.train_loss is not None]
        while not self._over(losses):
            epoch = len(losses) + 1
            line = self.epoch(epoch, losses[-1] if losses else None, report, watch)
            trained.history.append(line)
            if line.train_loss is None:
                return Trained("diverged", trained.history)
            if self.recipe.checkpoint == "best_train_loss" and line.train_loss < min(
                losses, default=math.inf
            ):
                trained.state, trained.epoch = copy.deepcopy(self.model.state_dict()), epoch
            losses.append(line.train_loss)
            watch(self, line)
        if trained.state is None:
            trained.state, trained.epoch = self.model.state_dict(), len(losses)
        if not _finite(trained.state):
            return Trained("diverged", trained.history)
        return trained

    def _over(self, losses: list[float]) -> bool:
        """Whether these epochs were the last."""
        if not losses:
            return False
        ended = len(losses) >= math.ceil(self.length) or self.taken == self.recipe.max_steps
        return ended or should_stop(self.recipe, losses)

    def epoch(
        self,
        epoch: int,
        last_loss: float | None = None,
        report: Report = _ignore,
        watch: Watch = _look_away,
    ) -> Epoch:
        """Pass once over the data (``epoch`` counts from 1) and return its history line."""
        with fast_batch_norm(self.model):
            return self._pass(epoch, last_loss, report, watch)

    def _pass(self, epoch: int, last_loss: float | None, report: Report, watch: Watch) -> Epoch:
        text = f"epoch {epoch}/{math.ceil(self.length)}"
        if last_loss is not None:
            text += f", loss {last_loss:.4f}"
        total = int(1000 * self.length)
        self.model.train()
        now = self.under_way = self.under_way or self._begin()
        self.order.set_state(now.order)
        slices = self._slices(self.order)
        steps = len(slices)
        if self.recipe.max_steps is not None:
            slices = slices[: self.recipe.max_steps - self.taken + now.steps]
        for index in slices[now.steps :]:
            position = epoch - 1 + now.steps / steps
            now.rate = self._set_rate(position, steps)
            batch = self._batch(index)
            loss, outputs = self._step(batch)
            self.taken += 1
            now.steps += 1
            now.loss += loss * batch.weight
            with torch.no_grad():
                now.correct += self.task.evaluate(outputs.float(), batch)["correct"].sum()
            now.weight += batch.weight
            report(min(int(1000 * (position + 1 / steps)), total), total, text)
            watch(self, None)
        self.under_way = None
        loss_mean = float(now.loss) / max(now.weight, 1)
        finite = math.isfinite(loss_mean)
        return Epoch(
            epoch=epoch,
            learning_rate=now.rate,
            train_loss=loss_mean if finite else None,
            train_accuracy=100.0 * float(now.correct) / max(now.weight, 1) if finite else None,
            seconds=time.perf_counter() - now.start,
        )

    def _begin(self) -> Pass:
        zero = torch.zeros((), device=self.device)
        return Pass(self.order.get_state(), zero, zero.clone(), time.perf_counter())

    def _slices(self, order: torch.Generator) -> list[Tensor]:
        """Return the indices of each batch of one pass: how many there are, the split says."""
        recipe = self.recipe
        return list(
            self.examples.slices(
                recipe.batch_size,
                unit=recipe.batch_unit,
                generator=order,
                drop_last=recipe.drop_last,
            )
        )

    def _batch(self, index: Tensor) -> Batch:
        batch = self.examples.batch(index)
        for change in self.changes:
            batch = change(batch)
        inputs = batch.inputs
        if isinstance(inputs, Tensor) and inputs.ndim == 4:
            laid_out = inputs.contiguous(memory_format=self.layout)
            if laid_out is not inputs:
                batch = replace(batch, inputs=laid_out)
        return batch

    def _step(self, batch: Batch) -> tuple[Tensor, Any]:
        found = self._gradient(batch)
        if self.recipe.sam_radius:
            with uphill(self.parameters, self.recipe.sam_radius), frozen_statistics(self.model):
                self._gradient(batch)
        if self.recipe.gradient_clip is not None:
            nn.utils.clip_grad_norm_(self.parameters, self.recipe.gradient_clip)
        self.optimizer.step()
        return found

    def _gradient(self, batch: Batch) -> tuple[Tensor, Any]:
        """Put the gradient of ``batch`` into the parameters; return its loss and outputs."""
        half = self.recipe.dtype == "bfloat16"
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=half):
            outputs = forward(self.model, batch)
            loss = self.loss(outputs, batch)
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        return loss.detach(), outputs.detach()

    def _set_rate(self, position: float, steps: int) -> float:
        # Warm-up is counted from the end of the step, or the first step would do nothing.
        if position < self.recipe.warmup_epochs:
            position = min(position + 1 / steps, self.recipe.warmup_epochs)
        factor = rate_factor(self.recipe, position, step=self.taken + 1, length=self.length)
        rate = self.recipe.peak_rate * factor
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        return rate


def _too_large(recipe: TrainingRecipe, count: int) -> RequestError:
    size, unit = recipe.batch_size, recipe.batch_unit
    if unit == "examples":
        return RequestError(
            f"a batch of {size} is larger than the training split of {count} examples, "
            "and incomplete batches are skipped",
            expected=f"train.batch_size ≤ {count}, or train.drop_last = false",
            next_step=f"--set train.batch_size={count}",
        )
    return RequestError(
        f"the training split of {count} examples fills no batch of {size} {unit}, "
        "and incomplete batches are skipped",
        expected="a smaller train.batch_size, or train.drop_last = false",
        next_step="--set train.drop_last=false",
    )


def _finite(state: dict[str, Any]) -> bool:
    floats = (tensor for tensor in state.values() if tensor.is_floating_point())
    return all(bool(torch.isfinite(tensor).all()) for tensor in floats)


def _lay_out(model: nn.Module, layout: torch.memory_format) -> None:
    """Give convolution weights the layout of the activations; values do not change."""
    for parameter in model.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=layout)
