"""A tracker that tells MLflow of every cell."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import PrivateAttr

from llt_core.interfaces import LltError, Tracker, composition_columns, parameter
from llt_core.plugins import hookimpl
from llt_plugins.trackers import mlflow_client
from llt_plugins.trackers.facts import ended, origin, points, statuses
from llt_plugins.trackers.mlflow_client import CellRun

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

PATIENCE = 3
"""Failures in a row after which MLflow is left alone until the end of the request."""
MOST_WAITING = 1000
"""Runs that are kept while MLflow does not answer."""


@dataclass
class _Session:
    """One request: whom it is told to, and what could not be told yet."""

    client: MlflowClient
    experiment: str
    where: str
    tags: dict[str, str]
    waiting: deque[CellRun] = field(default_factory=deque)
    failures: int = 0
    lost: int = 0

    def tell(self, run: CellRun) -> None:
        """Send a run after those that wait; keep it if that fails."""
        run.tags |= self.tags
        if len(self.waiting) < MOST_WAITING:
            self.waiting.append(run)
        else:
            self.lost += 1
        if self.failures < PATIENCE:
            self.send()

    def send(self) -> None:
        """Send what waits.

        Raises
        ------
        LltError
            MLflow did not answer; what it was not told stays in ``waiting``. Or it refused a
            run, which is given up.
        """
        while self.waiting:
            try:
                mlflow_client.send(self.client, self.experiment, self.waiting[0])
            except Exception as error:
                told = mlflow_client.in_short(error)
                if mlflow_client.is_rejected(error):
                    self.waiting.popleft()
                    self.lost += 1
                    raise LltError(f"MLflow refuses a run: {told}", where=self.where) from error
                self.failures += 1
                last = self.failures >= PATIENCE
                then = "the rest is told at the end, if it answers then" if last else "tried again"
                raise LltError(f"MLflow fails ({then}): {told}", where=self.where) from error
            self.waiting.popleft()
            self.failures = 0


class MlflowRuns(Tracker):
    """One run in MLflow for each cell that is computed, told when the cell has ended.

    Runs lie in an experiment called like the sweep. Their parameters are the composition, as
    ``llt export`` calls its columns; their metrics are the measurements and, as
    ``NAME.standard_error``, how sure they are. A training has its loss, accuracy and learning
    rate by epoch. Tags tell the digest, where the result comes from, and the digests of the
    models that were measured. A cell that failed is a failed run with its message.

    Cells that were in the store already are not told again. When MLflow stops answering, what
    it misses is kept and told when it is back; after three failures in a row it is asked once
    more at the end.
    """

    summary: ClassVar[str] = "A run in MLflow for every cell: local database or server"

    to: str = parameter(
        "",
        description="Tracking URI (sqlite:///FILE, http://HOST:PORT) or a file FILE.db; empty: "
        "what MLFLOW_TRACKING_URI says, else mlflow.db in this folder",
    )
    experiment: str = parameter("", description="Experiment; empty: named after the sweep, or llt")
    timeout: int = parameter(
        10, gt=0, unit="seconds", description="Longest wait for one answer of a server"
    )

    _session: _Session | None = PrivateAttr(None)

    @hookimpl
    def llt_sweep_started(self, summary: dict[str, Any]) -> None:
        """Find or make the experiment, if there is anything to tell of."""
        self._session = None
        if not any(summary["todo"].values()):
            return
        tags = {"llt.store": summary["store"]}
        if summary["force"]:
            tags["llt.forced"] = "true"
        with mlflow_client.patient(self.timeout):
            client = mlflow_client.connect(self.to)
            where = client.tracking_uri
            name = self.experiment or summary["name"] or "llt"
            try:
                found = mlflow_client.experiment(client, name)
            except Exception as error:
                told = mlflow_client.in_short(error)
                raise LltError(
                    f"nothing is tracked: MLflow fails: {told}",
                    where=where,
                    expected="a database or a server of MLflow",
                ) from error
            self._session = _Session(client, found, where, tags)

    @hookimpl
    def llt_cell_finished(self, digest: str, kind: str, label: str, record: dict[str, Any]) -> None:
        """Tell of a cell that has a result."""
        end = ended(record["provenance"]["finished"])
        tags = {"llt.status": record["status"]}
        tags |= {f"llt.{name}": text for name, text in origin(record).items()}
        tags |= {f"llt.status.{name}": status for name, status in statuses(record).items()}
        if kind == "measure":
            tags["llt.models"] = " ".join(record["cell"]["models"])
        run = CellRun(
            name=label,
            start=end - record["seconds"],
            end=end,
            status="FINISHED",
            parameters=_parameters(record["composition"]),
            points=tuple(points(record)),
            tags=tags,
        )
        self._tell(run, digest, kind, record["composition"])

    @hookimpl
    def llt_cell_failed(
        self,
        digest: str,
        kind: str,
        label: str,
        composition: dict[str, Any],
        failure: dict[str, Any],
    ) -> None:
        """Tell of a cell that has none."""
        end = ended(failure["time"])
        tags = {
            "llt.status": "failed",
            "llt.failure": failure["kind"],
            "llt.attempt": str(failure["attempt"]),
            "llt.message": failure["message"],
            "mlflow.note.content": failure["message"],
        }
        if failure["traceback"]:
            # The end of a traceback says what happened; four spaces make it code in a note.
            lines = failure["traceback"].splitlines()[-40:]
            tags["mlflow.note.content"] += "\n\n" + "\n".join(f"    {line}" for line in lines)
        run = CellRun(label, end, end, "FAILED", _parameters(composition), tags=tags)
        self._tell(run, digest, kind, composition)

    @hookimpl
    def llt_sweep_finished(self) -> None:
        """Ask once more, and say how many cells MLflow knows nothing of."""
        session, self._session = self._session, None
        if session is None or not (session.waiting or session.lost):
            return
        try:
            with mlflow_client.patient(self.timeout):
                session.send()
        finally:
            count = session.lost + len(session.waiting)
            if count:
                raise LltError(
                    f"MLflow was not told of {count} cell{'s' * (count > 1)}; the store has them",
                    where=session.where,
                    next_step="llt export",
                )

    def _tell(self, run: CellRun, digest: str, kind: str, composition: dict[str, Any]) -> None:
        if self._session is None:
            return
        seeds = " ".join(map(str, composition["seeds"]))
        run.tags |= {"llt.digest": digest, "llt.kind": kind, "llt.seeds": seeds}
        with mlflow_client.patient(self.timeout):
            self._session.tell(run)


def _parameters(composition: dict[str, Any]) -> dict[str, str]:
    found = composition_columns(composition)
    if "metric" in composition:
        found["metric"] = composition["metric"]["name"]
    return {name: "" if value is None else str(value) for name, value in found.items()}
