"""The files of an archive or folder, one after the other, without unpacking anything."""

from __future__ import annotations

import gzip
import os
import re
import stat
import tarfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NoReturn, Self, cast

from llt_core.errors import RequestError

MIB = 2**20
_HEADER_BYTES = 64 * 1024
"""A name or a table of attributes in front of a member is not longer than this."""
_NAME_LENGTH = 1024
_LONG_HEADERS = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
_KINDS = {
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.LNKTYPE: "a hard link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a named pipe",
}
_BROKEN = (
    tarfile.TarError,
    EOFError,
    zlib.error,
    OSError,
    ArithmeticError,
    LookupError,
    MemoryError,
    RecursionError,
    TypeError,
    ValueError,
)


@dataclass(frozen=True)
class Limits:
    """How much is read before it counts as a decompression bomb.

    Attributes
    ----------
    members
        Files and folders in all.
    member_bytes
        One file of an archive, read or not.
    file_bytes
        One file that is read.
    total_bytes
        All of an archive, unpacked.
    """

    members: int = 200_000
    member_bytes: int = 64 * MIB
    file_bytes: int = MIB
    total_bytes: int = 2048 * MIB


def members(
    path: Path, wanted: Callable[[str], bool], limits: Limits | None = None
) -> Iterator[tuple[str, bytes | None]]:
    """Yield each regular file's name, and its bytes where ``wanted`` says so.

    Parameters
    ----------
    path
        A tar archive, plain or compressed with gzip, or a folder. Archives are read from
        front to back; nothing is written.
    wanted
        Whether a file is to be read, by its name from ``path`` on, parts joined by ``/``.
    limits
        The usual ones if None.

    Raises
    ------
    RequestError
        It is neither, damaged, or holds what no archive of results holds: names that lead
        out of it, links, devices, more than the limits.
    """
    limits = limits or Limits()
    if path.is_dir():
        yield from _folder(path, wanted, limits)
    elif path.is_file():
        yield from _archive(path, wanted, limits)
    else:
        raise RequestError(
            f"there is no archive or folder {str(path)!r}",
            expected="a .tar.gz or .tar file, or the folder it unpacks to",
        )


def shown(name: str) -> str:
    r"""Return a stranger's name, safe to print.

    >>> shown("a/\x1b[31mb")
    'a/\\x1b[31mb'
    """
    text = repr(name)[1:-1]
    return text if len(text) <= 160 else f"{text[:100]} … {text[-40:]}"


def refuse(what: str, name: str) -> NoReturn:
    """Refuse an archive or folder because of one member.

    Raises
    ------
    RequestError
        Always.
    """
    raise RequestError(
        f"refused: {what}",
        where=shown(name),
        expected="folders and small plain files, as the experiments wrote them",
        next_step="do not use this archive before you know where it comes from",
    )


class _Counted:
    """What the archive unpacks to, no further than the limit."""

    def __init__(self, stream: IO[bytes], limit: int) -> None:
        self._stream = stream
        self._left = limit
        self.member = "the first member"

    def read(self, size: int) -> bytes:
        """Return up to ``size`` bytes more."""
        block = self._stream.read(size)
        self._left -= len(block)
        if self._left < 0:
            refuse("it unpacks to more than any archive of results", self.member)
        return block


class _Header(tarfile.TarInfo):
    """A header that is judged before anybody believes what it says.

    ``tarfile`` takes a broken header in mid-archive for the end of it, in silence.
    """

    @classmethod
    def frombuf(cls, buf: Any, encoding: str | None, errors: str) -> Self:
        """Return the header in 512 bytes."""
        header = super().frombuf(buf, encoding, errors)  # type: ignore[arg-type]
        if header.size < 0 or (header.type in _LONG_HEADERS and header.size > _HEADER_BYTES):
            refuse(f"a header states {header.size} bytes", header.name)
        return header

    @classmethod
    def fromtarfile(cls, tarfile: tarfile.TarFile) -> Self:
        """Return the next header; only a proper end mark ends an archive."""
        try:
            return super().fromtarfile(tarfile)
        except _tar_header_error as error:
            # This class of errors is in no public list, and no type checker knows it.
            if type(error).__name__ == "EOFHeaderError":
                raise
            raise _CutError(str(error)) from error


class _CutError(Exception):
    """The archive goes on, or should, but nobody can say how."""


_tar_header_error = tarfile.HeaderError


def _archive(
    path: Path, wanted: Callable[[str], bool], limits: Limits
) -> Iterator[tuple[str, bytes | None]]:
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            stream = gzip.GzipFile(fileobj=raw) if packed else raw
            yield from _tar(_Counted(cast(IO[bytes], stream), limits.total_bytes), wanted, limits)
    except (*_BROKEN, _CutError) as error:
        raise RequestError(
            f"the archive cannot be read: {_reason(error)}",
            where=str(path),
            expected="a whole tar archive, plain or compressed with gzip",
        ) from error


def _tar(
    counted: _Counted, wanted: Callable[[str], bool], limits: Limits
) -> Iterator[tuple[str, bytes | None]]:
    seen: set[str] = set()
    opened = tarfile.open(fileobj=cast(IO[bytes], counted), mode="r|", tarinfo=_Header)  # noqa: SIM115
    with opened as tar:
        count = 0
        while (member := tar.next()) is not None:
            tar.members.clear()  # type: ignore[attr-defined]
            count += 1
            counted.member = member.name
            _judge_member(member, count, limits)
            name = _plain_name(member.name)
            if not member.isreg():
                continue
            if not wanted(name):
                yield name, None
                continue
            _judge_file(name, member.size, limits)
            if name in seen:
                refuse("it occurs twice", name)
            seen.add(name)
            file = tar.extractfile(member)
            data = file.read(member.size) if file else b""
            if len(data) != member.size:
                raise EOFError("it ends in the middle of a file")
            yield name, data
    while counted.read(MIB):  # to its end, where gzip has the checksum
        pass


def _judge_member(member: tarfile.TarInfo, count: int, limits: Limits) -> None:
    if count > limits.members:
        refuse(f"more than {limits.members:,} files and folders", member.name)
    if member.issparse() or not (member.isreg() or member.isdir()):
        refuse(f"it is {_KINDS.get(member.type, 'no plain file')}", member.name)
    if not 0 <= member.size <= limits.member_bytes:
        refuse(f"it states {member.size:,} bytes", member.name)


def _judge_file(name: str, size: int, limits: Limits) -> None:
    if size > limits.file_bytes:
        refuse(f"{size:,} bytes, where results have a few thousand", name)


def _plain_name(name: str) -> str:
    """Return the name without a leading ``./``; refuse one that leads elsewhere."""
    if len(name) > _NAME_LENGTH:
        refuse(f"its name has {len(name):,} characters", name)
    parts = re.split(r"[/\\]", name)
    if name.startswith(("/", "\\")) or re.match("[A-Za-z]:", name):
        refuse("its name is an absolute path", name)
    if ".." in parts:
        refuse("its name leads out of the archive", name)
    return "/".join(part for part in parts if part not in ("", "."))


def _folder(
    root: Path, wanted: Callable[[str], bool], limits: Limits
) -> Iterator[tuple[str, bytes | None]]:
    waiting = [""]
    count = 0
    while waiting:
        folder = waiting.pop()
        for entry in _entries(root / folder):
            count += 1
            name = f"{folder}{entry.name}"
            if count > limits.members:
                refuse(f"more than {limits.members:,} files and folders", name)
            if entry.is_symlink():
                refuse("it is a symbolic link", name)
            if entry.is_dir(follow_symlinks=False):
                waiting.append(f"{name}/")
            elif not entry.is_file(follow_symlinks=False):
                refuse("it is no plain file", name)
            else:
                yield name, _file(Path(entry.path), name, limits) if wanted(name) else None


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        raise RequestError(
            f"a folder cannot be read: {error.strerror}", where=shown(str(folder))
        ) from error


def _file(path: Path, name: str, limits: Limits) -> bytes:
    """Read a plain file: what it is now, whatever it was when the folder was listed."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            facts = os.fstat(descriptor)
            if not stat.S_ISREG(facts.st_mode):
                refuse("it is no plain file", name)
            _judge_file(name, facts.st_size, limits)
            data = file.read(limits.file_bytes + 1)
    except OSError as error:
        raise RequestError(f"a file cannot be read: {error.strerror}", where=shown(name)) from error
    _judge_file(name, len(data), limits)
    return data


def _reason(error: BaseException) -> str:
    return shown(str(error)) or type(error).__name__
