"""Whole messages through a stream socket: a length, then a pickle."""

from __future__ import annotations

import pickle
import socket
import struct
from collections.abc import Iterator
from typing import Any

LENGTH = struct.Struct("!Q")
CHUNK = 1 << 16


def write(to: socket.socket, message: Any) -> None:
    """Send ``message``; wait until the socket has taken it."""
    content = pickle.dumps(message)
    to.sendall(LENGTH.pack(len(content)) + content)


def read(source: socket.socket) -> Any:
    """Wait for one message.

    Takes no byte more than the message has, so that a descriptor sent after it stays with
    the byte that carries it.

    Raises
    ------
    EOFError
        The other end is gone.
    """
    (length,) = LENGTH.unpack(_exactly(source, LENGTH.size))
    return pickle.loads(_exactly(source, length))


def _exactly(source: socket.socket, count: int) -> bytes:
    found = bytearray()
    while len(found) < count:
        try:
            part = source.recv(min(count - len(found), CHUNK))
        except ConnectionError:
            part = b""
        if not part:
            raise EOFError("the other end is gone")
        found += part
    return bytes(found)


class Inbox:
    """Takes what has arrived and never waits for the rest.

    A sender that stops in the middle of a message, for whatever reason, holds nobody up.

    Attributes
    ----------
    closed
        Whether the other end is gone.
    """

    def __init__(self, source: socket.socket) -> None:
        self.source = source
        self.closed = False
        self._bytes = bytearray()

    def fileno(self) -> int:
        """Return the descriptor to wait for."""
        return self.source.fileno()

    @property
    def pending(self) -> bool:
        """Whether a whole message has been received and not been taken."""
        return self._end() is not None

    def take(self) -> Iterator[bytes]:
        """Yield the pickles that are complete. What is not taken is kept."""
        self._receive()
        while (end := self._end()) is not None:
            content = bytes(self._bytes[LENGTH.size : end])
            del self._bytes[:end]
            yield content

    def _end(self) -> int | None:
        """Return where the first message ends, None if it is not all there."""
        if len(self._bytes) < LENGTH.size:
            return None
        (length,) = LENGTH.unpack_from(self._bytes)
        end = LENGTH.size + int(length)
        return end if len(self._bytes) >= end else None

    def _receive(self) -> None:
        while not self.closed:
            try:
                part = self.source.recv(CHUNK, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError:
                part = b""
            self.closed = not part
            self._bytes += part
