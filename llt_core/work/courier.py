"""The two jobs of :mod:`llt_core.work.worker`, where the driver's store cannot be seen.

A store of their own is made in a temporary folder; what the job reads is put into it, and what
it has written there goes back with the answers.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from llt_core.interfaces import Report
from llt_core.store import Store
from llt_core.store.logs import read_log
from llt_core.sweep.courier import split_key
from llt_core.work import worker

Entry = Callable[[dict[str, Any], Report], dict[str, Any]]


def train(payload: dict[str, Any], report: Report) -> dict[str, Any]:
    """Train the one model of ``payload`` and return it."""
    return _with_a_store(worker.train, payload, report)


def measure(payload: dict[str, Any], report: Report) -> dict[str, Any]:
    """Take every measurement of ``payload`` on the models that came with it."""
    return _with_a_store(worker.measure, payload, report)


def _with_a_store(entry: Entry, payload: dict[str, Any], report: Report) -> dict[str, Any]:
    """Call ``entry``; return its answers, the files of its cells and what was logged."""
    with tempfile.TemporaryDirectory(prefix="llt-job-") as folder:
        store = Store(Path(folder) / "store")
        for key, content in payload["files"].items():
            digest, name = split_key(key)
            store.path(digest).mkdir(parents=True, exist_ok=True)
            (store.path(digest) / name).write_bytes(content)
        plain = {key: value for key, value in payload.items() if key != "files"}
        answers = entry(plain | {"store": str(store.root)}, report)
        done = [digest for digest, answer in answers.items() if "failure" not in answer]
        return {
            "answers": answers,
            "files": {
                f"{digest}/{file.name}": file.read_bytes()
                for digest in done
                for file in store.path(digest).iterdir()
            },
            "logs": {digest: read_log(store, digest) for digest in answers},
        }
