"""Cells that travel: models to a worker that cannot see the store, results back from it.

The counterpart on the worker's side is :mod:`llt_core.work.courier`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from llt_core.errors import LltError
from llt_core.interfaces.executor import describe_failure
from llt_core.spec.identity import digest as identify
from llt_core.store import Record, Store
from llt_core.store.cells import RECORD_FILE
from llt_core.store.logs import log_file

TRAIN_ENTRY = "llt_core.work.courier:train"
MEASURE_ENTRY = "llt_core.work.courier:measure"

_KEY = re.compile(r"([0-9a-f]{32})/(record\.json|model\.safetensors|arrays\.safetensors)")


class CourierError(LltError):
    """What came back from a worker is not what it should be."""


def pack(store: Store, payload: Mapping[str, Any], models: Iterable[str]) -> dict[str, Any]:
    """Return ``payload`` with the files of ``models`` instead of the store's path.

    A model whose file is not what its record says is put aside and left out; the job then says
    that it is gone, as it would where it sees the store, and the model is trained anew.

    Returns
    -------
    dict
        With ``files``: the bytes of each file by ``DIGEST/NAME``.
    """
    files: dict[str, bytes] = {}
    for digest in models:
        record = store.read(digest)
        if record is None:
            continue
        found = {RECORD_FILE: record.model_dump_json().encode()}
        if record.checkpoint is not None:
            file = store.path(digest) / record.checkpoint.file
            with suppress(FileNotFoundError, IsADirectoryError):
                found[file.name] = file.read_bytes()
        if _lacks(record, found):
            store.set_aside(digest)
        else:
            files |= {f"{digest}/{name}": content for name, content in found.items()}
    return {key: value for key, value in payload.items() if key != "store"} | {"files": files}


def unpack(store: Store, result: Mapping[str, Any], replace: bool) -> dict[str, Any]:
    """Put the cells of ``result`` into the store and return the answers that came with them.

    Parameters
    ----------
    result
        ``answers`` by digest, ``files`` as in :func:`pack`, ``logs`` by digest.
    replace
        Whether a cell that is there already is replaced.

    Returns
    -------
    dict
        The answers of :mod:`llt_core.work.worker`. A cell that cannot be put into the store,
        because it is incomplete or the disk is full, has a failure for an answer.
    """
    answers = dict(result["answers"])
    for digest, text in result["logs"].items():
        if digest in answers:
            _append_log(store, digest, text)
    for digest, answer in result["answers"].items():
        if "failure" in answer:
            continue
        try:
            _commit(store, digest, result["files"], replace)
        except Exception as error:
            answers[digest] = describe_failure(error)
    return answers


def split_key(key: str) -> tuple[str, str]:
    """Return digest and name of a file on its way.

    Raises
    ------
    CourierError
        It is no file of a cell: nothing else may be written.
    """
    match = _KEY.fullmatch(key)
    if match is None:
        raise CourierError(
            f"{key!r} is no file of a cell", expected="DIGEST/record.json, say", where="a job"
        )
    return match[1], match[2]


def _commit(store: Store, digest: str, files: Mapping[str, bytes], replace: bool) -> None:
    own = {name: content for key, content in files.items()
           for owner, name in [split_key(key)] if owner == digest}  # fmt: skip
    if RECORD_FILE not in own:
        raise _incomplete(digest, "its record did not come back")
    record = Record.model_validate_json(own.pop(RECORD_FILE))
    if not record.digest == digest == identify(record.cell):
        raise _incomplete(digest, f"a record of the cell {record.digest} came back for it")
    if why := _lacks(record, own):
        raise _incomplete(digest, why)
    with store.staging(digest) as folder:
        for name, content in own.items():
            (folder / name).write_bytes(content)
        store.commit(record, folder, replace=replace)


def _lacks(record: Record, files: Mapping[str, bytes]) -> str:
    """Say what is wrong with the trained parameters of a record; empty if nothing."""
    if record.checkpoint is None:
        return ""
    content = files.get(record.checkpoint.file)
    if content is None:
        return "its trained parameters did not come back"
    if hashlib.sha256(content).hexdigest() != record.checkpoint.sha256:
        return "its trained parameters are not those of its record"
    return ""


def _incomplete(digest: str, what: str) -> CourierError:
    return CourierError(
        f"the cell {digest} is incomplete: {what}",
        where="the result of a job",
        expected="record and files of the cell, as the worker wrote them",
        next_step="the same command again",
    )


def _append_log(store: Store, digest: str, text: str) -> None:
    path = log_file(store, digest)
    with suppress(OSError):  # as on the worker's side, the work is worth more than its log
        path.parent.mkdir(exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
