"""What can go wrong between a name and a class."""

from __future__ import annotations

from llt_core.errors import LltError


class UnknownPluginError(LltError):
    """No installed package offers the name."""


class PluginClashError(LltError):
    """Several packages offer the name and nothing says which is meant."""


class BrokenPluginError(LltError):
    """The package that offers the name, or the plugin itself, cannot be used."""

    reason: str = ""
    """Why, and where in the plugin's file: the same for all that one fault breaks."""


class ManifestError(LltError):
    """A manifest or an ``llt.toml`` does not have the form it should."""
