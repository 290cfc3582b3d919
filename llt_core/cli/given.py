"""What is wrong with a command line before any option is looked at by itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import rich_click as click

from llt_core.errors import RequestError


def check_given(command: click.Command, arguments: Sequence[str]) -> None:
    """Refuse empty values, and several values of what takes one.

    An empty value is a shell variable that is not set. Click would take it for the default
    in one place and for a name in another, and of several values the last.

    Raises
    ------
    RequestError
        Names the option.
    """
    # Resilient: what click itself finds wrong, it tells better when it parses in earnest.
    context = click.Context(command, resilient_parsing=True)
    values, rest, order = command.make_parser(context).parse_args(list(arguments))
    for parameter, times in Counter(order).items():
        value = values.get(parameter.name or "")
        several = parameter.multiple if isinstance(parameter, click.Option) else True
        if value == "" or (isinstance(value, list | tuple) and "" in value):
            raise RequestError(
                f"{_name(parameter)} is empty",
                expected=parameter.make_metavar(context),
                next_step="give it a value, or leave it out; a shell variable may not be set",
            )
        if times > 1 and not several and not getattr(parameter, "is_flag", False):
            raise RequestError(
                f"{_name(parameter)} is given {times} times", expected="one value, once"
            )
    if isinstance(command, click.Group) and rest:
        within = command.get_command(context, rest[0])
        if within is not None:
            check_given(within, rest[1:])


def _name(parameter: click.Parameter) -> str:
    if isinstance(parameter, click.Option):
        return max(parameter.opts, key=len)
    return parameter.human_readable_name
