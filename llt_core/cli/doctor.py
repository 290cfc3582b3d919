"""``llt doctor``: whether everything is there and every plugin loads."""

from __future__ import annotations

import json
import os
import platform
from typing import Any

import rich_click as click

from llt_core.locations import data_root, store_root
from llt_core.plugins import Catalogue
from llt_core.plugins.finder import SWITCH, installed_version
from llt_core.plugins.probe import probe, together
from llt_core.version import __version__

LIBRARIES = (
    "torch", "torchvision", "torchtext", "pyhessian", "pluggy", "pydantic", "rich", "numpy",
    "scipy", "scikit-learn", "safetensors", "sentencepiece", "pandas", "pyarrow",
)  # fmt: skip


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text")
def command(as_json: bool) -> int:
    """Check versions, device, data and plugins. Exit code 1 if something is broken.

    Plugins are imported in a process of their own, so one that breaks cannot break this.

    \b
    [bold]Example:[/]
      llt doctor
    """
    report = examine()
    if as_json:
        print(json.dumps(report, indent=1))
    else:
        _print(report)
    return 1 if report["problems"] else 0


def examine() -> dict[str, Any]:
    """Return everything the doctor knows, with a list of problems."""
    catalogue = Catalogue.discover()
    probed = probe()
    problems = [f"package {p.name} {p.version}: {p.error}" for p in catalogue.broken]
    problems += together(probed["loads"])
    problems += [f"hooks of {name}: {error}" for name, error in probed["hooks"].items() if error]
    versions = {name: installed_version(name) or "" for name in LIBRARIES}
    problems += [f"{name} is not installed" for name, version in versions.items() if not version]
    if catalogue.settings_error is not None:
        problems.append(str(catalogue.settings_error))
    if "error" in probed:
        problems.append(f"the plugins could not be tried: {probed['error']}")
    if "error" in probed["device"]:
        problems.append(f"torch: {probed['device']['error']}")
    clashes = [e.qualified for e in catalogue.entries if catalogue.state(e) == "clash"]
    if clashes:
        problems.append(f"clashing names: {', '.join(clashes)}")
    return {
        "llt": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": versions,
        "device": probed["device"],
        "data_root": str(data_root()),
        "data": probed["tasks"],
        "store": str(store_root()),
        "plugins": f"{len(catalogue.entries)} from {len(catalogue.packages)} package(s)",
        "strangers": os.environ.get(SWITCH, "on"),
        "settings": str(catalogue.settings.path or ""),
        "problems": problems,
    }


def _print(report: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    table = Table(show_header=False, box=None, pad_edge=False)
    device = report["device"]
    gpus = ", ".join(device.get("cuda", ())) or ("mps" if device.get("mps") else "no GPU")
    table.add_row("llt", f"{report['llt']} on Python {report['python']}, {report['platform']}")
    table.add_row("libraries", ", ".join(f"{k} {v}" for k, v in report["versions"].items()))
    cpu = f"{device.get('cpu', '?')}, {device.get('cores', '?')} cores"
    table.add_row("device", f"{gpus}; CPU {cpu}")
    table.add_row("data root", report["data_root"])
    for name, files in report["data"].items():
        found, wanted = files["found"], files["wanted"]
        word = "ready" if found == wanted else f"{found} of {wanted} files there"
        table.add_row("", f"{name}: {word}")
    table.add_row("store", report["store"])
    table.add_row("plugins", f"{report['plugins']}, third-party {report['strangers']}")
    if report["settings"]:
        table.add_row("llt.toml", report["settings"])
    console.print(table)
    for problem in report["problems"]:
        console.print(f"[red]problem[/] {escape(problem)}", soft_wrap=True)
    if not report["problems"]:
        console.print("[green]everything loads[/]")
