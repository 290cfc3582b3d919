"""Claims: which driver has a cell computed, so that two never do the same work.

``STORE/claims/DIGEST/N`` says who holds a cell, where the highest N counts. A claim is made by
a hard link that fails where there is one already, which needs no locks and works on network
file systems. Of two drivers that find the holder dead, one gets to make the next number.
"""

from __future__ import annotations

import errno
import os
import random
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from llt_core.store.cells import Store
from llt_core.store.drivers import Driver, Liveness
from llt_core.store.files import write_whole

_TRIES = 20


class Claim(BaseModel):
    """Who holds a cell.

    ``handle`` names a job that goes on without its driver, to the ``executor`` that runs it;
    empty for one that ends with the driver. A ``lasting`` one may have been passed on before it
    could be named: whoever takes its cell over looks for a job first.
    """

    model_config = ConfigDict(frozen=True)

    driver: str
    executor: str = ""
    handle: str = ""
    lasting: bool = False


@dataclass
class _Found:
    """The claims in one folder: by number; None where one cannot be read."""

    claims: dict[int, Claim | None]

    @classmethod
    def of(cls, folder: Path) -> _Found:
        found: dict[int, Claim | None] = {}
        with suppress(FileNotFoundError, NotADirectoryError):  # a stray file is no claim
            for name in os.listdir(folder):
                if name.isdecimal():
                    with suppress(FileNotFoundError):
                        found[int(name)] = _read(folder / name)
        return cls(found)

    def last(self) -> Claim | None:
        """Return the claim that counts."""
        return self.claims[max(self.claims)] if self.claims else None


class Claims:
    """The claims of one driver on the cells of a store."""

    def __init__(
        self, store: Store, driver: Driver, executor: str = "", *, lasting: bool = False
    ) -> None:
        self.executor = executor
        self._root = store.root / "claims"
        self._claim = Claim(driver=driver.token, executor=executor, lasting=lasting)
        self._liveness = Liveness(store)
        self._mine: dict[str, int] = {}
        self._left = False

    def take(self, digest: str) -> Claim | None:
        """Claim a cell. Return None if it is this driver's now, else who holds it."""
        if digest in self._mine:
            return None
        folder = self._root / digest
        holder = Claim(driver="another driver")
        for attempt in range(_TRIES):
            found = _Found.of(folder)
            mine = [n for n, claim in found.claims.items() if self._is_mine(claim)]
            for number, claim in found.claims.items():
                if number in mine:
                    continue
                if claim is None and self._liveness.changed(folder / str(number)):
                    return holder  # just being written
                if claim is not None and self._lives(claim):
                    return claim
            number = max(found.claims, default=0)
            if number in mine:
                # Made or not released by a call whose answer a file server lost.
                self._mine[digest] = number
                return None
            number += 1
            if self._make(folder, number):
                after = _Found.of(folder).claims
                if {n: c for n, c in after.items() if n != number}.items() <= found.claims.items():
                    self._mine[digest] = number
                    return None
                (folder / str(number)).unlink(missing_ok=True)  # somebody came in between
            time.sleep(random.uniform(0, 0.01) * attempt)
        return holder

    def release(self, digest: str) -> None:
        """Give a cell back; those who held it before and died lose their claims, too."""
        number = self._mine.pop(digest, None)
        if number is None:
            return
        folder = self._root / digest
        with suppress(OSError):
            for old in [n for n in _Found.of(folder).claims if n <= number]:
                (folder / str(old)).unlink(missing_ok=True)
            folder.rmdir()

    def release_all(self) -> None:
        """Give back every cell, except those whose jobs go on without this driver."""
        for digest in () if self._left else list(self._mine):
            self.release(digest)

    def clear(self) -> None:
        """Remove the claims of the dead, and what else dead drivers left."""
        with suppress(OSError):
            for digest, claim in list(read_claims(self._root.parent)):
                # By taking and giving back: whoever wants the cell meanwhile gets it after.
                over = not (claim.lasting or self._lives(claim))
                if over and self.take(digest) is None:
                    self.release(digest)
            self._liveness.clear()

    def name(self, digest: str, handle: str) -> None:
        """Note by which handle another driver could take over the job that computes a cell."""
        claim = self._claim.model_copy(update={"handle": handle})
        number = self._mine.get(digest)
        with suppress(FileNotFoundError):  # somebody thought this driver dead, and is done
            if number is not None:
                write_whole(self._root / digest / str(number), claim.model_dump_json())

    def inherited(self, digest: str) -> bool:
        """Whether a cell was taken over from a driver that died."""
        return self._mine.get(digest, 0) > 1

    def leave_all(self) -> None:
        """Keep every claim when this driver goes: its jobs may go on."""
        self._left = True

    def leave(self, digest: str) -> None:
        """Keep a claim when this driver goes: its job goes on."""
        self._mine.pop(digest, None)

    def orphans(self) -> dict[str, list[str]]:
        """Return the digests of jobs this driver's executor runs for a dead driver, by handle."""
        found = self.all_orphans().items()
        return {handle: digests for (name, handle), digests in found if name == self.executor}

    def all_orphans(self) -> dict[tuple[str, str], list[str]]:
        """Return the digests of jobs of dead drivers, by the executor and the handle."""
        found: dict[tuple[str, str], list[str]] = {}
        alive = {self._claim.driver: False}  # one of its own that it does not know is no one's
        for digest, claim in read_claims(self._root.parent):
            if digest in self._mine or not claim.handle:
                continue
            if claim.driver not in alive:
                alive[claim.driver] = self._liveness.alive(claim.driver)
            if alive[claim.driver]:
                continue
            found.setdefault((claim.executor, claim.handle), []).append(digest)
        return found

    def named(self) -> set[tuple[str, str]]:
        """Return the handle and the digest of every claim that has a handle."""
        return {(c.handle, digest) for digest, c in read_claims(self._root.parent) if c.handle}

    def adopt(self, digest: str, handle: str) -> bool:
        """Take the claim of a dead driver over, with the job it names; whether that worked."""
        folder = self._root / digest
        found = _Found.of(folder)
        last = found.last()
        if last is None or last.handle != handle:
            return False
        number = max(found.claims)
        if not self._is_mine(last):
            if self._liveness.alive(last.driver):
                return False
            number += 1
            if not self._make(folder, number, handle):
                return False
        self._mine[digest] = number
        return True

    def _is_mine(self, claim: Claim | None) -> bool:
        return claim is not None and claim.driver == self._claim.driver

    def _lives(self, claim: Claim) -> bool:
        return bool(claim.handle) or self._liveness.alive(claim.driver)

    def _make(self, folder: Path, number: int, handle: str = "") -> bool:
        """Write claim ``number`` unless there is one."""
        path = folder / str(number)
        beside = self._root / f".{self._claim.driver}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            try:
                claim = self._claim.model_copy(update={"handle": handle})
                beside.write_text(claim.model_dump_json(), encoding="utf-8")
                _link(beside, path)
            finally:
                beside.unlink(missing_ok=True)
        except (FileExistsError, FileNotFoundError):  # made, or the folder removed, in between
            if folder.is_file():  # nothing of ours, and in the way
                folder.unlink(missing_ok=True)
            return False
        return True


def read_claims(root: Path) -> Iterator[tuple[str, Claim]]:
    """Yield the digest of each claimed cell in the store at ``root``, and who holds it."""
    with suppress(FileNotFoundError):
        for digest in sorted(os.listdir(root / "claims")):
            if not digest.startswith(".") and (claim := _Found.of(root / "claims" / digest).last()):
                yield digest, claim


def claim_files(root: Path) -> Iterator[tuple[Path, Claim | None]]:
    """Yield the file of every claim in the store at ``root``, dead ones too, and what it says.

    None for one that cannot be read, and for what a driver was writing when it died.
    """
    with suppress(FileNotFoundError):
        for name in sorted(os.listdir(root / "claims")):
            folder = root / "claims" / name
            if name.startswith("."):
                yield folder, None
                continue
            for number, claim in sorted(_Found.of(folder).claims.items()):
                yield folder / str(number), claim


def _link(source: Path, target: Path) -> None:
    """Give a file a second name, if that is free; copy it where the file system has no links."""
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK):
            raise
        with target.open("x", encoding="utf-8") as file:
            file.write(source.read_text(encoding="utf-8"))


def _read(path: Path) -> Claim | None:
    try:
        return Claim.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise
    except (OSError, ValidationError):
        return None
