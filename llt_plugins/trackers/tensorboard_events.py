"""Event files for TensorBoard, written by its own library, without TensorFlow."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llt_plugins.trackers.facts import Point

if TYPE_CHECKING:
    from tensorboard.compat.proto.event_pb2 import Event

PATTERN = "events.out.tfevents.*"


def scalar(point: Point) -> Event:
    """Return the event of one number."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    value = Summary.Value(tag=point.name, simple_value=point.value)
    return Event(wall_time=point.time, step=point.step, summary=Summary(value=[value]))


def text(name: str, content: str, when: float) -> Event:
    """Return the event of a text in Markdown."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.plugins.text.summary_v2 import text_pb

    return Event(wall_time=when, summary=text_pb(name, content))


def session(
    values: Mapping[str, Any], group: str, start: float, end: float, *, succeeded: bool
) -> list[Event]:
    """Return the events that give an event file a row in the dashboard of hyperparameters.

    Files with one ``group`` share a row, so they should have the same ``values`` (numbers,
    texts, booleans).
    """
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import metadata
    from tensorboard.plugins.hparams.api_pb2 import Status
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo
    from tensorboard.plugins.hparams.summary_v2 import hparams_pb

    status = Status.STATUS_SUCCESS if succeeded else Status.STATUS_FAILURE
    ending = HParamsPluginData(session_end_info=SessionEndInfo(status=status, end_time_secs=end))
    value = Summary.Value(
        tag=metadata.SESSION_END_INFO_TAG,
        metadata=metadata.create_summary_metadata(ending),
        tensor=metadata.NULL_TENSOR,
    )
    begin = hparams_pb(values, trial_id=group, start_time_secs=start)
    return [
        Event(wall_time=start, summary=begin),
        Event(wall_time=end, summary=Summary(value=[value])),
    ]


def write(folder: Path, events: Iterable[Event]) -> None:
    """Make ``folder`` hold one event file, with these events.

    The file appears whole; what was there before goes after that.
    """
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.summary.writer.record_writer import RecordWriter

    folder.mkdir(exist_ok=True)
    old: Sequence[Path] = list(folder.glob(PATTERN))
    handle, hidden = tempfile.mkstemp(prefix=".", dir=folder)
    try:
        with os.fdopen(handle, "wb") as file:
            writer = RecordWriter(file)
            first = Event(wall_time=time.time(), file_version="brain.Event:2")
            for event in (first, *events):
                writer.write(event.SerializeToString())
        Path(hidden).chmod(0o644)
        # TensorBoard reads the files of a folder in the order of their names.
        Path(hidden).replace(folder / PATTERN.replace("*", f"{time.time_ns() // 10**6}.llt"))
    except BaseException:
        Path(hidden).unlink(missing_ok=True)
        raise
    for path in old:
        path.unlink(missing_ok=True)
