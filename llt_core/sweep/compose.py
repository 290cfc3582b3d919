"""Names become components: loaded, validated, and checked against each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from llt_core.errors import RequestError
from llt_core.interfaces import Architecture, Component, Metric, Perturbation, Task
from llt_core.kinds import Kind
from llt_core.plugins import Catalogue
from llt_core.plugins.loader import create
from llt_core.spec import Named, PluginRef, RunSpec, TrainingRecipe, resolve_recipe


@dataclass(frozen=True)
class Part:
    """A component with the qualified name under which it was found."""

    name: str
    component: Component

    def ref(self) -> PluginRef:
        """Return what enters the identity of a cell."""
        return PluginRef(
            name=self.name,
            version=self.component.version,
            parameters=self.component.non_defaults(),
        )

    def full(self) -> dict[str, Any]:
        """Return every parameter, defaults included, for records and tables."""
        return {
            "name": self.name,
            "version": self.component.version,
            "parameters": self.component.model_dump(mode="json"),
        }


@dataclass(frozen=True)
class Composition:
    """A request whose every name is a validated component."""

    task: Part
    architecture: Part
    perturbations: tuple[Part, ...]
    metrics: tuple[Part, ...]
    recipe: TrainingRecipe

    @property
    def the_task(self) -> Task:
        """The task itself."""
        return cast(Task, self.task.component)

    @property
    def the_architecture(self) -> Architecture:
        """The architecture itself."""
        return cast(Architecture, self.architecture.component)

    @property
    def the_perturbations(self) -> tuple[Perturbation, ...]:
        """The perturbations themselves, in order."""
        return tuple(cast(Perturbation, part.component) for part in self.perturbations)


def compose(spec: RunSpec, catalogue: Catalogue) -> Composition:
    """Resolve and validate every name of ``spec``.

    Raises
    ------
    LltError
        A name is unknown or clashes, a parameter is wrong, or two parts do not fit: in
        each case before any work, with a sentence that says why.
    """
    task_entry = catalogue.resolve("task", spec.task.name).entry
    architecture = spec.architecture
    if architecture is None:
        if not task_entry.architecture:
            raise RequestError(
                f"the task {spec.task.name!r} names no default architecture",
                expected="an architecture",
                next_step="--arch NAME (see llt list-plugins --kind architecture)",
            )
        architecture = Named(name=task_entry.architecture)
    composition = Composition(
        task=_part(catalogue, "task", spec.task),
        architecture=_part(catalogue, "architecture", architecture),
        perturbations=tuple(_part(catalogue, "perturbation", p) for p in spec.perturbations),
        metrics=tuple(_part(catalogue, "metric", metric) for metric in spec.metrics),
        recipe=resolve_recipe(spec.train, default=task_entry.recipe or "standard"),
    )
    _check_fit(composition, spec.models)
    return composition


def rebuild(ref: PluginRef, kind: Kind, catalogue: Catalogue) -> Component:
    """Make the component a cell names, in whatever process the cell is computed.

    Raises
    ------
    RequestError
        The package here has another version of the component than the cell was planned with.
    """
    component = create(catalogue.resolve(kind, ref.name), ref.parameters)
    if component.version != ref.version:
        raise RequestError(
            f"{ref.name} is version {component.version} here, but the cell names {ref.version}",
            expected="the same packages wherever cells are planned and computed",
            next_step="llt list-plugins --format requirements",
        )
    return component


def _part(catalogue: Catalogue, kind: Kind, named: Named) -> Part:
    resolved = catalogue.resolve(kind, named.name)
    return Part(resolved.entry.qualified, create(resolved, named.parameters))


def _check_fit(composition: Composition, models: int) -> None:
    description = composition.the_task.describe()
    task = composition.task.name
    for part in (composition.architecture, *composition.perturbations, *composition.metrics):
        reason = part.component.refuses(description)
        if reason:
            raise RequestError(
                f"{part.name} does not go with {task}: {reason}",
                expected=f"a {part.component.kind} for this task",
                next_step=f"llt list-plugins --kind {part.component.kind}",
            )
    once_only = composition.the_architecture.lacks_second_order()
    for part in composition.metrics:
        metric = cast(Metric, part.component)
        if metric.needs.second_order and once_only:
            raise RequestError(
                f"{part.name} does not go with {composition.architecture.name}: {once_only}",
                expected="an architecture with second derivatives, or another metric",
                next_step="llt list-plugins --kind architecture",
            )
        if metric.scope != "model" and models < 2:
            raise RequestError(
                f"{part.name} compares models, and only one is asked for",
                expected="at least two models",
                next_step="--models 2",
            )
