"""``llt plot``: one result as a picture."""

from __future__ import annotations

import sys
from pathlib import Path

import rich_click as click

from llt_core.cli.options import store_option
from llt_core.errors import LltError, RequestError
from llt_core.locations import store_root
from llt_core.report import find, load
from llt_core.report.naming import file_stem
from llt_core.store import Store


@click.command("plot")
@click.argument("result")
@store_option
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    help="Where to write; the ending says how: .png, .pdf or .svg  "
    "[dim](default: NAME-DIGEST.png here)[/]",
)
@click.option("--force", is_flag=True, help="Replace the file named by -o if it is there")
def command(result: str, store: str | None, output: str | None, force: bool) -> int:
    """Draw the curves, spectra, matrices and surfaces of one result into a file.

    RESULT is a digest, its first four digits or more (llt results shows six), or a label such
    as "hessian_trace seed 0" where only one cell has it. Of a train cell the training history
    is drawn. Several figures become panels of one file.

    The default name holds the digest, so drawing the same result again replaces its own
    picture. A file you name is replaced only with --force. Needs matplotlib:
    pip install 'llt\\[report]'.

    \b
    [bold]Examples:[/]
      llt plot c98cb7
      llt plot "train seed 0" -o training.pdf
      llt plot c98cb7 -o figure.svg --force
    """
    try:
        from llt_core.report.pictures import save
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "matplotlib":
            raise
        raise LltError(
            "drawing needs matplotlib, which is not installed",
            expected="matplotlib 3.8 or newer (llt show-result draws in the terminal without it)",
            next_step="pip install 'llt[report]'",
        ) from error
    opened = Store(store_root(store), create=False)
    record = find(opened, result)
    path = Path(output or f"{file_stem(record)}.png")
    if output is not None and path.exists() and not force:
        raise RequestError(
            f"{path} is there already",
            expected="a name that is free, or --force to replace the file",
            next_step=f"llt plot {record.digest[:8]} -o {output} --force",
        )
    save(load(opened, record), path)
    print(f"written to {path}", file=sys.stderr)
    return 0
