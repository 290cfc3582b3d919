"""Getting hold of a Ray: a cluster that exists, or one for this machine alone."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import secrets
import shutil
import signal
import site
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llt_core.interfaces import RequestError
from llt_plugins.executors.machine import cores

LOCAL = "local"
PREFIX = "llt-ray-"
OBJECT_STORE_BYTES = 512 * 2**20
"""Size of a local Ray's object store; what does not fit is spilled to disk."""
KNOCK_SECONDS = 10.0
SOCKET_PATH_ROOM = 40
"""Longest folder name under which Ray's sockets have names that the system accepts."""
TOKEN = secrets.token_hex(32)
"""What the processes of a local Ray show each other. One a process: Ray remembers it."""


@dataclass
class Connection:
    """A connected driver.

    Attributes
    ----------
    variables
        Environment variables that workers need.
    """

    variables: Mapping[str, str] = field(default_factory=dict)
    _resources: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    @classmethod
    def open(cls, address: str) -> Connection:
        """Connect to ``address``, RAY_ADDRESS, or a Ray started here.

        A connection that this process has already is used, and left as it is.

        Raises
        ------
        RequestError
            Ray is not installed, or cannot be reached or started.
        """
        try:
            import ray
        except ImportError as error:
            raise RequestError(
                f"the executor ray needs Ray: {error}", next_step="pip install 'llt[ray]'"
            ) from error
        if ray.is_initialized():
            return cls()
        address = address or os.environ.get("RAY_ADDRESS", "") or LOCAL
        connection = cls()
        try:
            with _signals_kept():
                if address == LOCAL:
                    connection._start_local()
                else:
                    _knock(address)
                    connection._resources.callback(ray.shutdown)
                    ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        except Exception as error:
            connection.close()
            doing = "start a local Ray" if address == LOCAL else "connect to the Ray cluster"
            raise RequestError(
                f"cannot {doing}: {str(error).strip().splitlines()[0] or type(error).__name__}",
                where=address,
                expected="HOST:PORT of a cluster that this machine is part of, or local",
                next_step="ray status --address HOST:PORT tells whether a cluster answers; "
                "ray start --address=HOST:PORT --num-cpus=0 makes this machine part of it",
            ) from error
        connection._resources.enter_context(_quiet())
        return connection

    def close(self) -> None:
        """Disconnect, and stop what was started."""
        self._resources.close()

    def _start_local(self) -> None:
        """Start a Ray of this machine's processors, all its files in one temporary folder.

        Nobody else can use it: its processes ask each other for a token. Its home is that
        folder too, as the only way to keep it from asking cloud services what machine this
        is: it does not where the home has a file of a cluster's description.
        """
        import ray

        folder = self._resources.enter_context(_private_folder())
        (folder / "ray_bootstrap_config.yaml").write_text("{}\n", encoding="utf-8")
        token = folder / "token"
        token.touch(mode=0o600)
        token.write_text(TOKEN, encoding="utf-8")
        settings = {
            "HOME": str(folder),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_USAGE_STATS_REPORT_URL": "http://127.0.0.1:9/",
            "RAY_AUTH_TOKEN_PATH": os.environ.get("RAY_AUTH_TOKEN_PATH", str(token)),
        }
        self.variables = {"HOME": str(Path.home())}
        self._resources.callback(ray.shutdown)
        with _environment(settings):
            ray.init(
                address="local",
                num_cpus=cores(),
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                object_store_memory=OBJECT_STORE_BYTES,
                _temp_dir=str(folder / "ray"),
            )


def added_paths() -> list[str]:
    """Return the entries of ``sys.path`` that come from no installation.

    Workers need them where llt or a plugin runs from a checkout. Packages that are installed
    are found on each node by its own Python.
    """
    installed = [Path(p) for p in (*site.getsitepackages(), site.getusersitepackages())]
    installed += [Path(os.__file__).parent, Path(sys.executable).parent]
    found = []
    for entry in sys.path:
        path = Path(entry).absolute()
        inside = any(path == one or one in path.parents for one in installed)
        if path.is_dir() and not inside and path.name != "dist-packages":
            found.append(str(path))
    return list(dict.fromkeys(found))


def _knock(address: str) -> None:
    """Raise an error soon if nobody is there; Ray itself would wait for minutes."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK_SECONDS).close()


@contextlib.contextmanager
def _private_folder() -> Iterator[Path]:
    """Lend a folder under a short name; remove it at the end, and those of dead drivers now.

    The folder is locked while it is in use, so that nobody takes it for left behind.
    """
    parent = Path(tempfile.gettempdir())
    if len(str(parent)) + len(PREFIX) + 8 > SOCKET_PATH_ROOM:
        parent = Path("/tmp")
    for left in parent.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError), (left / "lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    with (folder / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables inside the block; restore what was there.

    Also those that Ray itself sets: that the Ray it starts asks for tokens, as it does where
    nothing else is said, and a debugger of its own.
    """
    touched = (*variables, "RAY_AUTH_MODE", "PYTHONBREAKPOINT")
    before = {name: os.environ.get(name) for name in touched}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Log what Ray would print to the driver's standard output, in the midst of results.

    There is no setting for it: also with ``log_to_driver=False`` Ray prints that a node was
    lost. What matters of it is told as the failure of the jobs that ran there.
    """
    from ray._private import worker

    def log(data: Mapping[str, Any], *_: Any, **__: Any) -> None:
        logging.getLogger("ray").info("%s", data)

    before = getattr(worker, "print_to_stdstream", None)
    worker.print_to_stdstream = log
    try:
        yield
    finally:
        if before is not None:
            worker.print_to_stdstream = before


@contextlib.contextmanager
def _signals_kept() -> Iterator[None]:
    """Undo what Ray does to the driver's handler of SIGTERM."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)
