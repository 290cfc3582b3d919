"""The conformance kit: subclass one of these in your tests to check a plugin.

The kit needs a test runner that collects classes called ``Test…`` (pytest does), and
imports torch only while a check runs.

Examples
--------
>>> class TestWeightNorm(MetricConformance):  # doctest: +SKIP
...     component = WeightNorm()
"""

from llt_core.testing.architecture import ArchitectureConformance
from llt_core.testing.component import ComponentConformance
from llt_core.testing.executor import ExecutorConformance
from llt_core.testing.metric import MetricConformance
from llt_core.testing.perturbation import PerturbationConformance
from llt_core.testing.samples import TinyImages, small_network
from llt_core.testing.task import TaskConformance
from llt_core.testing.text_samples import TinyTexts, small_translator
from llt_core.testing.tracker import TrackerConformance

__all__ = [
    "ArchitectureConformance",
    "ComponentConformance",
    "ExecutorConformance",
    "MetricConformance",
    "PerturbationConformance",
    "TaskConformance",
    "TinyImages",
    "TinyTexts",
    "TrackerConformance",
    "small_network",
    "small_translator",
]
