"""The contract of a task: data, loss and evaluation."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from llt_core.errors import DataError
from llt_core.interfaces.component import Component
from llt_core.interfaces.description import TaskDescription
from llt_core.interfaces.examples import Examples
from llt_core.interfaces.values import Batch
from llt_core.kinds import Kind

if TYPE_CHECKING:
    from torch import Tensor


class Task(Component):
    """A learning problem: where its data is, what the loss is, how to score outputs.

    ``split_policy`` states in one sentence how the splits are made; it is fixed, seeded
    and the same for everybody.
    """

    kind: ClassVar[Kind] = "task"
    split_policy: ClassVar[str]

    @abstractmethod
    def describe(self) -> TaskDescription:
        """Return shapes and kinds; never loads data, never imports torch."""

    def files(self, data_root: Path) -> tuple[Path, ...]:
        """Return the files that :meth:`datasets` reads (empty when nothing is read)."""
        return ()

    def pinned(self) -> bool:
        """Whether name, version and parameters alone determine the data.

        True when the task refuses every file that is not the published one. Otherwise
        the fingerprint of the files becomes part of each cell's identity, so that a
        result computed on other files can never be taken for this one.
        """
        return not self.files(Path())

    def prepare(self, data_root: Path) -> None:
        """Make sure the files are there and are the right ones; download if possible.

        Raises
        ------
        DataError
            Names the files that were looked for, where, and the ways on.
        """
        missing = [path for path in self.files(data_root) if not path.is_file()]
        if missing:
            raise DataError(
                f"{len(missing)} data file(s) of this task are missing: "
                + ", ".join(path.name for path in missing),
                where=str(data_root),
                expected="the files of the original distribution",
                next_step="put them there, or name another folder with --data-root",
            )

    def fingerprint(self, data_root: Path) -> str:
        """Return ``sha256:…`` over the names and contents of the files actually read."""
        total = hashlib.sha256()
        for path in self.files(data_root):
            status = path.stat()
            content = _file_sha256(path, status.st_size, status.st_mtime_ns)
            total.update(f"{path.name}\0{content}\n".encode())
        return f"sha256:{total.hexdigest()}"

    @abstractmethod
    def datasets(self, data_root: Path) -> Mapping[str, Examples]:
        """Load every split named by ``describe().splits`` into memory."""

    @abstractmethod
    def tiny(self) -> Mapping[str, Examples]:
        """Return a few offline examples of the right shapes and types, for tests."""

    @abstractmethod
    def loss(self, outputs: Any, batch: Batch) -> Tensor:
        """Return the mean loss of ``batch`` (a scalar averaging ``batch.weight`` terms)."""

    @abstractmethod
    def evaluate(self, outputs: Any, batch: Batch) -> Mapping[str, Tensor]:
        """Return per-term scores, each of shape ``(batch.weight,)``.

        Must contain ``"loss"`` (nats) and ``"correct"`` (0 or 1).
        """

    def logits(self, outputs: Any, batch: Batch) -> Tensor:
        """Return the logits of each term, shape ``(batch.weight, describe().outputs)``.

        The order is that of :meth:`evaluate`. The default takes outputs that have this shape.

        Raises
        ------
        TypeError
            The model returned something else.
        """
        shape = tuple(getattr(outputs, "shape", ()))
        if len(shape) != 2 or shape[0] != batch.weight:
            raise TypeError(
                f"the model gives {type(outputs).__name__} {shape} for {batch.weight} terms, "
                "expected one row of logits for each"
            )
        found: Tensor = outputs
        return found

    def owners(self, batch: Batch) -> Tensor | None:
        """Return the row of ``batch`` that each term belongs to, int64 ``(batch.weight,)``.

        Terms of one example (the tokens of a sentence) vary together, so that standard errors
        must count examples, not terms. None: every term is an example of its own. The default
        reads targets of one axis so, and of targets ``(B, T, …)`` takes the rows of those that
        are not padding, in row-major order; override it where terms are other than these.
        """
        import torch

        targets, padding = batch.targets, self.describe().padding
        if targets.ndim < 2:
            return None
        everything = torch.ones_like(targets, dtype=torch.bool)
        counted = everything if padding is None else targets != padding
        rows = counted.nonzero()[:, 0]
        return rows if len(rows) == batch.weight else None


@lru_cache(maxsize=256)
def _file_sha256(path: Path, size: int, mtime_ns: int) -> str:
    """Hash a file once per process, as long as its size and time stay the same."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
