"""``llt cancel``: stop whoever is at work on a sweep."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import rich_click as click

from llt_core.cli.options import store_option
from llt_core.errors import LltError
from llt_core.locations import store_root
from llt_core.store import Store
from llt_core.store.claims import Claims
from llt_core.store.drivers import DEAD_AFTER, Driver, ask_to_stop
from llt_core.store.states import Running, live_drivers, running
from llt_core.store.sweeps import SweepRecord, recall

if TYPE_CHECKING:
    from llt_core.interfaces import Executor


@click.command("cancel")
@click.argument("sweep")
@click.option("--now", is_flag=True, help="Stop running cells, too, instead of letting them finish")
@store_option
def command(sweep: str, now: bool, store: str | None) -> int:
    """Stop whoever is at work on a sweep, on whatever machine.

    Drivers are asked: they let running cells finish and start no others, as after one Ctrl-C,
    or stop at once, as after two, with --now. Jobs that go on without their driver (on Slurm)
    are cancelled if they have not begun; with --now, or if their driver is gone, all of them.
    What is finished stays; the same llt sweep goes on from there.

    \b
    [bold]Examples:[/]
      llt cancel quickstart
      llt cancel quickstart --now
    """
    opened = Store(store_root(store), create=False)
    before = _orphans(opened)
    live = [driver for driver in live_drivers(opened) if driver.sweep == sweep]
    for driver in live:
        ask_to_stop(opened, driver.token, "now" if now else "finish")
        then = "to stop now" if now else "to stop when the running cells are finished"
        where = f"{driver.host}, process {driver.pid}, {driver.executor or 'inline'}"
        print(f"asked the driver on {where}, {then}", flush=True)
    try:
        record = recall(opened, sweep)
    except LltError:
        if live:  # whose jobs they are, nobody else can tell
            return 0
        raise
    mine = {*record.models, *record.measures}
    # What a driver that was asked just now leaves to finish is not to be cancelled.
    orphans = [o for o in (_orphans(opened) if now else before) if o.digest in mine]
    stopped = sum(
        _stop_jobs(opened, record, name, [o for o in orphans if o.executor == name])
        for name in sorted({o.executor for o in orphans})
    )
    if not live and not stopped:
        print(f"nothing of {sweep} is running")
    return 0


def _orphans(store: Store) -> list[Running]:
    """Return the cells of jobs whose drivers seem gone."""
    return [cell for cell in running(store).values() if cell.driver is None]


def _stop_jobs(store: Store, sweep: SweepRecord, name: str, orphans: list[Running]) -> int:
    """Cancel the jobs of one executor that dead drivers left; return how many cells these had."""
    from llt_core.interfaces import Job

    executor = _executor(sweep, name)
    cells = 0
    with Driver(store, sweep=sweep.name, executor=name, command="llt cancel") as driver:
        claims = Claims(store, driver, name, lasting=True)
        claims.leave_all()  # until the jobs are over, whatever happens here
        try:
            executor.reconnect(store.root / "executors" / name)
            for handle, digests in _adopted(claims, orphans).items():
                # A job is called by its first cell, and only its driver knew which that is.
                jobs = (Job(digest, "", {}) for digest in digests)
                known = any(executor.attach(job, handle, lambda progress: None) for job in jobs)
                if not known:
                    print(f"the job {handle} of {name} is over", flush=True)
                    continue
                cells += len(digests)
                count = f"{len(digests)} cell{'' if len(digests) == 1 else 's'}"
                print(f"cancelling the job {handle} of {name} ({count})", flush=True)
            executor.cancel()
            for cell in orphans:
                claims.release(cell.digest)
        finally:
            executor.close()
    return cells


def _adopted(claims: Claims, orphans: list[Running]) -> dict[str, list[str]]:
    """Take the claims of dead drivers over, by handle.

    A driver on another machine counts as dead once its file was watched for a while in vain.
    """
    left = {(cell.handle, cell.digest) for cell in orphans}
    found: dict[str, list[str]] = {}
    end = time.monotonic() + DEAD_AFTER + 5
    told = False
    while True:
        theirs = {(handle, d) for handle, digests in claims.orphans().items() for d in digests}
        for handle, digest in sorted(left & theirs):
            if claims.adopt(digest, handle):
                found.setdefault(handle, []).append(digest)
                left.remove((handle, digest))
        left &= claims.named()
        if not left or time.monotonic() > end:
            return found
        if not told:
            print(f"waiting for a sign of life of a driver, at most {DEAD_AFTER:.0f} s", flush=True)
        told = True
        time.sleep(1)


def _executor(sweep: SweepRecord, name: str) -> Executor:
    """Create the executor as it was when the sweep was asked for, else as ``llt.toml`` says."""
    from pydantic import ValidationError

    from llt_core.execution import choose_executor, make_executor
    from llt_core.plugins import Catalogue
    from llt_core.spec import Named, SweepSpec

    catalogue = Catalogue.discover()
    if sweep.executor.get("name") == name:
        return make_executor(Named.model_validate(sweep.executor), catalogue)
    try:
        spec = SweepSpec.model_validate(sweep.spec)
    except (ValidationError, LltError):  # of another version: then as llt.toml says
        spec = SweepSpec.of(task="none")
    return make_executor(choose_executor(spec, Named(name=name), catalogue), catalogue)
