"""Asking Slurm what became of jobs: one question for all of them, with or without accounting."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Collection, Iterable
from dataclasses import dataclass

ENDED = frozenset(
    {
        "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "LAUNCH_FAILED", "NODE_FAIL",
        "OUT_OF_MEMORY", "PREEMPTED", "RECONFIG_FAIL", "REVOKED", "TIMEOUT",
    }
)  # fmt: skip
"""States from which a job comes back only by being requeued."""

PATIENCE = 30.0
"""Seconds to wait for an answer of Slurm's commands."""


@dataclass(frozen=True)
class State:
    """What Slurm says of one job: the word, why, and the name it was given."""

    word: str
    reason: str = ""
    name: str = ""

    @property
    def ended(self) -> bool:
        """Whether the job has ended, unless it is requeued."""
        return self.word in ENDED

    @property
    def stuck(self) -> bool:
        """Whether Slurm holds the job because a node could not start it: it would wait for ever."""
        return "launch_failed" in self.reason.lower().replace(" ", "_")


class Queue:
    """Slurm's view of this user's jobs."""

    def __init__(self) -> None:
        self._accounting = True

    def states(self) -> dict[str, State] | None:
        """Return the state of every job Slurm still knows, as ``ARRAY_TASK``; None: no answer.

        Jobs that ended stay known for a few minutes (``MinJobAge``). A task that is cancelled
        while it waits is forgotten at once.
        """
        command = ["squeue", "--noheader", "--array", "--states=all", f"--user={os.getuid()}"]
        text = _answer([*command, "--format=%F|%K|%T|%j|%r"])
        if text is None:
            return None
        found = {}
        for line in text.splitlines():
            parts = line.strip().split("|", 4)
            if len(parts) == 5:
                array, task, word, name, reason = parts
                found[f"{array}_{task}"] = State(word, reason, name)
        return found

    def remembered(self, names: Collection[str]) -> dict[str, State]:
        """Return what the accounting, where there is one, remembers of jobs that have ended."""
        if not names or not self._accounting:
            return {}
        arrays = sorted({name.partition("_")[0] for name in names})
        command = ["sacct", "--noheader", "--parsable2", "--allocations", "--format=JobID,State"]
        text = _answer([*command, f"--jobs={','.join(arrays)}"])
        if text is None:
            self._accounting = False
            return {}
        found: dict[str, State] = {}
        for line in text.splitlines():
            name, _, words = line.partition("|")
            word, _, reason = words.partition(" ")
            for task in _expanded(name):
                if task in names and word in ENDED:
                    found[task] = State(word, reason)
        return found

    def cancel(self, names: Iterable[str], *, waiting: bool = False) -> None:
        """Cancel jobs, many with one command; only those that have not begun, if ``waiting``."""
        left = list(names)
        which = ["--state=PENDING"] if waiting else []
        while left:
            _answer(["scancel", *which, *left[:200]])
            left = left[200:]


def _expanded(name: str) -> list[str]:
    """Return the tasks a name of the accounting stands for.

    >>> _expanded("12_[0-1,4%2]"), _expanded("12_7")
    (['12_0', '12_1', '12_4'], ['12_7'])
    """
    match = re.fullmatch(r"(\d+)_\[([\d,-]+)(?:%\d+)?\]", name)
    if match is None:
        return [name]
    tasks = []
    for part in match[2].split(","):
        first, _, last = part.partition("-")
        tasks += [f"{match[1]}_{task}" for task in range(int(first), int(last or first) + 1)]
    return tasks


def _answer(command: list[str]) -> str | None:
    """Run a command of Slurm's; None if it fails or does not answer."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
