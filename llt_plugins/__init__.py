"""The built-in plugins. They enter by the same door as everybody else's."""

from pathlib import Path

from llt_core.plugins import hookimpl


@hookimpl
def llt_manifest() -> Path:
    """Return the manifest at the top of a source checkout.

    In an installed wheel the manifest lies in this folder and is read without this call.
    """
    return Path(__file__).parents[1] / "registry.toml"
