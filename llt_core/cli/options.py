"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import rich_click as click

from llt_core.locations import DATA_VARIABLE, STORE_VARIABLE

Command = TypeVar("Command", bound=Callable[..., Any])


def store_option(command: Command) -> Command:
    """Add ``--store``."""
    return click.option(
        "--store",
        metavar="DIR",
        help=f"Folder of finished cells  [dim](${STORE_VARIABLE}, else ./llt-store)[/]",
    )(command)


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
