"""Two sides of a benchmark, each in a process of its own."""

from __future__ import annotations

import multiprocessing
import resource
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from typing import Any

from llt_core.work.memory import keep_freed_memory

Commands = Mapping[tuple[str, str], Callable[..., Any]]
"""What each side can be asked: ``(side, command)`` → function of the problem and arguments."""


class Sides:
    """A process for each of two sides, "llt" and another, both with the same problem.

    Parameters
    ----------
    commands
        What they can be asked.
    prepare
        Makes the problem, in each process for itself.
    """

    def __init__(self, commands: Commands, prepare: Callable[[], Any]) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipes: dict[str, Connection] = {}
        self.processes = []
        for side in dict.fromkeys(side for side, _ in commands):
            self.pipes[side], theirs = context.Pipe()
            process = context.Process(target=serve, args=(theirs, side, commands, prepare))
            process.start()
            self.processes.append(process)

    def __enter__(self) -> Sides:
        return self

    def __exit__(self, *_: object) -> None:
        for pipe in self.pipes.values():
            pipe.send(None)
        for process in self.processes:
            process.join()

    def ask(self, side: str, command: str, *arguments: int) -> Any:
        """Return what ``command`` answers on one side."""
        self.pipes[side].send((command, arguments))
        return self.pipes[side].recv()


def serve(pipe: Connection, side: str, commands: Commands, prepare: Callable[[], Any]) -> None:
    if side == "llt":
        keep_freed_memory()  # as every worker of llt does
    problem = prepare()
    while (request := pipe.recv()) is not None:
        command, arguments = request
        pipe.send(commands[side, command](problem, *arguments))


def peak(
    commands: Commands, prepare: Callable[[], Any], side: str, command: str, argument: int
) -> float:
    """Return the MB that one command adds to the peak memory of a fresh process."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(
        target=weigh, args=(theirs, side, commands[side, command], prepare, argument)
    )
    process.start()
    added = ours.recv()
    process.join()
    return float(added)


def weigh(
    pipe: Connection,
    side: str,
    command: Callable[..., Any],
    prepare: Callable[[], Any],
    argument: int,
) -> None:
    if side == "llt":
        keep_freed_memory()
    problem = prepare()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    command(problem, argument)
    pipe.send((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
