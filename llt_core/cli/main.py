"""The command group. A command's file is imported only when that command is used."""

from __future__ import annotations

import importlib
import sys
from difflib import get_close_matches
from keyword import iskeyword

import rich_click as click

from llt_core.cli.given import check_given
from llt_core.errors import LltError, RequestError
from llt_core.version import __version__

COMMANDS = {
    "run": "Train one composition and measure it.",
    "sweep": "Train and measure a grid of compositions, from a file.",
    "status": "Say how far sweeps are, and who is at work.",
    "logs": "Show what was said about one cell, and why it failed.",
    "cancel": "Stop whoever is at work on a sweep.",
    "results": "List what the store holds.",
    "show-result": "Show one result: its numbers, their origin, its arrays as text plots.",
    "phases": "Sort cells into phases, and check the claims about them.",
    "plot": "Draw a result, or maps of a sweep or table, into a file (PNG, PDF, SVG).",
    "report": "Write a sweep or a table as one interactive page.",
    "simulate": "Say how few cells of a table would tell the phases of all.",
    "export": "Write the store as one flat table (CSV or Parquet).",
    "import": "Bring published results into the store, as a table.",
    "gc": "Delete what nobody needs any more; first say what that is.",
    "list-plugins": "List every task, architecture, perturbation, metric, executor and tracker.",
    "show": "Show the parameters of one plugin.",
    "doctor": "Check versions, device, data and plugins.",
}
INTERRUPTED = 130
GOES_ON = "Finished cells are kept; the same command goes on."
STARTS_OVER = "Nothing of it is kept; the same command starts over."
AFTER_CTRL_C = {"run": GOES_ON, "sweep": GOES_ON, "simulate": STARTS_OVER}
"""What is true of a command that was interrupted; of others there is nothing to say."""

click.rich_click.TEXT_MARKUP = "rich"
click.rich_click.MAX_WIDTH = 100
click.rich_click.STYLE_OPTIONS_TABLE_LEADING = 0
# As people say it, in help and in errors: not "'x' is not a valid integer range".
click.IntRange.name = type(click.INT).name = "whole number"
click.FloatRange.name = type(click.FLOAT).name = "number"


class LazyGroup(click.RichGroup):
    """Knows its commands by name and one line each; imports the one that is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the command names in the order in which they are shown."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a stand-in with the command's one line: enough for the group's own help."""
        if cmd_name not in COMMANDS:
            return None
        return click.RichCommand(name=cmd_name, help=COMMANDS[cmd_name])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Import the command that is called, and no other."""
        name, *rest = args
        if name not in COMMANDS:
            raise _no_command(name)
        command = load_command(name)
        check_given(command, rest)
        return name, command, rest


def _no_command(name: str) -> RequestError:
    near = get_close_matches(name, COMMANDS, n=2)
    return RequestError(
        f"llt has no command {name!r}",
        expected=f"did you mean {' or '.join(near)}?" if near else "",
        next_step=f"llt {near[0]} --help" if near else "llt --help",
    )


def load_command(name: str) -> click.Command:
    """Import the file of a command, ``import_.py`` for one whose name Python reserves."""
    file = name.replace("-", "_") + ("_" if iskeyword(name) else "")
    command: click.Command = importlib.import_module(f"llt_core.cli.{file}").command
    return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="llt")
def cli() -> None:
    """Loss-landscape taxonomy: train networks over load and temperature, measure them, map them.

    Every command explains itself: llt COMMAND --help.

    \b
    [bold]Examples:[/]
      llt run --task digits --metric hessian_trace
      llt run --task svhn --arch resnet18:width=16 --metric test_accuracy
      llt sweep experiments/quickstart.toml --dry-run
      llt list-plugins --kind metric
    """


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code.

    0 done, 1 some cells failed, 2 wrong request, 130 interrupted.
    """
    try:
        code = cli.main(args=arguments, prog_name="llt", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return 2
    except LltError as error:
        print_error(error)
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        name = (sys.argv[1:] if arguments is None else arguments)[:1]
        print(
            "Interrupted.", *(AFTER_CTRL_C[n] for n in name if n in AFTER_CTRL_C), file=sys.stderr
        )
        return INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    return code if isinstance(code, int) else 0


def print_error(error: LltError) -> None:
    """Tell the user what, where, what was expected, and what to type next."""
    from rich.console import Console
    from rich.markup import escape

    console = Console(stderr=True, soft_wrap=True, highlight=False)
    console.print(f"[bold red]error:[/] {escape(error.what)}")
    for label, text in error.hints.items():
        console.print(f"  [dim]{label}:[/] {escape(text)}")


if __name__ == "__main__":
    sys.exit(main())
