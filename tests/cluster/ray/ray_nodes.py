"""A Ray cluster of several nodes on one machine; only inside a namespace of its own."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

HEAD = "127.0.0.2"
ADDRESS = f"{HEAD}:6379"
PATIENCE = 120.0
RAY = [sys.executable, "-c", "from ray.scripts.scripts import main; main()", "start"]


def quiet_environment(home):
    """Return variables with which Ray asks and tells nobody anything."""
    home.mkdir(exist_ok=True)
    (home / "ray_bootstrap_config.yaml").write_text("{}\n")
    return {
        **os.environ,
        "HOME": str(home),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_USAGE_STATS_REPORT_URL": "http://127.0.0.1:9/",
    }


class Nodes:
    """The head, which runs no jobs, and nodes that can be added and killed."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.environment = quiet_environment(self.folder / "home")
        self._ray(
            "--head", f"--node-ip-address={HEAD}", "--port=6379", "--num-cpus=0",
            "--include-dashboard=false", f"--temp-dir={self.folder / 't'}",
        )  # fmt: skip

    def add(self, number, *, cpus=1, gpus=0, resources="{}"):
        """Start a node and return its address."""
        address = f"127.0.0.{number}"
        self._ray(
            f"--address={ADDRESS}", f"--node-ip-address={address}", f"--num-cpus={cpus}",
            f"--num-gpus={gpus}", f"--resources={resources}", "--object-store-memory=200000000",
        )  # fmt: skip
        return address

    def kill(self, address):
        """Kill all processes of a node at once, as if it had lost its power."""
        for raylet in self.raylets(address):
            for process in [*descendants(raylet), raylet]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)

    def kill_raylet(self, address):
        """Kill the process of a node that starts its workers; they notice and end."""
        for raylet in self.raylets(address):
            os.kill(raylet, signal.SIGKILL)

    def raylets(self, address):
        """Return the processes that keep a node: one, while it lives."""
        return [
            process for process in processes()
            if command_of(process)[0].endswith("/raylet")
            and f"--node_ip_address={address}" in command_of(process)
        ]  # fmt: skip

    def _ray(self, *words):
        done = subprocess.run(
            [*RAY, *words], env=self.environment, capture_output=True, text=True, timeout=PATIENCE
        )
        assert done.returncode == 0, done.stdout + done.stderr


def processes():
    return [int(folder.name) for folder in Path("/proc").glob("[0-9]*")]


def command_of(process):
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes().decode().split("\0")
    except OSError:
        return [""]


def parent_of(process):
    try:
        return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def descendants(process):
    children = [one for one in processes() if parent_of(one) == process]
    return [*children, *(below for child in children for below in descendants(child))]


def wait_until(true, what, seconds=PATIENCE):
    end = time.monotonic() + seconds
    while not (answer := true()):
        assert time.monotonic() < end, f"{what}: not within {seconds:g} s"
        time.sleep(0.02)
    return answer
