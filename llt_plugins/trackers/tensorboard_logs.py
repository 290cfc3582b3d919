"""A tracker that writes event files for TensorBoard."""

from __future__ import annotations

import re
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import PrivateAttr

from llt_core.interfaces import Tracker, composition_columns, parameter
from llt_core.plugins import hookimpl
from llt_plugins.trackers.facts import Point, ended, points

if TYPE_CHECKING:
    from tensorboard.compat.proto.event_pb2 import Event

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
            import tensorboard.summary.writer.record_writer  # noqa: F401  # or say what is missing

            folder = Path(self.to) / (summary["name"] or "llt")
            folder.mkdir(parents=True, exist_ok=True)
            self._folder = folder.absolute()

    @hookimpl
    def llt_cell_finished(self, digest: str, kind: str, label: str, record: dict[str, Any]) -> None:
        """Write the file of a cell that has a result."""
        models = record["cell"]["models"] if kind == "measure" else [digest]
        end = ended(record["provenance"]["finished"])
        known = list(points(record))
        events = [_scalar(point) for point in known]
        start = end - record["seconds"]
        session = _session(record["composition"], models, start, end, succeeded=True)
        self._write(digest, label, [*session, *events])

    @hookimpl
    def llt_cell_failed(
        self, digest: str, label: str, composition: dict[str, Any], failure: dict[str, Any]
    ) -> None:
        """Write the file of a cell that has none."""
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.plugins.text.summary_v2 import text_pb

        cell, end = failure["cell"], ended(failure["time"])
        models = cell["models"] if cell["kind"] == "measure" else [digest]
        session = _session(composition, models, end, end, succeeded=False)
        text = f"{failure['kind']}: {failure['message']}\n\n```\n{failure['traceback']}\n```"
        told = Event(wall_time=end, summary=text_pb("failure", text))
        self._write(digest, label, [*session, told])

    def _write(self, digest: str, label: str, events: list[Event]) -> None:
        """Put ``events`` into a file that replaces those of the cell."""
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.summary.writer.record_writer import RecordWriter

        if self._folder is None:
            return
        folder = self._folder / folder_name(label, digest)
        folder.mkdir(exist_ok=True)
        old = list(folder.glob("events.out.tfevents.*"))
        # Hidden files are no event files, so that a reader sees all or nothing.
        handle, hidden = tempfile.mkstemp(prefix=".", dir=folder)
        try:
            with open(handle, "wb") as file:
                writer = RecordWriter(file)
                first = Event(wall_time=time.time(), file_version="brain.Event:2")
                for event in (first, *events):
                    writer.write(event.SerializeToString())
            Path(hidden).chmod(0o644)
            # TensorBoard reads the files of a folder in the order of their names.
            Path(hidden).replace(folder / f"events.out.tfevents.{time.time_ns() // 10**6}.llt")
        except BaseException:
            Path(hidden).unlink(missing_ok=True)
            raise
        for path in old:
            path.unlink(missing_ok=True)


def folder_name(label: str, digest: str) -> str:
    """Return the name of a cell's folder, which TensorBoard shows as that of the run.

    >>> folder_name("cka(samples=64) seed 0+1 (a/b=2)", "c98cb7a1d4")
    'cka(samples=64) seed 0+1 (a_b=2) c98cb7a1'
    """
    return re.sub(r"[^\w .,=+()-]", "_", label)[:LONGEST_NAME].strip(" .") + f" {digest[:8]}"


def _session(
    composition: dict[str, Any], models: list[str], start: float, end: float, *, succeeded: bool
) -> list[Event]:
    """Return the events that give a cell a row in the dashboard of hyperparameters.

    Cells with one session group share a row: what is measured on a model stands beside its
    training. So they must have the same hyperparameters, and none of a metric.
    """
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.plugins.hparams.api_pb2 import Status
    from tensorboard.plugins.hparams.summary import session_end_pb
    from tensorboard.plugins.hparams.summary_v2 import hparams_pb

    shared = {key: value for key, value in composition.items() if key != "metric"}
    values = composition_columns(shared)
    known = {name: value for name, value in values.items() if value is not None}
    begin = hparams_pb(known, trial_id="+".join(d[:8] for d in models), start_time_secs=start)
    status = Status.STATUS_SUCCESS if succeeded else Status.STATUS_FAILURE
    return [
        Event(wall_time=start, summary=begin),
        Event(wall_time=end, summary=session_end_pb(status, end)),
    ]


def _scalar(point: Point) -> Event:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    value = Summary.Value(tag=point.name, simple_value=point.value)
    return Event(wall_time=point.time, step=point.step, summary=Summary(value=[value]))
