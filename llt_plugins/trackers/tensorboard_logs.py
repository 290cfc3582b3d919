"""A tracker that writes event files for TensorBoard."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any, ClassVar

from pydantic import PrivateAttr

from llt_core.interfaces import Tracker, composition_columns, parameter
from llt_core.plugins import hookimpl
from llt_plugins.trackers import tensorboard_events as events
from llt_plugins.trackers.facts import ended, points

LONGEST_NAME = 150


class TensorBoardLogs(Tracker):
    """One folder for each cell that is computed, written when the cell has ended.

    ``TO/SWEEP/CELL`` holds one event file: loss, accuracy and learning rate of a training by
    epoch, or the measurements and, as ``NAME.standard_error``, how sure they are. In the
    dashboard of hyperparameters everything that was measured on a model stands in the row of
    that model. A cell that failed has its message as text.

    A file appears whole, and takes the place of what an earlier computation of the same cell
    left. Cells that were in the store already are not written again.
    """

    summary: ClassVar[str] = "Event files for TensorBoard, one folder a cell"

    to: str = parameter(
        "runs", description="Folder in which each sweep has its own; those of llt run are in llt"
    )

    _folder: Path | None = PrivateAttr(None)

    @hookimpl
    def llt_sweep_started(self, summary: dict[str, Any]) -> None:
        """Make the folder, if there is anything to write."""
        self._folder = None
        if any(summary["todo"].values()):
            for module in ("tensorboard", "tensorboard.summary.writer.record_writer"):
                importlib.import_module(module)  # or say now what is missing
            folder = Path(self.to) / (summary["name"] or "llt")
            folder.mkdir(parents=True, exist_ok=True)
            self._folder = folder.absolute()

    @hookimpl
    def llt_cell_finished(self, digest: str, kind: str, label: str, record: dict[str, Any]) -> None:
        """Write the file of a cell that has a result."""
        if self._folder is None:
            return
        end = ended(record["provenance"]["finished"])
        row = events.session(
            _values(record["composition"]),
            _group(digest, record["cell"]),
            end - record["seconds"],
            end,
            succeeded=True,
        )
        folder = self._folder / folder_name(label, digest)
        events.write(folder, [*row, *map(events.scalar, points(record))])

    @hookimpl
    def llt_cell_failed(
        self, digest: str, label: str, composition: dict[str, Any], failure: dict[str, Any]
    ) -> None:
        """Write the file of a cell that has none."""
        if self._folder is None:
            return
        end = ended(failure["time"])
        group = _group(digest, failure["cell"])
        row = events.session(_values(composition), group, end, end, succeeded=False)
        said = f"{failure['kind']}: {failure['message']}\n\n```\n{failure['traceback']}\n```"
        folder = self._folder / folder_name(label, digest)
        events.write(folder, [*row, events.text("failure", said, end)])


def folder_name(label: str, digest: str) -> str:
    """Return the name of a cell's folder, which TensorBoard shows as that of the run.

    >>> folder_name("cka(samples=64) seed 0+1 (a/b=2)", "c98cb7a1d4")
    'cka(samples=64) seed 0+1 (a_b=2) c98cb7a1'
    """
    return re.sub(r"[^\w .,=+()-]", "_", label)[:LONGEST_NAME].strip(" .") + f" {digest[:8]}"


def _group(digest: str, cell: dict[str, Any]) -> str:
    """Return what a training shares with all that is measured on that model alone."""
    return "+".join(model[:8] for model in cell.get("models", [digest]))


def _values(composition: dict[str, Any]) -> dict[str, Any]:
    """Return what a training and its measurements have in common."""
    shared = {key: value for key, value in composition.items() if key != "metric"}
    return {name: v for name, v in composition_columns(shared).items() if v is not None}
