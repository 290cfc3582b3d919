"""A model's file is judged by its header: whole ones pass, cut ones do not."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from llt_core.spec import PluginRef, TrainCell, digest
from llt_core.store import Checkpoint, Record, Store
from llt_core.store.checkpoints import complete, expected_size

TENSORS = {
    "weight": np.arange(12, dtype=np.float32).reshape(3, 4),
    "half": np.ones((5,), dtype=np.float16),
    "count": np.array(7),
    "empty": np.zeros((0, 3)),
}


@pytest.fixture
def stored(tmp_path):
    """Return a store, the record of a model in it, and the model's file."""
    store = Store(tmp_path / "store")
    part = PluginRef(name="llt/x", version=1)
    cell = TrainCell(task=part, architecture=part, training=part, seed=0)
    name = digest(cell)
    with store.staging(name) as folder:
        save_file(TENSORS, folder / "model.safetensors")
        content = (folder / "model.safetensors").read_bytes()
        record = Record(
            digest=name,
            cell=cell,
            seconds=1.0,
            composition={},
            provenance={},
            checkpoint=Checkpoint(
                sha256=hashlib.sha256(content).hexdigest(), epoch=1, parameters=12
            ),
        )
        store.commit(record, folder)
    return store, record, store.path(name) / "model.safetensors"


def test_a_whole_file_is_complete(stored):
    store, record, file = stored
    assert expected_size(file) == file.stat().st_size
    assert complete(store, record)


def test_a_record_without_a_checkpoint_lacks_nothing(stored):
    store, record, file = stored
    file.unlink()
    assert complete(store, record.model_copy(update={"checkpoint": None}))
    assert not complete(store, record)


def test_every_cut_and_every_addition_is_noticed(stored):
    store, record, file = stored
    whole = file.read_bytes()
    for kept in range(len(whole)):
        file.write_bytes(whole[:kept])
        assert not complete(store, record), f"{kept} of {len(whole)} bytes"
    file.write_bytes(whole + b"\0")
    assert not complete(store, record)


@pytest.mark.parametrize(
    "header",
    [b"[]", b"{", b"\xff\xfe", b'{"a": 1}', b'{"a": {}}', b'{"a": {"data_offsets": ["0", 4]}}'],
)
def test_other_contents_are_no_checkpoint(stored, header):
    store, record, file = stored
    file.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    assert not complete(store, record)


def test_a_header_longer_than_any_is_not_read(stored):
    store, record, file = stored
    file.write_bytes((1 << 60).to_bytes(8, "little"))
    with pytest.raises(ValueError, match="a header of"):
        expected_size(file)
    assert not complete(store, record)


def test_a_folder_in_its_place_is_no_checkpoint(stored):
    store, record, file = stored
    file.unlink()
    file.mkdir()
    assert not complete(store, record)


def test_only_the_header_is_read(tmp_path: Path):
    header = json.dumps(
        {"w": {"dtype": "F32", "shape": [1 << 38], "data_offsets": [0, 1 << 40]}}
    ).encode()
    file = tmp_path / "sparse"
    with file.open("wb") as content:
        content.write(len(header).to_bytes(8, "little") + header)
        try:
            content.truncate(8 + len(header) + (1 << 40))
        except OSError:
            pytest.skip("no sparse files of a terabyte here")
    assert expected_size(file) == file.stat().st_size
