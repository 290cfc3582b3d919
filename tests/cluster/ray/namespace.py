"""Run a command with a network and processes of its own: ``python namespace.py COMMAND…``.

Only the loopback exists inside, so nothing listens to the world and nothing is asked of it; all
processes end with the command, whatever they are.
"""

import fcntl
import os
import shutil
import socket
import struct
import subprocess
import sys
from pathlib import Path

UNSHARE = ["unshare", "--net", "--pid", "--fork", "--mount-proc", "--kill-child"]
SIOCSIFFLAGS, SIOCSIFADDR, IFF_UP, IFF_RUNNING = 0x8914, 0x8916, 0x1, 0x40
CLOUD = "169.254.169.254"
"""Where clouds tell machines what they are; inside, this machine."""


def wrapped(command):
    """Return the command line that runs ``command`` inside."""
    user = [] if os.geteuid() == 0 else ["--map-root-user"]
    return [*UNSHARE, *user, sys.executable, str(Path(__file__)), *command]


def why_not():
    """Say why there can be no such place on this machine; empty if there can."""
    if not shutil.which("unshare"):
        return "needs the command unshare (util-linux)"
    tried = subprocess.run(wrapped(["true"]), capture_output=True, text=True)
    return tried.stderr.strip() if tried.returncode else ""


def give_address(name, address):
    """Give an address to a network interface, and switch it on."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
        packed = struct.pack("16sHH4s8x", name, socket.AF_INET, 0, socket.inet_aton(address))
        fcntl.ioctl(end, SIOCSIFADDR, packed)
        fcntl.ioctl(end, SIOCSIFFLAGS, struct.pack("16sH14s", name, IFF_UP | IFF_RUNNING, b""))


def run(command):
    """Run a command, and be to others what the first process has to be: who buries them.

    Ray's workers take a dead raylet that nobody has asked after for a living one.
    """
    first = subprocess.Popen(command)
    while True:
        process, status = os.wait()
        if process == first.pid:
            return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    give_address(b"lo", "127.0.0.1")
    give_address(b"lo:1", CLOUD)
    code = run(sys.argv[1:])
    sys.exit(code if code >= 0 else 128 - code)
