"""Sending one run to MLflow, in few requests and with an end to every wait."""

from __future__ import annotations

import importlib
import logging
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from llt_plugins.trackers.facts import Point

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

LONGEST_TEXT = 500
"""Characters of a parameter; servers before MLflow 2.12 take no more."""
LONGEST_TAG = 5000
MOST_TEXTS, MOST_NUMBERS = 100, 800
"""Of one request: MLflow takes 100 parameters, 1,000 numbers, and 1,000 of both together."""
REJECTED = {
    "BAD_REQUEST",
    "INVALID_PARAMETER_VALUE",
    "INVALID_STATE",
    "PERMISSION_DENIED",
    "RESOURCE_ALREADY_EXISTS",
    "RESOURCE_DOES_NOT_EXIST",
}
"""Answers that will be the same the next time."""
SQLITE = "sqlite:///"

Item = TypeVar("Item")


@dataclass
class CellRun:
    """What MLflow is told of one cell; ``id`` is the run's, once it has been made."""

    name: str
    start: float
    end: float
    status: Literal["FINISHED", "FAILED"]
    parameters: dict[str, str]
    points: tuple[Point, ...] = ()
    tags: dict[str, str] = field(default_factory=dict)
    id: str = ""


@contextmanager
def patient(timeout: int) -> Iterator[None]:
    """Let MLflow wait ``timeout`` seconds at most, say nothing, and leave nothing changed.

    What the user has set in the environment stands. What goes wrong is raised, so its logs,
    with a traceback for every error, would only get into the display of progress.
    """
    wanted = {
        "MLFLOW_HTTP_REQUEST_TIMEOUT": str(timeout),
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_CONFIGURE_LOGGING": "false",
    }
    added = {name: value for name, value in wanted.items() if name not in os.environ}
    os.environ.update(added)
    loggers = [logging.getLogger(name) for name in ("mlflow", "alembic")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def connect(target: str) -> MlflowClient:
    """Return a client; a plain name of a file stands for an SQLite database.

    Relative paths are made absolute: MLflow keeps a database open under the name it was given,
    wherever the working folder is by then.
    """
    import mlflow
    from mlflow.tracking import MlflowClient

    target = target or mlflow.get_tracking_uri()
    if "://" not in target and Path(target).suffix in (".db", ".sqlite", ".sqlite3"):
        target = SQLITE + target
    if target.startswith(SQLITE):
        target = SQLITE + str(Path(target.removeprefix(SQLITE)).absolute())
        for module in ("sqlalchemy", "alembic"):  # without them MLflow's error speaks of models
            importlib.import_module(module)
    return MlflowClient(target)


def experiment(client: MlflowClient, name: str) -> str:
    """Return the id of the experiment called ``name``, which is made if it is not there."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name))
        except MlflowException:  # another driver made it in between
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    return str(found.experiment_id)


def send(client: MlflowClient, experiment_id: str, run: CellRun) -> None:
    """Tell all of one run; a second try goes on where the first one failed.

    The run gets its times and its status last, so that one that is told in part shows as
    running.
    """
    from mlflow.entities import Metric, Param

    if not run.id:
        tags = {_key(name): text[:LONGEST_TAG] for name, text in run.tags.items()}
        made = client.create_run(
            experiment_id, start_time=_milliseconds(run.start), tags=tags, run_name=run.name
        )
        run.id = made.info.run_id
    texts = [Param(_key(name), _short(text)) for name, text in run.parameters.items()]
    numbers = [Metric(_key(p.name), p.value, _milliseconds(p.time), p.step) for p in run.points]
    for part in _parts(texts, MOST_TEXTS)[1:]:
        client.log_batch(run.id, params=part)
    for chunk in _parts(numbers, MOST_NUMBERS)[1:]:
        client.log_batch(run.id, metrics=chunk)
    client.log_batch(run.id, metrics=numbers[:MOST_NUMBERS], params=texts[:MOST_TEXTS])
    client.set_terminated(run.id, run.status, _milliseconds(run.end))


def is_rejected(error: Exception) -> bool:
    """Whether MLflow answered, and said no."""
    return getattr(error, "error_code", "") in REJECTED


def in_short(error: BaseException) -> str:
    """Return the first line of what went wrong, without addresses in memory."""
    error = getattr(error.__cause__, "orig", None) or error  # what the database said
    line = (str(error).splitlines() or [""])[0]
    return f"{type(error).__name__}: {re.sub(r' at 0x[0-9a-f]+', '', line)[:300]}"


def _parts(items: Sequence[Item], most: int) -> list[Sequence[Item]]:
    return [items[start : start + most] for start in range(0, len(items), most)]


def _key(name: str) -> str:
    """Return a name that MLflow takes."""
    return re.sub(r"[^\w./ -]", "_", name)[:250]


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 1] + "…"


def _milliseconds(seconds: float) -> int:
    return round(1000 * seconds)
