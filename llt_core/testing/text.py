"""What the kit does with batches of text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from llt_core.interfaces import Batch, TaskDescription

if TYPE_CHECKING:
    from torch import Tensor

_FEATURES = 8
_BEGIN, _END = 1, 2


def answer_to_text(task: TaskDescription, inputs: Mapping[str, Tensor]) -> Tensor:
    """Return what a model might answer to ``source`` and ``target``: logits ``(B, T, outputs)``.

    Those of a place follow from its target token and from the mean of the source tokens
    that are not padding, so that padding changes nothing elsewhere. Seeded; a new leaf.
    """
    import torch

    generator = torch.Generator().manual_seed(2)
    table = torch.randn(task.outputs, _FEATURES, generator=generator)
    last = torch.randn(_FEATURES, task.outputs, generator=generator) / _FEATURES**0.5
    source = inputs["source"]
    there = source.ne(_padding(task)).unsqueeze(-1)
    mean = (table[source] * there).sum(dim=1) / there.sum(dim=1)
    logits: Tensor = (table[inputs["target"]] + mean.unsqueeze(1)) @ last
    return logits.requires_grad_()


def fill_up(batch: Batch, task: TaskDescription, columns: int) -> Batch:
    """Return ``batch`` with ``columns`` more places of padding after every sentence."""
    from torch.nn.functional import pad

    assert isinstance(batch.inputs, Mapping), "text comes by keyword: source and target"
    padding = _padding(task)
    inputs = {name: pad(x, (0, columns), value=padding) for name, x in batch.inputs.items()}
    targets = pad(batch.targets, (0, columns), value=padding)
    return Batch(inputs, targets, batch.weight, batch.extra)


def check_text(who: str, task: TaskDescription, batch: Batch) -> None:
    """Check that ``batch`` holds tokens as ``task`` describes them."""
    import torch

    assert isinstance(batch.inputs, Mapping), f"{who}: text comes by keyword"
    assert set(batch.inputs) == {"source", "target"}, (
        f"{who}: the inputs are {', '.join(batch.inputs)}; expected source and target"
    )
    known, (longest,) = batch.inputs["target"], task.input_shape
    padding = _padding(task)
    for name, tokens in {**batch.inputs, "targets": batch.targets}.items():
        assert tokens.dtype == torch.int64, f"{who}: {name} has the type {tokens.dtype}"
        assert tokens.ndim == 2, f"{who}: {name} has shape {tuple(tokens.shape)}"
        assert tokens.shape[1] <= longest, (
            f"{who}: {name} has {tokens.shape[1]} tokens, describe() at most {longest}"
        )
        low, high = int(tokens.min()), int(tokens.max())
        assert 0 <= low <= high < task.outputs, f"{who}: {name} holds tokens {low} to {high}"
        there = tokens.ne(padding)
        ends_with_padding = bool((there[:, 1:] <= there[:, :-1]).all()) and bool(there[:, 0].all())
        assert ends_with_padding, f"{who}: in {name} padding stands before or between tokens"
    assert known.shape == batch.targets.shape, f"{who}: target and targets differ in shape"
    following = known[:, 1:].eq(padding) | (known[:, 1:] == batch.targets[:, :-1])
    assert following.all(), f"{who}: targets are not the tokens that follow those of target"
    assert known[:, 0].eq(_BEGIN).all(), f"{who}: a target does not begin with token {_BEGIN}"
    assert batch.targets.eq(_END).any(), f"{who}: no sentence ends with token {_END}"
    count = int(batch.targets.ne(padding).sum())
    assert batch.weight == count, f"{who}: the weight is {batch.weight} for {count} targets"


def _padding(task: TaskDescription) -> int:
    assert task.padding is not None, "say in describe() which token is padding"
    return task.padding
