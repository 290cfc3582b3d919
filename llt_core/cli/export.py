"""``llt export``: the store as one flat table."""

from __future__ import annotations

import sys
from pathlib import Path

import rich_click as click

from llt_core.cli.counting import counting
from llt_core.cli.options import store_option, sweep_option
from llt_core.errors import RequestError
from llt_core.locations import store_root
from llt_core.store import Store
from llt_core.store.export import FORMATS, Form, form_of, to_frame, write_table
from llt_core.store.index import measured_cells
from llt_core.store.kept import named_frame, table_names


@click.command("export")
@sweep_option
@store_option
@click.option("--format", "form", type=click.Choice(FORMATS), help="Default: by the file's ending")
@click.option("-o", "--output", metavar="FILE", help="Where to write; CSV goes to the screen else")
def command(sweep: str | None, store: str | None, form: Form | None, output: str | None) -> int:
    """Write one row per measurement, with every field of its composition as a column.

    Defaults are spelt out, so the table stands alone. Of a sweep the varied fields come
    first, called as in its file. An imported table is written by its name alone, as it was kept.

    \b
    [bold]Examples:[/]
      llt export -o results.csv
      llt export --sweep quickstart -o quickstart.csv
      llt export --format parquet -o results.parquet
    """
    opened = Store(store_root(store), create=False)
    with counting("cells read") as told:
        if sweep is None:
            table = to_frame(measured_cells(opened, progress=told))
        else:
            table = named_frame(opened, sweep, told)
    if output is None:
        if form == "parquet":
            raise RequestError("Parquet needs a file", next_step="-o results.parquet")
        table.to_csv(sys.stdout, index=False)
        return 0
    path = Path(output)
    write_table(table, path, form or form_of(path, next_step="--format csv"))
    print(f"{len(table)} rows written to {path}", file=sys.stderr)
    if table.empty and (imported := table_names(opened)):
        print(f"imported: {', '.join(imported)} (--sweep NAME)", file=sys.stderr)
    return 0
