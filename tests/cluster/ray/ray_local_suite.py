"""A Ray that llt starts for itself; started by test_ray.py in a namespace of its own."""

import contextlib
import http.server
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from namespace import CLOUD
from ray_nodes import command_of, processes, wait_until

from llt_core.interfaces import Job
from llt_plugins.executors.ray_cluster import RayCluster
from llt_plugins.executors.ray_connection import PREFIX

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif("LLT_NAMESPACE" not in os.environ, reason="run by test_ray.py"),
]


@pytest.fixture(autouse=True)
def surroundings(tmp_path, monkeypatch):
    """Have an empty home, a short folder for temporary files, and no address of a cluster."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="t") as short:
        monkeypatch.setenv("TMPDIR", short)
        monkeypatch.setattr(tempfile, "tempdir", short)
        yield
    wait_until(lambda: not of_ray(), "Ray's processes to end", seconds=20)


@pytest.fixture
def started(tmp_path):
    """Return a function that starts an executor; it is closed at the end."""
    with contextlib.ExitStack() as stack:

        def start():
            executor = RayCluster()
            executor.start(tmp_path / "executor")
            stack.callback(executor.close)
            return executor

        yield start


def of_ray():
    """Return the processes that belong to Ray."""
    lines = {process: " ".join(command_of(process)) for process in processes()}
    return [p for p, line in lines.items() if "-packages/ray/" in line or line.startswith("ray::")]


def at_work():
    return [p for p in of_ray() if command_of(p)[0].startswith("ray::run")]


def folders():
    return list(Path(tempfile.gettempdir()).glob(f"{PREFIX}*"))


def finished(executor, job):
    executor.submit(job, lambda progress: None)
    (outcome,) = executor.poll(timeout=60)
    assert outcome.failure is None, outcome.message
    return outcome.result


@pytest.fixture
def questions():
    """A semaphore that counts the questions to the cloud service that Ray would ask."""
    asked = threading.Semaphore(0)

    class Service(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.release()
            self.send_error(404)

        def log_message(self, *words):
            pass

    with http.server.ThreadingHTTPServer((CLOUD, 80), Service) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(f"http://{CLOUD}/", timeout=10)
        assert asked.acquire(timeout=10)
        yield asked
        server.shutdown()


def test_it_keeps_to_itself(started, questions, capfd):
    """No trace in the home, in the environment or of signals; no question to the network."""
    import ray  # notes in the environment how it is used

    assert not ray.is_initialized()
    environment = dict(os.environ)
    handler = signal.getsignal(signal.SIGTERM)
    for _ in range(2):
        executor = started()
        assert signal.getsignal(signal.SIGTERM) is handler
        assert dict(os.environ) == environment
        (folder,) = folders()
        assert (folder / "token").stat().st_mode & 0o077 == 0
        result = finished(executor, Job("0", "ray_jobs:process", {}))
        assert result["home"] == os.environ["HOME"]
        log = folder / "ray/session_latest/logs/dashboard.log"
        wait_until(lambda log=log: "Usage reporting is disabled" in log.read_text(), "its word")
        executor.close()
        assert folders() == []
    assert not questions.acquire(timeout=2)
    assert list(Path(os.environ["HOME"]).iterdir()) == []
    assert capfd.readouterr().out == ""


DRIVER = """
import pathlib, signal, sys, time
from llt_core.interfaces import Job
from llt_plugins.executors.ray_cluster import RayCluster

heard = []
signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
executor = RayCluster(cpus=1)
executor.start(pathlib.Path(sys.argv[1]))
job = Job("0", "llt_core.testing.jobs:sleep", {"seconds": float(sys.argv[2]), "begun": sys.argv[3]})
executor.submit(job, lambda progress: None)
print("submitted", flush=True)
outcomes = []
while not outcomes:
    outcomes = executor.poll(timeout=1)
print(heard, [outcome.failure for outcome in outcomes], flush=True)
executor.close()
"""


@pytest.fixture
def driver(tmp_path):
    """Return a function that starts a driver with one job, and waits until the job runs."""
    started = []

    def start(seconds):
        begun = tmp_path / "begun"
        driver = subprocess.Popen(
            [sys.executable, "-c", DRIVER, str(tmp_path), str(seconds), str(begun)],
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(driver)
        assert driver.stdout.readline() == "submitted\n"
        wait_until(begun.exists, "the job")
        return driver

    yield start
    for driver in started:
        driver.kill()
        driver.wait()


def test_ctrl_c_reaches_the_driver_alone(driver):
    """The terminal sends it to all processes of the group; jobs and Ray go on."""
    driver = driver(seconds=3)
    os.killpg(driver.pid, signal.SIGINT)
    assert driver.stdout.readline() == "[2] [None]\n"
    assert driver.wait(timeout=60) == 0


def test_nothing_outlives_a_killed_driver(driver, started):
    driver = driver(seconds=3600)
    assert at_work()
    driver.kill()
    driver.wait()
    wait_until(lambda: not at_work(), "the job to end", seconds=30)
    wait_until(lambda: not of_ray(), "Ray's processes to end")  # its agents take a minute
    assert len(folders()) == 1
    executor = started()
    left = folders()
    executor.close()
    assert len(left) == 1  # its own: the one that was left behind is gone
    assert folders() == []


def test_a_job_that_takes_all_memory(started, monkeypatch):
    """Ray ends it before the kernel would; with a limit that any job passes."""
    monkeypatch.setenv("RAY_memory_usage_threshold", "0.0")
    monkeypatch.setenv("RAY_memory_monitor_refresh_ms", "100")
    executor = started()
    executor.submit(Job("0", "llt_core.testing.jobs:sleep", {"seconds": 60}), lambda progress: None)
    start = time.monotonic()
    (outcome,) = executor.poll(timeout=50)
    assert outcome.failure == "out_of_memory", outcome.message
    assert time.monotonic() - start < 50
