"""Training one model: a plain loop over in-memory batches."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from llt_core.errors import RequestError
from llt_core.interfaces import Batch, Examples, Task, forward
from llt_core.spec import TrainingRecipe
from llt_core.store import Epoch
from llt_core.work.batchnorm import fast_batch_norm
from llt_core.work.narrow import guard
from llt_core.work.schedule import has_settled, rate_factor

Report = Callable[[int, int, str], None]


def _ignore(done: int, total: int, text: str) -> None:
    """Report progress to nobody."""


@dataclass
class Trained:
    """What came out: the state that counts as the model, or none if training diverged."""

    status: Literal["done", "diverged"]
    history: list[Epoch] = field(default_factory=list)
    state: dict[str, Any] | None = None
    epoch: int = 0


class Trainer:
    """Trains ``model`` in place on ``examples`` by ``recipe``.

    ``seed`` fixes the order of examples; the model's own randomness (dropout) follows the
    global generator, which the caller seeds.
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
    ) -> None:
        if recipe.drop_last and len(examples) < recipe.batch_size:
            raise RequestError(
                f"a batch of {recipe.batch_size} is larger than the training split "
                f"of {len(examples)} examples, and incomplete batches are skipped",
                expected=f"train.batch_size ≤ {len(examples)}, or train.drop_last = false",
                next_step=f"--set train.batch_size={len(examples)}",
            )
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        self.model = guard(model).to(device)
        _lay_out(self.model, self.layout)
        self.task, self.recipe, self.device = task, recipe, device
        self.examples = examples.to(device)
        self.order = torch.Generator().manual_seed(seed)
        self.optimizer = _optimizer(model, recipe, device)
        size, count = recipe.batch_size, len(examples)
        self.steps = count // size if recipe.drop_last else math.ceil(count / size)

    def run(self, report: Report) -> Trained:
        """Train to the end, to the early stop, or to the first epoch without a finite loss."""
        trained = Trained("done")
        best = math.inf
        losses: list[float] = []
        for epoch in range(1, self.recipe.epochs + 1):
            line = self.epoch(epoch, losses[-1] if losses else None, report)
            trained.history.append(line)
            if line.train_loss is None:
                return Trained("diverged", trained.history)
            losses.append(line.train_loss)
            if self.recipe.checkpoint == "best_train_loss" and line.train_loss < best:
                best = line.train_loss
                trained.state, trained.epoch = copy.deepcopy(self.model.state_dict()), epoch
            if has_settled(self.recipe, losses):
                break
        if trained.state is None:
            trained.state, trained.epoch = self.model.state_dict(), len(losses)
        if not _finite(trained.state):
            return Trained("diverged", trained.history)
        return trained

    def epoch(self, epoch: int, last_loss: float | None = None, report: Report = _ignore) -> Epoch:
        """Pass once over the data (``epoch`` counts from 1) and return its history line."""
        with fast_batch_norm(self.model):
            return self._pass(epoch, last_loss, report)

    def _pass(self, epoch: int, last_loss: float | None, report: Report) -> Epoch:
        start = time.perf_counter()
        text = f"epoch {epoch}/{self.recipe.epochs}"
        if last_loss is not None:
            text += f", loss {last_loss:.4f}"
        self.model.train()
        # Sums stay on the device until the end, so that steps need not wait for them.
        loss_sum = torch.zeros((), device=self.device)
        correct = torch.zeros((), device=self.device)
        weight = 0
        rate = 0.0
        for step, batch in enumerate(self._batches()):
            position = epoch - 1 + step / self.steps
            rate = self._set_rate(position)
            loss, outputs = self._step(batch)
            loss_sum += loss * batch.weight
            with torch.no_grad():
                correct += self.task.evaluate(outputs.float(), batch)["correct"].sum()
            weight += batch.weight
            report(
                int(1000 * (position + 1 / self.steps)),
                1000 * self.recipe.epochs,
                text,
            )
        loss_mean = float(loss_sum) / max(weight, 1)
        finite = math.isfinite(loss_mean)
        return Epoch(
            epoch=epoch,
            learning_rate=rate,
            train_loss=loss_mean if finite else None,
            train_accuracy=100.0 * float(correct) / max(weight, 1) if finite else None,
            seconds=time.perf_counter() - start,
        )

    def _batches(self) -> Iterator[Batch]:
        recipe = self.recipe
        for index in self.examples.slices(
            recipe.batch_size, generator=self.order, drop_last=recipe.drop_last
        ):
            batch = self.examples.batch(index)
            inputs = batch.inputs
            if isinstance(inputs, Tensor) and inputs.ndim == 4:
                inputs = inputs.contiguous(memory_format=self.layout)
                batch = Batch(inputs, batch.targets, batch.weight, batch.extra)
            yield batch

    def _step(self, batch: Batch) -> tuple[Tensor, Any]:
        half = self.recipe.dtype == "bfloat16"
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=half):
            outputs = forward(self.model, batch)
            loss = self.task.loss(outputs, batch)
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        self.optimizer.step()
        return loss.detach(), outputs.detach()

    def _set_rate(self, position: float) -> float:
        # Warm-up is counted from the end of the step, or the first step would do nothing.
        if position < self.recipe.warmup_epochs:
            position = min(position + 1 / self.steps, self.recipe.warmup_epochs)
        rate = self.recipe.learning_rate * rate_factor(self.recipe, position)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        return rate


def _optimizer(
    model: nn.Module, recipe: TrainingRecipe, device: torch.device
) -> torch.optim.Optimizer:
    parameters = [p for p in model.parameters() if p.requires_grad]
    fused = device.type in ("cpu", "cuda")
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(
            parameters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=fused
        )
    return torch.optim.SGD(
        parameters,
        lr=recipe.learning_rate,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        fused=fused,
    )


def _finite(state: dict[str, Any]) -> bool:
    floats = (tensor for tensor in state.values() if tensor.is_floating_point())
    return all(bool(torch.isfinite(tensor).all()) for tensor in floats)


def _lay_out(model: nn.Module, layout: torch.memory_format) -> None:
    """Give convolution weights the layout of the activations; values do not change."""
    for parameter in model.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=layout)
