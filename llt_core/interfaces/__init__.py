"""What plugins implement. Everything a plugin author needs is importable from here.

Importing this package never imports torch.
"""

from llt_core.errors import DataError, LltError, RequestError
from llt_core.interfaces.architecture import Architecture
from llt_core.interfaces.classification import ClassificationTask
from llt_core.interfaces.component import Component, parameter
from llt_core.interfaces.composition import composition_columns
from llt_core.interfaces.context import MeasureContext
from llt_core.interfaces.description import Modality, TaskDescription
from llt_core.interfaces.examples import BatchUnit, Examples, TensorExamples
from llt_core.interfaces.executor import (
    THREADS_VARIABLE,
    Executor,
    FailureKind,
    Job,
    Outcome,
    Progress,
    Report,
    perform,
    threads_asked,
)
from llt_core.interfaces.figures import Figure
from llt_core.interfaces.metric import Metric, Needs, Scope
from llt_core.interfaces.perturbation import (
    DataPerturbation,
    MixedBatch,
    Perturbation,
    Splits,
    Stage,
    TrainingPerturbation,
    WeightPerturbation,
)
from llt_core.interfaces.task import Task
from llt_core.interfaces.tracker import Tracker
from llt_core.interfaces.values import Batch, Measurement, Quantity, Status, forward
from llt_core.kinds import Kind

__all__ = [
    "THREADS_VARIABLE",
    "Architecture",
    "Batch",
    "BatchUnit",
    "ClassificationTask",
    "Component",
    "DataError",
    "DataPerturbation",
    "Examples",
    "Executor",
    "FailureKind",
    "Figure",
    "Job",
    "Kind",
    "LltError",
    "MeasureContext",
    "Measurement",
    "Metric",
    "MixedBatch",
    "Modality",
    "Needs",
    "Outcome",
    "Perturbation",
    "Progress",
    "Quantity",
    "Report",
    "RequestError",
    "Scope",
    "Splits",
    "Stage",
    "Status",
    "Task",
    "TaskDescription",
    "TensorExamples",
    "Tracker",
    "TrainingPerturbation",
    "WeightPerturbation",
    "composition_columns",
    "forward",
    "parameter",
    "perform",
    "threads_asked",
]
