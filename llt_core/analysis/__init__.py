"""What a table of cells says: phases, what predicts accuracy, and where to measure next.

Works on tables, never on cells: a finished sweep and somebody's published results are analysed
by the same code. Imports no other room of the house.
"""

from llt_core.analysis.phases import PHASES, Phase, PhaseRule, Verdicts, classify
from llt_core.analysis.table import Axis, CellTable, Column, Sample

__all__ = [
    "PHASES",
    "Axis",
    "CellTable",
    "Column",
    "Phase",
    "PhaseRule",
    "Sample",
    "Verdicts",
    "classify",
]
