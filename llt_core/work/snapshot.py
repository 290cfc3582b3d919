"""All that the rest of a training depends on: taken from a trainer, and put into another.

What a network keeps outside its parameters and buffers is not part of it.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from llt_core.store import Epoch
from llt_core.work.trainer import Pass, Trainer


@dataclass(frozen=True)
class Snapshot:
    """The state of a training between two steps.

    Attributes
    ----------
    tensors
        Contiguous copies on the CPU; names begin with the kind: ``model.``, ``optimizer.``,
        ``best.``, ``pass.``, ``random.``.
    facts
        The rest: JSON.
    """

    tensors: dict[str, Tensor]
    facts: dict[str, Any]

    def part(self, kind: str) -> dict[str, Tensor]:
        """Return the tensors of one kind, by their names within it."""
        prefix = f"{kind}."
        return {
            name.removeprefix(prefix): tensor
            for name, tensor in self.tensors.items()
            if name.startswith(prefix)
        }


def take(trainer: Trainer) -> Snapshot:
    """Return the state of ``trainer``; call it between two steps."""
    now = trainer.under_way
    tensors = {
        "model": _weights(trainer),
        "optimizer": _slots(trainer),
        "best": trainer.trained.state or {},
        "pass": {} if now is None else {"order": now.order, "loss": now.loss, "right": now.correct},
        "random": _generators(trainer),
    }
    return Snapshot(
        {
            f"{kind}.{name}": _copy(tensor)
            for kind, part in tensors.items()
            for name, tensor in part.items()
        },
        {
            "taken": trainer.taken,
            "history": [line.model_dump() for line in trainer.trained.history],
            "best_epoch": trainer.trained.epoch,
            "pass": now
            and {
                "seconds": time.perf_counter() - now.start,
                "steps": now.steps,
                "weight": now.weight,
                "rate": now.rate,
            },
            "python": _plain(random.getstate()),
            "numpy": _plain(np.random.get_state(legacy=True)),
        },
    )


def put_back(trainer: Trainer, snapshot: Snapshot) -> None:
    """Bring ``trainer`` into the state that was taken from one like it.

    Raises
    ------
    ValueError
        The one it was taken from was another; ``trainer`` may be left between the two.
    """
    own, slots, best = _weights(trainer), snapshot.part("optimizer"), snapshot.part("best")
    _check("network", own, snapshot.part("model"))
    _check("best network", trainer.model.state_dict() if best else {}, best)
    _check("randomness", _generators(trainer), snapshot.part("random"))
    with torch.no_grad():
        for name, tensor in snapshot.part("model").items():
            own[name].copy_(tensor)
    _fill_optimizer(trainer, slots)
    facts, under_way = snapshot.facts, snapshot.part("pass")
    trainer.taken = facts["taken"]
    trainer.trained.history[:] = [Epoch.model_validate(line) for line in facts["history"]]
    trainer.trained.epoch = facts["best_epoch"]
    on_device = {name: tensor.to(trainer.device) for name, tensor in best.items()}
    trainer.trained.state = on_device or None
    trainer.under_way = None
    if facts["pass"] is not None:
        trainer.under_way = Pass(
            order=under_way["order"],
            loss=under_way["loss"].to(trainer.device),
            correct=under_way["right"].to(trainer.device),
            start=time.perf_counter() - facts["pass"]["seconds"],
            steps=facts["pass"]["steps"],
            weight=facts["pass"]["weight"],
            rate=facts["pass"]["rate"],
        )
    _fill_generators(trainer, snapshot.part("random"), facts)


def _weights(trainer: Trainer) -> dict[str, Tensor]:
    """Return parameters and buffers by name, tied ones once."""
    model = trainer.model
    return {name: x.detach() for name, x in (*model.named_parameters(), *model.named_buffers())}


def _slots(trainer: Trainer) -> dict[str, Tensor]:
    """Return what the optimiser keeps of each parameter: all of it tensors, in ours."""
    state = trainer.optimizer.state_dict()["state"]
    return {
        f"{number}.{name}": value
        for number, values in state.items()
        for name, value in values.items()
        if value is not None
    }


def _fill_optimizer(trainer: Trainer, slots: Mapping[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in slots.items():
        number, _, name = key.partition(".")
        like = trainer.parameters[int(number)]
        if tensor.shape == like.shape:
            # In the layout of its parameter: fused kernels walk over both in one order.
            tensor = torch.empty_like(like, dtype=tensor.dtype).copy_(tensor)
        state.setdefault(int(number), {})[name] = tensor
    full = trainer.optimizer.state_dict()
    trainer.optimizer.load_state_dict({"state": state, "param_groups": full["param_groups"]})


def _generators(trainer: Trainer) -> dict[str, Tensor]:
    """Return the states of all torch generators that training draws from."""
    states = {"order": trainer.order.get_state(), "torch": torch.get_rng_state()}
    for place, change in enumerate(trainer.changes):
        states[f"change{place}"] = change.generator.get_state()
    if trainer.device.type == "cuda":
        states["device"] = torch.cuda.get_rng_state(trainer.device)
    elif trainer.device.type == "mps":
        states["device"] = torch.mps.get_rng_state()
    return states


def _fill_generators(
    trainer: Trainer, states: Mapping[str, Tensor], facts: Mapping[str, Any]
) -> None:
    trainer.order.set_state(states["order"])
    for place, change in enumerate(trainer.changes):
        change.generator.set_state(states[f"change{place}"])
    if trainer.device.type == "cuda":
        torch.cuda.set_rng_state(states["device"], trainer.device)
    elif trainer.device.type == "mps":
        torch.mps.set_rng_state(states["device"])
    torch.set_rng_state(states["torch"])
    version, numbers, gauss = facts["python"]
    random.setstate((version, tuple(numbers), gauss))
    kind, keys, *rest = facts["numpy"]
    np.random.set_state((kind, np.array(keys, dtype=np.uint32), *rest))


def _copy(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", copy=True).contiguous()


def _plain(state: Any) -> Any:
    """Return the state of a generator as JSON."""
    if isinstance(state, np.ndarray):
        return state.tolist()
    return [_plain(part) for part in state] if isinstance(state, tuple) else state


def _check(what: str, own: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    if _shapes(own.items()) != _shapes(found.items()):
        raise ValueError(f"the {what} is another one")


def _shapes(tensors: Iterable[tuple[str, Tensor]]) -> dict[str, Any]:
    return {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in tensors}
