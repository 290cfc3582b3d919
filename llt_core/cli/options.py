"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import rich_click as click

from llt_core.errors import RequestError
from llt_core.locations import DATA_VARIABLE, STORE_VARIABLE

if TYPE_CHECKING:
    from pathlib import Path

    from llt_core.spec import Named
    from llt_core.store import Store

Command = TypeVar("Command", bound=Callable[..., Any])


def store_option(command: Command) -> Command:
    """Add ``--store``."""
    return click.option(
        "--store",
        metavar="DIR",
        help=f"Folder of finished cells  [dim](${STORE_VARIABLE}, else ./llt-store)[/]",
    )(command)


def store_if_there(given: str | None) -> Store | None:
    """Open the store a user names, or else the usual one; None if that is not there yet.

    Raises
    ------
    StoreError
        There is no store where one is named, or something else.
    """
    from llt_core.locations import store_root
    from llt_core.store import Store

    if given is not None:
        return Store(store_root(given), create=False)
    return Store.existing(store_root())


def check_free(path: Path, force: bool) -> None:
    """Refuse to write over a file that is there, unless by force."""
    if path.exists() and not force:
        raise RequestError(
            f"{path} is there already",
            expected="a name that is free, or --force to replace the file",
            next_step="the same command with --force",
        )


def data_option(command: Command) -> Command:
    """Add ``--data-root``."""
    return click.option(
        "--data-root",
        metavar="DIR",
        help=f"Folder of data files  [dim](${DATA_VARIABLE}, else ~/.cache/llt/data)[/]",
    )(command)


def all_option(command: Command) -> Command:
    """Add ``--all``."""
    return click.option(
        "--all", "every", is_flag=True, help="Every quantity, not only the first of each metric"
    )(command)


def json_option(command: Command) -> Command:
    """Add ``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table")(
        command
    )


def json_lines_option(command: Command) -> Command:
    """Add ``--json-lines``."""
    return click.option(
        "--json-lines",
        is_flag=True,
        help="Print what happens as it happens, one JSON object a line",
    )(command)


def check_output(as_json: bool, json_lines: bool) -> None:
    """Refuse two forms of output at once."""
    if as_json and json_lines:
        raise RequestError("--json and --json-lines at once", expected="one of them")


def set_option(command: Command) -> Command:
    """Add ``--set``."""
    return click.option(
        "--set",
        "assignments",
        metavar="PATH=VALUE",
        multiple=True,
        help="Set one field: task.X, architecture.X, train.X, metric.NAME.X, …",
    )(command)


def how_options(command: Command) -> Command:
    """Add everything that says where and how to compute, and nothing that says what."""
    for add in (force_option, data_option, store_option, _track, _executor, _compute):
        command = add(command)
    return command


def take_how(options: dict[str, Any]) -> dict[str, Any]:
    """Take the values of :func:`how_options` out of ``options``, as ``execute`` wants them."""
    from llt_core.locations import data_root, store_root
    from llt_core.spec import ComputeSettings, Named

    executor = options.pop("executor")
    names = ("device", "threads", "checkpoint_minutes", "checkpoint_epochs")
    return {
        "store": store_root(options.pop("store")),
        "data_root": data_root(options.pop("data_root")),
        "compute": ComputeSettings(**{name: options.pop(name) for name in names}),
        "executor": None if executor is None else Named.parse(executor),
        "track": _chosen_trackers(options.pop("track"), options.pop("no_track")),
        "force": options.pop("force"),
    }


def _compute(command: Command) -> Command:
    epochs = click.option(
        "--checkpoint-epochs",
        type=click.IntRange(min=0),
        default=0,
        show_default=True,
        help="The same in epochs; 0: by the clock",
    )
    minutes = click.option(
        "--checkpoint-minutes",
        type=click.FloatRange(min=0),
        default=5.0,
        show_default=True,
        help="Keep a training under way every so often, to go on there; 0: never",
    )
    threads = click.option(
        "--threads",
        type=click.IntRange(min=0),
        default=0,
        show_default=True,
        help="CPU threads of one job; 0: as the executor says, else as OMP_NUM_THREADS, else "
        "all cores",
    )
    device = click.option("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    return device(threads(minutes(epochs(command))))


def _executor(command: Command) -> Command:
    executor = click.option(
        "--executor",
        metavar="NAME[:KEY=VALUE,…]",
        help="Where to compute: llt list-plugins --kind executor",
    )
    retries = click.option(
        "--retries",
        type=click.IntRange(min=0),
        default=2,
        show_default=True,
        help="Tries more for a cell that was killed, timed out or ran out of memory",
    )
    return executor(retries(command))


def _track(command: Command) -> Command:
    track = click.option(
        "--track",
        metavar="NAME[:KEY=VALUE,…]",
        multiple=True,
        help="Tell a tracker of every cell: llt list-plugins --kind tracker",
    )
    off = click.option("--no-track", is_flag=True, help="No tracker, whatever llt.toml says")
    return track(off(command))


def _chosen_trackers(track: Sequence[str], no_track: bool) -> list[Named] | None:
    """Return what ``--track`` and ``--no-track`` ask for; None leaves it to ``llt.toml``."""
    from llt_core.spec import Named

    if no_track and track:
        raise RequestError("--track and --no-track at once", expected="one of them")
    return [Named.parse(text) for text in track] if track or no_track else None


def force_option(command: Command) -> Command:
    """Add ``--force``."""
    return click.option("--force", is_flag=True, help="Compute again what the store holds")(command)


def dry_run_option(command: Command) -> Command:
    """Add ``--dry-run``."""
    return click.option(
        "--dry-run", is_flag=True, help="Show the cells and what they cost, then stop"
    )(command)


def replace_option(command: Command) -> Command:
    """Add ``--force``, of what is kept by a name."""
    return click.option(
        "--force", is_flag=True, help="Replace a table of other content that has the name"
    )(command)


def quiet_option(command: Command) -> Command:
    """Add ``--quiet``."""
    return click.option("--quiet", "-q", is_flag=True, help="No progress")(command)


def sweep_option(command: Command) -> Command:
    """Add ``--sweep``."""
    return click.option(
        "--sweep",
        metavar="NAME",
        help="Only this sweep or imported table, its varied fields as columns",
    )(command)
