"""What is asked for: a composition, a training recipe, and the identity of each cell."""

from llt_core.spec.cell import Cell, MeasureCell, PluginRef, TrainCell
from llt_core.spec.compute import ComputeSettings
from llt_core.spec.identity import digest
from llt_core.spec.run import Named, Pairs, RunSpec
from llt_core.spec.sweep import Point, SweepSpec
from llt_core.spec.training import RECIPES, TrainingRecipe, resolve_recipe

__all__ = [
    "RECIPES",
    "Cell",
    "ComputeSettings",
    "MeasureCell",
    "Named",
    "Pairs",
    "PluginRef",
    "Point",
    "RunSpec",
    "SweepSpec",
    "TrainCell",
    "TrainingRecipe",
    "digest",
    "resolve_recipe",
]
