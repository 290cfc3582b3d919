"""A Ray cluster of several nodes on one machine; only inside a namespace of its own."""

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
        """Kill the raylet of a node, and with it the node."""
        for process in self.raylets(address):
            os.kill(process, signal.SIGKILL)

    def raylets(self, address):
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                words = (folder / "cmdline").read_bytes().decode().split("\0")
            except OSError:
                continue
            if words[0].endswith("/raylet") and f"--node_ip_address={address}" in words:
                found.append(int(folder.name))
        return found

    def _ray(self, *words):
        done = subprocess.run(
            [*RAY, *words], env=self.environment, capture_output=True, text=True, timeout=PATIENCE
        )
        assert done.returncode == 0, done.stdout + done.stderr


def wait_until(true, what, seconds=PATIENCE):
    end = time.monotonic() + seconds
    while not (answer := true()):
        assert time.monotonic() < end, f"{what}: not within {seconds:g} s"
        time.sleep(0.1)
    return answer
