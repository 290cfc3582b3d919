"""Snapshots of everything a plugin must leave alone, and how to compare them."""

from __future__ import annotations

import contextlib
import pickle
import random
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from llt_core.interfaces import Batch, Examples
from llt_core.interfaces.as_found import model_facts

if TYPE_CHECKING:
    from torch import Tensor, nn

State = dict[str, object]
"""What was seen, by a name that can stand in a sentence."""


def assert_sentence(text: object, what: str) -> None:
    """Check that ``text`` is one line of at least four words."""
    assert isinstance(text, str), f"{what} is {text!r}; it should be one sentence of text"
    assert len(text.split()) >= 4, f"{what} is {text!r}; say it in a whole sentence"
    assert "\n" not in text.strip(), f"{what} runs over several lines; make it one sentence"


def assert_unchanged(before: State, after: State, who: str, advice: str) -> None:
    """Check that two snapshots agree; otherwise name the first difference and what to do."""
    for name in before.keys() | after.keys():
        same = name in before and name in after and before[name] == after[name]
        assert same, f"{who} changed {name}: {advice}"


def tensor_bytes(tensor: Tensor | None) -> bytes | None:
    """Return the bits of a tensor, so that NaN equals NaN and 0 differs from −0."""
    import torch

    if tensor is None:
        return None
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().tobytes()


def random_state() -> State:
    """Return the global random state of torch, numpy and the standard library."""
    import numpy as np
    import torch

    return {
        "the global random state of torch": tensor_bytes(torch.get_rng_state()),
        "the global random state of numpy": pickle.dumps(np.random.get_state()),
        "the global random state of random": pickle.dumps(random.getstate()),
    }


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed all global generators for a while, then put them back."""
    import numpy as np
    import torch

    kept, kept_numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            np.random.seed(seed)
            random.seed(seed)
            yield
    finally:
        random.setstate(kept)
        np.random.set_state(kept_numpy)


def model_state(model: nn.Module) -> State:
    """Return values, gradients, flags, modes and hooks of every part of ``model``, in bits."""
    import torch

    facts = model_facts(model)
    return {k: tensor_bytes(v) if isinstance(v, torch.Tensor) else v for k, v in facts.items()}


def batch_state(batch: Batch, name: str) -> State:
    """Return the bits of inputs and targets of one batch."""
    inputs = batch.inputs
    if isinstance(inputs, Mapping):
        parts = list(inputs.values())
    else:
        parts = list(inputs) if isinstance(inputs, tuple) else [inputs]
    return {
        f"the inputs of {name}": [(tuple(part.shape), tensor_bytes(part)) for part in parts],
        f"the targets of {name}": (tuple(batch.targets.shape), tensor_bytes(batch.targets)),
    }


def splits_state(splits: Mapping[str, Examples]) -> State:
    """Return the bits of every example of every split."""
    import torch

    state: State = {}
    for name, examples in splits.items():
        everything = examples.batch(torch.arange(len(examples)))
        state |= batch_state(everything, f"the split {name!r}")
    return state


@contextlib.contextmanager
def empty_folder() -> Iterator[Path]:
    """Work in a new empty folder for a while."""
    with tempfile.TemporaryDirectory() as name, contextlib.chdir(name):
        yield Path(name)
