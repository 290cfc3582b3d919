"""The files by which a driver and its Slurm jobs speak: one folder for each job array.

::

    batches/ID/array.json       Slurm's number of the array, and the code it runs
    batches/ID/jobs/3.json      what task 3 is to do
    batches/ID/progress/3.json  how far it is
    batches/ID/outcomes/3.json  how it ended
    batches/ID/log/…            what it printed

Every file is JSON, written beside and renamed. All tasks of an array are described before
Slurm hears of it, so a task finds its description whenever it starts.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from llt_core.interfaces import Job, Outcome, Progress

TAIL = 64 * 2**10
"""Bytes of a log that are kept, or shown."""


@dataclass(frozen=True)
class Batch:
    """The folder of one job array."""

    folder: Path

    @classmethod
    def create(cls, root: Path, jobs: Sequence[Job], code: str) -> Batch:
        """Describe the tasks of an array that is to be submitted."""
        name = f"{time.strftime('%y%m%d%H%M%S')}-{secrets.token_hex(4)}"
        batch = cls(root / "batches" / name)
        for part in ("jobs", "progress", "outcomes", "log"):
            (batch.folder / part).mkdir(parents=True)
        for index, job in enumerate(jobs):
            write_json(batch.job_file(index), asdict(job))
        write_json(batch.folder / "array.json", {"array": "", "code": code})
        return batch

    @property
    def slurm_name(self) -> str:
        """Return the name Slurm knows the array by."""
        return f"llt-{self.folder.name}"

    @property
    def changed(self) -> float:
        """Return when the array was submitted."""
        return _age(self.folder / "array.json")

    @property
    def log(self) -> Path:
        """The folder of what the tasks print."""
        return self.folder / "log"

    @property
    def facts(self) -> dict[str, Any]:
        """Slurm's number of the array (empty before it has one), and the code it runs."""
        return read_json(self.folder / "array.json") or {"array": "", "code": ""}

    def submitted(self, array: str) -> None:
        """Note Slurm's number of the array."""
        write_json(self.folder / "array.json", self.facts | {"array": array})

    def job_file(self, index: int) -> Path:
        """Return the file that says what a task is to do."""
        return self.folder / "jobs" / f"{index}.json"

    def job(self, index: int) -> Job | None:
        """Return what a task is to do; None once it is done with."""
        found = read_json(self.job_file(index))
        return None if found is None else Job(**found)

    def indices(self) -> list[int]:
        """Return the tasks that are not done with."""
        return sorted(_numbers(self.folder / "jobs"))

    def report(self, index: int, progress: Progress) -> None:
        """Say how far a task is."""
        write_json(self.folder / "progress" / f"{index}.json", asdict(progress), durable=False)

    def progress(self, index: int) -> Progress | None:
        """Return how far a task is, if it has said so."""
        found = read_json(self.folder / "progress" / f"{index}.json")
        return None if found is None else Progress(**found)

    def end(self, index: int, outcome: Outcome) -> None:
        """Say how a task ended."""
        write_json(self.folder / "outcomes" / f"{index}.json", asdict(outcome))

    def outcome_file(self, index: str) -> Path:
        """Return the file that says how a task ended; its number may be a shell variable."""
        return self.folder / "outcomes" / f"{index}.json"

    def ended(self) -> set[int]:
        """Return the tasks that have said how they ended: one look at one folder."""
        return set(_numbers(self.folder / "outcomes"))

    def outcome(self, index: int) -> Outcome | None:
        """Return how a task ended, if it has said so."""
        found = read_json(self.folder / "outcomes" / f"{index}.json")
        return None if found is None else Outcome(**found)

    def last_words(self, name: str) -> str:
        """Return the end of what a task wrote to its standard error."""
        text = ""
        for file in sorted(self.log.glob(f"{name}_*.err")):
            with suppress(OSError), file.open("rb") as content:
                content.seek(max(0, file.stat().st_size - TAIL))
                text += content.read().decode(errors="replace")
        return text.strip()

    def drop(self, index: int, name: str) -> None:
        """Remove the files of a task that is done with; the folder goes with the last one."""
        for part in ("jobs", "progress", "outcomes"):
            with suppress(OSError):
                (self.folder / part / f"{index}.json").unlink(missing_ok=True)
        for file in self.log.glob(f"{name}_*") if name else ():
            with suppress(OSError):
                file.unlink(missing_ok=True)
        if not self.indices():
            self.remove()

    def remove(self) -> None:
        """Remove the whole folder."""
        shutil.rmtree(self.folder, ignore_errors=True)


def all_batches(root: Path) -> list[Batch]:
    """Return the folders of all arrays that are not done with, the newest first."""
    folder = root / "batches"
    names = sorted(os.listdir(folder), reverse=True) if folder.is_dir() else []
    return [Batch(folder / name) for name in names if (folder / name).is_dir()]


def keep_log(root: Path, name: str, text: str, limit: int = 200) -> None:
    """Keep what a task that failed had to say; of all of them, the newest ``limit``."""
    folder = root / "failed"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.log").write_text(text[-TAIL:] + "\n", encoding="utf-8")
    files = sorted(folder.glob("*.log"), key=_age, reverse=True)
    for old in files[limit:]:
        old.unlink(missing_ok=True)


def write_json(path: Path, content: dict[str, Any], *, durable: bool = True) -> None:
    """Write a file so that a reader sees all of it or what was there before."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    with beside.open("w", encoding="utf-8") as file:
        json.dump(content, file)
        if durable:
            file.flush()
            os.fsync(file.fileno())
    beside.replace(path)


def read_json(path: Path) -> dict[str, Any] | None:
    """Return what a file says; None if it is not there, or not what was written."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _numbers(folder: Path) -> Iterator[int]:
    with suppress(OSError):
        for name in os.listdir(folder):
            stem, dot, suffix = name.partition(".")
            if dot and suffix == "json" and stem.isdigit():
                yield int(stem)


def _age(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except OSError:
        return 0.0
