"""What becomes of cells, and who wants to hear of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from llt_core.interfaces import FailureKind, Progress
from llt_core.store import Record
from llt_core.sweep.plan import PlannedCell

Origin = Literal["cached", "new", "failed", "blocked"]


@dataclass(frozen=True)
class CellResult:
    """What became of one cell: its record, or why there is none."""

    planned: PlannedCell
    origin: Origin
    record: Record | None = None
    message: str = ""
    failure: FailureKind | None = None
    failure_file: Path | None = None


class Listener:
    """Hears of progress; the default ignores it. Command lines draw it."""

    def noted(self, text: str) -> None:
        """Hear of something the user may want to know."""

    def planned(self, todo: list[PlannedCell], cached: int) -> None:
        """Hear which cells will be computed and how many were already there."""

    def blocked(self, result: CellResult) -> None:
        """Hear of a measurement that was not to do, because its model had diverged before."""

    def waiting(self, text: str) -> None:
        """Hear that nothing can start here because others compute it: at once, and now and then."""

    def started(self, cells: Sequence[PlannedCell]) -> None:
        """Hear that a job was submitted which computes these cells."""

    def progress(self, progress: Progress) -> None:
        """Hear how far a running job is; its id is the digest of a cell."""

    def retrying(self, result: CellResult, attempt: int) -> None:
        """Hear that a cell failed for an outside cause and will be tried again."""

    def finished(self, result: CellResult) -> None:
        """Hear that a cell ended, well or not."""
