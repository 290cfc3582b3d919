"""Parts of the ray executor that need no cluster; the rest is tested in tests/cluster/ray."""

import fcntl
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from pydantic import ValidationError

from llt_core.errors import RequestError
from llt_plugins.executors import ray_connection
from llt_plugins.executors.ray_cluster import RayCluster
from llt_plugins.executors.ray_connection import PREFIX, added_paths
from llt_plugins.executors.ray_places import places_on
from llt_plugins.executors.ray_worker import Board, describe_loss


@pytest.mark.parametrize(
    ("needs", "places"),
    [
        ({"CPU": 1}, 8),
        ({"CPU": 0.1}, 80),
        ({"CPU": 3}, 2),
        ({"CPU": 1, "GPU": 1}, 2),
        ({"CPU": 1, "GPU": 2}, 1),
        ({"CPU": 1, "GPU": 0.5}, 4),
        ({"CPU": 1, "GPU": 0.4}, 4),
        ({"CPU": 1, "GPU": 0.6}, 2),
        ({"CPU": 1, "disk": 2}, 1),
        ({"CPU": 1, "tape": 1}, 0),
        ({"CPU": 9}, 0),
    ],
)
def test_places_on_a_node(needs, places):
    assert places_on({"CPU": 8, "GPU": 2, "disk": 3}, needs) == places


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"gpus": 1.5}, "a part of one GPU, or whole GPUs"),
        ({"cpus": 0}, "greater than 0"),
        ({"resources": {"disk": 0}}, "above 0"),
        ({"address": "ray://head:10001"}, "without ://"),
    ],
)
def test_wrong_parameters(wrong, why):
    with pytest.raises(ValidationError, match=why):
        RayCluster(**wrong)


def test_without_ray_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(RequestError) as refusal:
        RayCluster().start(tmp_path)
    assert "pip install 'llt[ray]'" in str(refusal.value)


def test_what_ray_loses_has_a_kind():
    exceptions = pytest.importorskip("ray.exceptions")
    kinds = {
        exceptions.WorkerCrashedError(): "killed",
        exceptions.NodeDiedError("node 3"): "killed",
        exceptions.OwnerDiedError("00", owner_address=None, call_site=""): "killed",
        exceptions.OutOfMemoryError("too much"): "out_of_memory",
        exceptions.OutOfDiskError("full"): "storage",
        exceptions.RuntimeEnvSetupError("no such thing"): "request",
    }
    for error, kind in kinds.items():
        told = describe_loss(error)
        assert told["failure"] == kind, error
        assert type(error).__name__ in told["message"]


def test_the_board_keeps_the_latest_word():
    board = Board()
    for word in ("old", "new"):
        board.tell("job", word)
    board.tell("other", "its own")
    assert board.take() == {"job": "new", "other": "its own"}
    assert board.take() == {}


def test_paths_that_workers_need(tmp_path, monkeypatch):
    """A checkout or a plugin's folder; not what is installed, not what does not exist."""
    installed = Path(pytest.__file__).parents[1]
    monkeypatch.setattr(
        "sys.path", [str(tmp_path), str(installed), str(tmp_path / "gone"), str(tmp_path)]
    )
    assert added_paths() == [str(tmp_path)]


def test_folders_of_dead_drivers_are_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", None)
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="t") as short:
        monkeypatch.setattr(tempfile, "tempdir", short)
        dead, alive = (Path(short) / f"{PREFIX}{name}" for name in ("dead", "alive"))
        for folder in (dead, alive):
            folder.mkdir()
            (folder / "lock").touch()
        with (alive / "lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with ray_connection._private_folder() as own:
                assert own.stat().st_mode & 0o077 == 0
                assert {alive, own} == set(Path(short).iterdir())
            assert {alive} == set(Path(short).iterdir())


def test_signals_are_kept():
    def before(number, frame):
        pass

    old = signal.signal(signal.SIGTERM, before)
    try:
        with ray_connection._signals_kept():
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        assert signal.getsignal(signal.SIGTERM) is before
    finally:
        signal.signal(signal.SIGTERM, old)


def test_importing_it_imports_neither_ray_nor_torch():
    code = (
        "import sys, llt_plugins.executors.ray_cluster; print(*{'ray', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
