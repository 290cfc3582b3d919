"""What plugins return, held to what they promise: each breach is told in a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llt_core.errors import LltError
from llt_core.interfaces.architecture import Architecture
from llt_core.interfaces.classification import ClassificationTask
from llt_core.interfaces.component import Component
from llt_core.interfaces.description import TaskDescription
from llt_core.interfaces.examples import Examples, TensorExamples
from llt_core.interfaces.metric import Metric
from llt_core.interfaces.perturbation import Perturbation, Splits
from llt_core.interfaces.places import method_of
from llt_core.interfaces.task import Task
from llt_core.interfaces.values import Batch, Measurement

if TYPE_CHECKING:
    from torch import nn


class ContractError(LltError):
    """A plugin does not do what its kind promises."""


def measurements_of(metric: Metric, returned: object) -> list[Measurement]:
    """Return what ``metric.measure`` returned, as the list of measurements it must be."""
    if isinstance(returned, list | tuple):
        found = [each for each in returned if isinstance(each, Measurement)]
        if len(found) == len(returned):
            return found
    names = ", ".join(sorted(quantity.name for quantity in metric.returns))
    raise _breach(metric, "measure", returned, f"a list: one Measurement each of {names}")


def network_of(architecture: Architecture, task: TaskDescription) -> nn.Module:
    """Build the network of ``architecture`` for ``task``."""
    from torch import nn

    built: object = architecture.build(task)
    if not isinstance(built, nn.Module):
        raise _breach(architecture, "build", built, "a torch.nn.Module")
    return built


def splits_of(task: Task, returned: object, method: str = "datasets") -> Splits:
    """Return the splits that ``method`` gave: those described, with labels it has outputs for."""
    described = task.describe()
    expected = f"a mapping with the splits {', '.join(described.splits)}, each of Examples"
    splits = _splits(task, method, returned, expected)
    missing = set(described.splits) - set(splits)
    if missing:
        raise _breach(task, method, f"no split called {' or '.join(sorted(missing))}", expected)
    labelled = isinstance(task, ClassificationTask)
    for name, examples in splits.items():
        if isinstance(examples, TensorExamples) and labelled and len(examples):
            low, high = int(examples.targets.min()), int(examples.targets.max())
            if not 0 <= low <= high < described.outputs:
                raise LltError(
                    f"the split {name!r} has labels from {low} to {high}, but the task describes "
                    f"{described.outputs} outputs",
                    where=method_of(task, "describe"),
                    expected=f"labels from 0 to {described.outputs - 1}, or outputs={high + 1}",
                )
    return splits


def perturbed_by(perturbation: Perturbation, subject: Any, returned: Any) -> Any:
    """Return what ``apply`` made of ``subject``: something that can take its place."""
    from torch import nn

    match perturbation.stage:
        case "data":
            expected = f"the splits {', '.join(subject)}, each of Examples"
            if set(_splits(perturbation, "apply", returned, expected)) != set(subject):
                raise _breach(perturbation, "apply", f"the splits {', '.join(returned)}", expected)
        case "training":
            if not isinstance(returned, Batch):
                raise _breach(perturbation, "apply", returned, "a Batch (dataclasses.replace)")
        case "weights":
            if not isinstance(returned, nn.Module):
                expected = "the changed model (copy.deepcopy of what it was given)"
                raise _breach(perturbation, "apply", returned, expected)
    return returned


def _splits(plugin: Component, method: str, returned: object, expected: str) -> Splits:
    if isinstance(returned, Mapping):
        found = {k: each for k, each in returned.items() if isinstance(each, Examples)}
        if len(found) == len(returned):
            return found
    raise _breach(plugin, method, returned, expected)


def _breach(plugin: Component, method: str, returned: object, expected: str) -> ContractError:
    """Name what was ``returned`` by its type, unless it is short; words stand for themselves."""
    given = returned if isinstance(returned, str) else f"a {type(returned).__name__}"
    if returned is None or isinstance(returned, int | float):
        given = repr(returned)
    return ContractError(
        f"the {plugin.kind} {type(plugin).__name__} returned {given}",
        where=method_of(plugin, method),
        expected=expected,
    )
