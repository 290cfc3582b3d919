"""Drivers at work on a store: each shows that it is alive, and others can tell when it is not.

A driver is a process that has cells computed. It keeps one small file,
``STORE/drivers/TOKEN.json``, and renews it every few seconds; ``TOKEN.stop`` beside it asks the
driver to stop. Nobody trusts a clock: a driver on this machine lives while its process does, one
elsewhere while its file keeps changing as this process watches it.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from llt_core.store.cells import Store, cannot_write
from llt_core.store.files import write_whole
from llt_core.store.processes import place, runs, started

BEAT_EVERY = 2.0
"""Seconds between two signs of life."""
DEAD_AFTER = 60.0
"""Seconds of silence after which a driver on another machine counts as dead."""

Stop = Literal["", "finish", "now"]


class DriverRecord(BaseModel):
    """What a driver says of itself.

    ``place`` and ``started`` tell its process from another one of the same number: on another
    machine, in another container, or later. ``running`` says of each cell, by digest, how far
    it is.
    """

    model_config = ConfigDict(frozen=True)

    token: str
    host: str
    place: str
    pid: int
    started: str = ""
    sweep: str = ""
    executor: str = ""
    command: str = ""
    since: str = ""
    running: dict[str, dict[str, Any]] = {}


class Driver:
    """The present process as a driver of ``store``, for the time of a ``with`` block."""

    def __init__(self, store: Store, *, sweep: str = "", executor: str = "", command: str = ""):
        host = socket.gethostname()
        self.token = f"{host.replace('.', '-')}-{os.getpid()}-{secrets.token_hex(4)}"
        self.running: dict[str, dict[str, Any]] = {}
        self._record = DriverRecord(
            token=self.token,
            host=host,
            place=place(),
            pid=os.getpid(),
            started=started(os.getpid()) or "",
            sweep=sweep,
            executor=executor,
            command=command,
            since=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        self._folder = store.root / "drivers"
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="llt-driver", daemon=True)

    def __enter__(self) -> Self:
        """Show up.

        Raises
        ------
        StoreError
            The store cannot be written.
        """
        try:
            self._folder.mkdir(exist_ok=True)
            self._write()
        except OSError as error:
            raise cannot_write(self._folder, error) from error
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Sign off."""
        self._ended.set()
        self._thread.join()
        for name in (f"{self.token}.json", f"{self.token}.stop"):
            with suppress(OSError):
                (self._folder / name).unlink()

    @property
    def asked_to_stop(self) -> Stop:
        """What ``llt cancel`` asks for: nothing, to finish what runs, or to stop now."""
        try:
            text = (self._folder / f"{self.token}.stop").read_text(encoding="utf-8").strip()
        except OSError:
            return ""
        return "now" if text == "now" else "finish"

    def _beat(self) -> None:
        while not self._ended.wait(BEAT_EVERY):
            try:
                self._write()
            except OSError:  # a full disk: the file at least gets a new time
                with suppress(OSError):
                    os.utime(self._folder / f"{self.token}.json")

    def _write(self) -> None:
        record = self._record.model_copy(update={"running": dict(self.running)})
        path = self._folder / f"{self.token}.json"
        write_whole(path, record.model_dump_json(), durable=False)


class Liveness:
    """Tells living drivers from dead ones; keeps in mind how long it has watched each."""

    def __init__(self, store: Store) -> None:
        self._folder = store.root / "drivers"
        self._claims = store.root / "claims"
        self._watched: dict[Path, tuple[int, float]] = {}

    def alive(self, token: str) -> bool:
        """Whether the driver may still be at work; certain for one on this machine."""
        path = self._folder / f"{token}.json"
        record = read_driver(path)
        if record is not None and record.place == place():
            return runs(record.pid, record.started)
        return self.changed(path)

    def clear(self) -> None:
        """Remove the files of dead drivers, those also that they were just writing."""
        for path in self._folder.glob("[!.]*.json"):
            if not self.alive(path.stem):
                for folder in (self._folder, self._claims):
                    for left in (*folder.glob(f"{path.stem}.*"), *folder.glob(f".{path.stem}*")):
                        left.unlink(missing_ok=True)

    def changed(self, path: Path) -> bool:
        """Whether a file changed of late: it may have, as long as it was not watched in vain."""
        try:
            time_of_change = path.stat().st_mtime_ns
        except FileNotFoundError:
            return False
        except OSError:
            return True
        seen, since = self._watched.get(path, (0, 0.0))
        now = time.monotonic()
        if time_of_change != seen:
            self._watched[path] = (time_of_change, now)
            return True
        return now - since < DEAD_AFTER


def ask_to_stop(store: Store, token: str, how: Stop) -> None:
    """Ask a driver to finish what runs, or to stop now."""
    write_whole(store.root / "drivers" / f"{token}.stop", how)


def drivers(store: Store) -> Iterator[DriverRecord]:
    """Yield what all drivers say that are, or were, at work on the store."""
    for path in sorted((store.root / "drivers").glob("[!.]*.json")):
        record = read_driver(path)
        if record is not None:
            yield record


def seems_alive(store: Store, record: DriverRecord) -> bool:
    """Whether a driver seems alive at one glance, for people to read.

    One elsewhere is judged by the age of its file, told by the clock of the file system.
    """
    if record.place == place():
        return runs(record.pid, record.started)
    folder = store.root / "drivers"
    probe = folder / f".glance.{secrets.token_hex(4)}"
    try:
        beat = (folder / f"{record.token}.json").stat().st_mtime
        probe.touch()
        now = probe.stat().st_mtime
    except OSError:
        return False
    finally:
        probe.unlink(missing_ok=True)
    return now - beat < DEAD_AFTER


def read_driver(path: Path) -> DriverRecord | None:
    """Return what a driver's file says, None if it is gone or cannot be read."""
    try:
        return DriverRecord.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
