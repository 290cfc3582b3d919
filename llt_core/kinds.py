"""The kinds of plugin, for modules that must not import pydantic."""

from typing import Literal

Kind = Literal["task", "architecture", "perturbation", "metric", "executor", "tracker"]
