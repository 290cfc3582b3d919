"""Draw README's picture: two real runs of `llt`, as the terminal shows them.

    python docs/generate_picture.py

Trains in a temporary store, so the second command is answered from it. The SVG names no
remote font.
"""

from __future__ import annotations

import io
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

COMMANDS = (
    "llt run --task digits --metric hessian_trace --metric hessian_top_eigenvalue "
    "--metric train_loss --metric test_accuracy -q",
    "llt run --task digits --metric hessian_trace -q",
)
WIDTH = 84
FORMAT = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">
<title>Terminal: llt run prints each metric with its standard error</title>
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, Menlo, Consolas, monospace;
  font-size: {char_height}px; line-height: {line_height}px; }}
{styles}
</style>
<defs><clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" /></clipPath>{lines}</defs>
<rect width="{width}" height="{height}" rx="10" fill="#1b1f27" />
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">{matrix}</g>
</g>
</svg>
"""


def main() -> None:
    console = Console(record=True, width=WIDTH, file=io.StringIO())
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {
            "LLT_STORE": f"{folder}/llt-store",
            "COLUMNS": str(WIDTH),
            "FORCE_COLOR": "1",
            "TERM": "xterm-256color",
        }
        for command in COMMANDS:
            arguments = [sys.executable, "-m", "llt_core.cli.main", *shlex.split(command)[1:]]
            done = subprocess.run(
                arguments, env=environment, capture_output=True, text=True, check=True
            )
            console.print(f"[bold green]$[/] {command.removesuffix(' -q')}", soft_wrap=False)
            console.print(Text.from_ansi(done.stdout.replace(f"{folder}/", "./")))
            console.print()
    target = Path(__file__).parent / "images" / "run.svg"
    target.parent.mkdir(exist_ok=True)
    target.write_text(console.export_svg(title="llt", code_format=FORMAT), encoding="utf-8")


if __name__ == "__main__":
    main()
