"""What a metric is given: models, data, loss and randomness, and nothing of the engine."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar, cast

from llt_core.errors import RequestError
from llt_core.interfaces.examples import Examples
from llt_core.interfaces.layers import children, token_embeddings
from llt_core.interfaces.task import Task
from llt_core.interfaces.values import Batch, forward

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


Value = TypeVar("Value")

_LOGITS = 1 << 25
"""Numbers that the outputs for one batch of texts may hold: 128 MB in float32."""


def _ignore(done: int, total: int) -> None:
    """Report progress to nobody."""


@dataclass
class MeasureContext:
    """Everything a metric may use.

    Attributes
    ----------
    task
        The task the models were trained on.
    models
        One, two or K trained models in eval mode, by the metric's scope.
    splits
        The data as the models saw it: a perturbed training split stays perturbed.
    seed
        Seed of this measurement's own randomness (probe vectors, start vectors).
    sample_seed
        Seed of the choice of samples, the same for all models of a cell.
    device, dtype
        Where the models are, and the floating-point type of batches (None: float32).
    report
        Call ``report(done, total)`` now and then; the progress line shows it.
    probe
        Names the layers of a model that are worth comparing, in forward order.
    embed
        Names the layers of a model that turn tokens into vectors; none for images.
    halvings
        How often :meth:`at_once` halves what it is asked for: memory ran out with more.
    memories
        What :meth:`remember` keeps, one mapping for each model.
    """

    task: Task
    models: tuple[nn.Module, ...]
    splits: Mapping[str, Examples]
    seed: int = 0
    sample_seed: int = 0
    device: torch.device | str = "cpu"
    dtype: torch.dtype | None = None
    report: Callable[[int, int], None] = _ignore
    probe: Callable[[nn.Module], list[str]] = children
    embed: Callable[[nn.Module], list[str]] = token_embeddings
    halvings: int = 0
    memories: tuple[dict[Hashable, Any], ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        if not self.memories:
            self.memories = tuple({} for _ in self.models)

    @property
    def model(self) -> nn.Module:
        """The model of a metric whose scope is one model."""
        return self.models[0]

    def fresh(self, seed: int, report: Callable[[int, int], None] = _ignore) -> MeasureContext:
        """Return the context of another measurement on the same models, sharing their memory."""
        return replace(self, seed=seed, report=report)

    def restricted(self, chosen: Sequence[int]) -> MeasureContext:
        """Return the context of some of the models, by position, sharing their memory."""
        return replace(
            self,
            models=tuple(self.models[index] for index in chosen),
            memories=tuple(self.memories[index] for index in chosen),
        )

    def remember(self, key: Hashable, compute: Callable[[], Value], model_index: int = 0) -> Value:
        """Return ``compute()``, which runs once for one key and model while they are in memory.

        All metrics measured in one job share it, and all pairs and sets a model is part of.
        So that no result depends on what was measured beside it, the value may follow from
        the key, the model, the data and ``sample_seed`` only, never from ``seed``; every
        parameter that matters belongs into the key.
        """
        memory = self.memories[model_index]
        if key not in memory:
            memory[key] = compute()
        return cast(Value, memory[key])

    def probes(self, model_index: int = 0) -> list[str]:
        """Return the names of the layers to compare, in forward order."""
        return self.probe(self.models[model_index])

    def embeddings(self, model_index: int = 0) -> list[str]:
        """Return the names of the layers that turn tokens into vectors."""
        return self.embed(self.models[model_index])

    @property
    def counted(self) -> str:
        """What the mean loss averages over, for :attr:`Measurement.counted`."""
        return "tokens" if self.task.describe().modality == "text" else "samples"

    def generator(self) -> torch.Generator:
        """Return a fresh CPU generator seeded for this measurement.

        Draw on the CPU and move to the device: the numbers are then the same everywhere.
        """
        import torch

        return torch.Generator().manual_seed(self.seed)

    def sample_generator(self, purpose: str) -> torch.Generator:
        """Return a fresh CPU generator that is the same for all models of a cell.

        Different purposes get independent numbers.
        """
        import torch

        digest = hashlib.sha256(f"{self.sample_seed} {purpose}".encode()).digest()
        return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)

    def examples(self, split: str, samples: int | None = None) -> Examples:
        """Return ``samples`` seeded examples of ``split`` (all of them when None or too many)."""
        import torch

        if split not in self.splits:
            raise RequestError(
                f"there is no split called {split!r}",
                expected=f"one of {', '.join(self.splits)}",
            )
        examples = self.splits[split]
        if len(examples) == 0:
            raise RequestError(f"the split {split!r} is empty", expected="at least one example")
        if samples is None or samples >= len(examples):
            return examples
        generator = torch.Generator().manual_seed(self.sample_seed)
        chosen = torch.randperm(len(examples), generator=generator)[:samples]
        return examples.subset(chosen.sort().values)

    def at_once(self, batch_size: int) -> int:
        """Return how many of ``batch_size`` examples pass a model together.

        All images; fewer texts where their logits would take more than 128 MB; and half, a
        quarter … of these after memory ran out. Where it matters which examples make up a batch
        (statistics of batch normalisation), this is not to be asked.
        """
        described = self.task.describe()
        if described.modality == "text":
            batch_size = min(batch_size, _LOGITS // (described.input_shape[0] * described.outputs))
        return max(1, batch_size >> self.halvings)

    def chunks(
        self, split: str, samples: int | None = None, batch_size: int = 512
    ) -> Iterator[Batch]:
        """Yield seeded samples of ``split`` in order, as batches on the device.

        The terms of all batches then come in the order of their examples, however those bucket
        their own batches. See :meth:`at_once` for how many a batch holds.
        """
        for _, batch in self._chunks(split, samples, batch_size):
            yield batch

    def _chunks(
        self, split: str, samples: int | None, batch_size: int
    ) -> Iterator[tuple[int, Batch]]:
        """Yield each batch after the number of its first example."""
        import torch

        examples = self.examples(split, samples)
        for index in torch.split(torch.arange(len(examples)), self.at_once(batch_size)):
            yield int(index[0]), examples.batch(index).to(self.device, self.dtype)

    def batches(self, split: str, samples: int | None = None, batch_size: int = 256) -> list[Batch]:
        """Return seeded samples of ``split`` as a fixed list of micro-batches on the device."""
        return list(self.chunks(split, samples, batch_size))

    def owners(self, split: str, samples: int | None = None) -> Tensor | None:
        """Return the example that each term of a pass belongs to: int64, CPU, ``(T,)``, ascending.

        None: every term is an example of its own (see :meth:`Task.owners`). Terms are in the
        order of :meth:`scores` and :meth:`chunks`.
        """
        return self.remember(("owners", split, samples), lambda: self._own(split, samples))

    def _own(self, split: str, samples: int | None) -> Tensor | None:
        import torch

        parts = []
        for first, batch in self._chunks(split, samples, 512):
            rows = self.task.owners(batch)
            if rows is None:
                return None
            parts.append(first + rows.cpu())
        return torch.cat(parts)

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the mean loss of ``model`` on ``batch``, differentiable."""
        return self.task.loss(forward(model, batch), batch)

    def scores(self, split: str, model_index: int = 0, batch_size: int = 512) -> dict[str, Tensor]:
        """Return per-term scores of one model over a whole split, computed once.

        Keys are those of :meth:`Task.evaluate`; each tensor has shape ``(T,)`` in float64
        on the CPU, example after example. Metrics measured together share the pass; each gets a
        copy of its own.
        """
        scored = self.remember(
            ("scores", split), lambda: self._score(split, model_index, batch_size), model_index
        )
        return {name: values.clone() for name, values in scored.items()}

    def _score(self, split: str, model_index: int, batch_size: int) -> dict[str, Tensor]:
        import torch

        model, count = self.models[model_index], len(self.examples(split))
        parts: dict[str, list[Any]] = {}
        with torch.no_grad():
            for first, batch in self._chunks(split, None, batch_size):
                scored = self.task.evaluate(forward(model, batch), batch)
                for name, values in scored.items():
                    parts.setdefault(name, []).append(values.double().cpu())
                self.report(min(first + batch_size, count), count)
        return {name: torch.cat(values) for name, values in parts.items()}
