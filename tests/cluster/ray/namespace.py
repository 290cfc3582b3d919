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
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1


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


def raise_loopback():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
        request = struct.pack("16sH14s", b"lo", 0, b"")
        flags = struct.unpack("16sH14s", fcntl.ioctl(end, SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(end, SIOCSIFFLAGS, struct.pack("16sH14s", b"lo", flags | IFF_UP, b""))


if __name__ == "__main__":
    raise_loopback()
    sys.exit(subprocess.run(sys.argv[1:]).returncode)
