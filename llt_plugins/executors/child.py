"""The far side of the pool: the nursery, which starts workers, and the worker itself.

The nursery is a small process between the driver and its workers. It loads what the jobs need
once, then forks a worker in a hundredth of a second whenever the driver asks for one. It
waits for its children, so it knows how each ended, and it does nothing else, so it notices at
once when the driver is gone, and takes all workers with it, even those deep in some library.

Nothing is imported here before a worker's environment is set but the standard library.
"""

from __future__ import annotations

import gc
import importlib
import os
import queue
import selectors
import signal
import socket
import sys
import threading
import time
import traceback
from typing import Any

from llt_plugins.executors import frames

START = (
    "import sys; sys.path[:] = sys.argv[3:]; "
    "from llt_plugins.executors.child import main; main(sys.argv[1], int(sys.argv[2]))"
)
"""What a new interpreter runs. It gets the module path of its parent and never sees its main
module, so a script without a guard, a notebook and ``python -c`` are all the same."""

LOOK = 1.0
"""Seconds between two looks whether the driver still lives. A closed socket says so at once,
except where another process inherited the driver's end."""

TERM_SECONDS = 1.0
KILL_SECONDS = 5.0


def command(role: str, descriptor: int) -> list[str]:
    """Return the command line of a new interpreter in the role ``nursery`` or ``worker``."""
    path = [str(entry) for entry in sys.path]
    return [sys.executable, "-c", START, role, str(descriptor), *path]


def main(role: str, descriptor: int) -> None:
    """Be a nursery or a worker, on an inherited socket."""
    os.set_inheritable(descriptor, False)
    there = socket.socket(fileno=descriptor)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver hears it too, and decides
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    if role == "worker":
        work(there)
        return
    pipe = Nurse(there).serve()
    if pipe is None:
        return
    status = 1
    try:  # a forked worker: exit handlers and buffers are the nursery's
        work(pipe)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        _flush()
        os._exit(status)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()


class Nurse:
    """Starts workers, tells the driver how they ended, and ends them when it is gone."""

    def __init__(self, driver: socket.socket) -> None:
        self.driver = driver
        self._children: dict[int, int] = {}  # pid → number
        self._selector = selectors.DefaultSelector()
        self._woken, self._waker = socket.socketpair()

    def serve(self) -> socket.socket | None:
        """Serve until the driver is gone or has had enough.

        Returns None then, and the worker's socket in every process that was forked.
        """
        try:
            setup = frames.read(self.driver)
            self._parent, self._fresh = setup["driver"], setup["fresh"]
            self._watch_children()
            if not self._fresh:
                _preload(setup["preload"])
            frames.write(self.driver, ("ready",))
            return self._serve()
        except (EOFError, ConnectionError):
            self._end(self._signal_all(signal.SIGKILL))
            return None

    def _watch_children(self) -> None:
        for end in (self._woken, self._waker):
            end.setblocking(False)
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._selector.register(self.driver, selectors.EVENT_READ)

    def _wait(self, seconds: float) -> bool:
        """Wait for children and driver; return whether the driver has something to say."""
        ready = [key.fileobj for key, _ in self._selector.select(seconds)]
        if self._woken in ready:
            self._woken.recv(4096)
            self._bury()
        if os.getppid() != self._parent:
            raise EOFError("the driver is gone")
        return self.driver in ready

    def _serve(self) -> socket.socket | None:
        while True:
            if not self._wait(LOOK):
                continue
            message = frames.read(self.driver)
            if message[0] == "start":
                pipe = self._start(*message[1:])
                if pipe is not None:
                    return pipe
            elif message[0] == "signal":
                self._signal(*message[1:])
            elif message[0] == "stop":
                self._stop(message[1])
                return None

    def _start(self, number: int, environment: dict[str, str], folder: str) -> socket.socket | None:
        """Start a worker; return its socket in the new process and None in this one."""
        _, descriptors, _, _ = socket.recv_fds(self.driver, 1, 1)
        if not descriptors:
            raise EOFError("the driver is gone")
        pipe = descriptors[0]
        _flush()
        pid = os.fork()
        if pid:
            os.close(pipe)
            self._children[pid] = number
            frames.write(self.driver, ("started", number, pid))
            return None
        try:
            self._become(environment, folder)
            if self._fresh:
                os.set_inheritable(pipe, True)
                os.execv(sys.executable, command("worker", pipe))
            os.set_inheritable(pipe, False)
            return socket.socket(fileno=pipe)
        except BaseException:
            traceback.print_exc()
            os._exit(1)

    def _become(self, environment: dict[str, str], folder: str) -> None:
        """Leave everything of the nursery behind, in a new process."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._selector.close()
        for end in (self._woken, self._waker, self.driver):
            end.close()
        os.environ.update(environment)
        os.chdir(folder)

    def _bury(self) -> None:
        """Tell the driver which workers have ended, and how."""
        for pid, number in list(self._children.items()):
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                del self._children[pid]
                frames.write(self.driver, ("ended", number, os.waitstatus_to_exitcode(status)))

    def _signal(self, number: int, which: int) -> None:
        for pid, owner in self._children.items():
            if owner == number:
                os.kill(pid, which)

    def _signal_all(self, which: int) -> float:
        for pid in self._children:
            os.kill(pid, which)
        return KILL_SECONDS if which == signal.SIGKILL else TERM_SECONDS

    def _stop(self, patience: float) -> None:
        """Wait for the workers to end by themselves, then ask them to, then make them."""
        for which in (None, signal.SIGTERM, signal.SIGKILL):
            seconds = patience if which is None else self._signal_all(which)
            end = time.monotonic() + seconds
            while self._children and (left := end - time.monotonic()) > 0:
                if self._wait(left):
                    frames.read(self.driver)  # nothing more is expected, but its end

    def _end(self, seconds: float) -> None:
        """Wait for children that were killed, so that nobody outlives the nursery."""
        end = time.monotonic() + seconds
        while self._children and time.monotonic() < end:
            for pid in list(self._children):
                if os.waitpid(pid, os.WNOHANG)[0]:
                    del self._children[pid]
            time.sleep(0.005)


def _preload(module: str) -> None:
    """Import what the jobs need. If that fails, it fails again in the job, which tells why."""
    try:
        importlib.import_module(module)
    except BaseException:
        return
    finally:
        gc.collect()
        gc.freeze()  # collections in a worker would copy every page they look at


def work(pipe: socket.socket) -> None:
    """Run one job after the other until the driver has no more; leave with the driver."""
    _limit_threads()
    jobs: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(pipe, jobs), daemon=True).start()
    from llt_core.interfaces import perform
    from llt_core.interfaces.executor import Outcome, describe_failure

    turn = threading.Lock()

    def say(message: Any) -> None:
        with turn:
            try:
                frames.write(pipe, message)
            except OSError:
                os._exit(1)  # nobody is left to tell

    while (job := jobs.get()) is not None:
        say(None)  # taken up: from here on the job may fail
        outcome = perform(job, say)
        try:
            say(outcome)
        except Exception as error:  # a result that cannot be pickled
            say(Outcome(job.id, **describe_failure(error)))


def _listen(pipe: socket.socket, jobs: queue.SimpleQueue[Any]) -> None:
    """Pass jobs on; end the process when the driver is gone, also in the middle of a job."""
    try:
        while True:
            jobs.put(frames.read(pipe))
    except BaseException:
        os._exit(1)


def _limit_threads() -> None:
    """Tell torch, if the nursery has loaded it: it read its environment there."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
