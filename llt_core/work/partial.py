"""Mid-training checkpoints: how far a training has come, so that a killed one goes on there."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from llt_core.spec import ComputeSettings
from llt_core.store import Epoch, Store
from llt_core.store.partials import drop_partial, partial_file, put_partial
from llt_core.version import __version__
from llt_core.work.log import CellLog
from llt_core.work.snapshot import Snapshot, put_back, take
from llt_core.work.trainer import Trainer

PARTIAL_FORMAT = 1


@dataclass
class Partial:
    """The checkpoints of one cell's training, each in place of the one before.

    Attributes
    ----------
    resumed
        At which epoch (fractions included) this training was taken up again, each time.
    before
        Seconds that earlier processes had spent until then.
    """

    store: Store
    digest: str
    compute: ComputeSettings
    log: CellLog
    resumed: list[float] = field(default_factory=list)
    before: float = 0.0

    def __post_init__(self) -> None:
        self._start = time.perf_counter()
        self._saved = time.monotonic()
        self._identity: dict[str, Any] = {}

    @property
    def seconds(self) -> float:
        """Seconds spent on the training so far."""
        return self.before + time.perf_counter() - self._start

    def resume(self, trainer: Trainer, data: str, *, anew: bool = False) -> None:
        """Bring ``trainer`` to where the checkpoint was taken; one that is of no use is told.

        Parameters
        ----------
        data
            Fingerprint of the data files.
        anew
            Forget the checkpoint instead.
        """
        # What must be equal. Recipe, dtype and the versions of all components are in the digest.
        self._identity = {
            "format": PARTIAL_FORMAT,
            "cell": self.digest,
            "data": data,
            "llt": __version__,
            "torch": str(torch.__version__),
            "device": trainer.device.type,
            "memory_format": self.compute.memory_format,
        }
        if anew:
            self.drop()
            return
        try:
            found = _read(partial_file(self.store, self.digest))
        except Exception as error:  # damaged, or written by something else: no reason to fail
            self._refuse(f"it cannot be read ({type(error).__name__}: {error})")
            return
        if found is None:
            return
        if found.facts["identity"] != self._identity:
            self._refuse(f"it is of {found.facts['identity']}, and this is {self._identity}")
            return
        beginning = take(trainer)
        try:
            put_back(trainer, found)
        except Exception as error:  # a network that is built otherwise, or a change of torch
            put_back(trainer, beginning)
            self._refuse(f"it does not fit ({type(error).__name__}: {error})")
            return
        self.before = found.facts["seconds"]
        self.resumed = [*found.facts["resumed"], position(trainer)]
        self.log.note(f"goes on at epoch {self.resumed[-1]:g}, after {self.before:.0f} s")

    def _refuse(self, why: str) -> None:
        self.log.note(f"begins anew, the checkpoint is of no use: {why}")

    def watch(self, trainer: Trainer, line: Epoch | None) -> None:
        """Write a checkpoint if it is time: after a step, or (with its line) after an epoch."""
        if self.compute.checkpoint_epochs:
            due = line is not None and line.epoch % self.compute.checkpoint_epochs == 0
        else:
            every = 60.0 * self.compute.checkpoint_minutes
            due = every > 0 and time.monotonic() - self._saved >= every
        if due:
            self.save(trainer)
        if line is not None and line.train_loss is not None:
            accuracy = (
                "" if line.train_accuracy is None else f", accuracy {line.train_accuracy:.2f} %"
            )
            self.log.routine(
                f"epoch {line.epoch}: loss {line.train_loss:.4f}{accuracy}, "
                f"rate {line.learning_rate:.3g}, {line.seconds:.1f} s"
            )

    def save(self, trainer: Trainer) -> None:
        """Write a checkpoint; where that cannot be done, training goes on without."""
        start = time.perf_counter()
        try:
            self._write(take(trainer))
            took = time.perf_counter() - start
            self.log.note(f"checkpoint at epoch {position(trainer):g} ({took:.2f} s)")
        except Exception as error:  # a full disk, above all; in as many words as libraries have
            self.log.note(f"no checkpoint: {type(error).__name__}: {error}")
        self._saved = time.monotonic()

    def drop(self) -> None:
        """Remove what was kept."""
        drop_partial(self.store, self.digest)

    def _write(self, snapshot: Snapshot) -> None:
        own = {"identity": self._identity, "seconds": self.seconds, "resumed": self.resumed}
        facts = json.dumps(snapshot.facts | own)
        check = _checksum(snapshot.tensors, facts)
        with self.store.staging(self.digest) as folder:
            file = folder / "state.safetensors"
            save_file(snapshot.tensors, file, {"facts": facts, "sha256": check})
            put_partial(self.store, self.digest, file)


def position(trainer: Trainer) -> float:
    """Return the epochs that are done, to hundredths."""
    under_way = trainer.under_way
    part = 0.0 if under_way is None else under_way.steps / trainer.steps
    return round(len(trainer.trained.history) + part, 2)


def _read(file: Path) -> Snapshot | None:
    """Return what ``file`` holds, or None if it does not exist.

    Raises
    ------
    Exception
        It is not a whole checkpoint.
    """
    if not file.exists():
        return None
    with safe_open(file, framework="pt") as content:
        told = content.metadata()
        # Copies: what is read stays as it is, whatever becomes of the file.
        names = content.keys()
        tensors = {name: content.get_tensor(name).clone() for name in names}
    if _checksum(tensors, told["facts"]) != told["sha256"]:
        raise ValueError("its content is not what was written")
    return Snapshot(tensors, json.loads(told["facts"]))


def _checksum(tensors: Mapping[str, Tensor], facts: str) -> str:
    total = hashlib.sha256(facts.encode())
    for name, tensor in sorted(tensors.items()):
        total.update(f"\0{name} {tensor.dtype} {tuple(tensor.shape)}\0".encode())
        total.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()
