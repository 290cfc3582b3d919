"""Names become components: loaded, validated, and checked against each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, TypeVar, cast

from llt_core.errors import RequestError
from llt_core.interfaces import (
    Architecture,
    Component,
    Metric,
    Perturbation,
    Task,
    TaskDescription,
)
from llt_core.interfaces.places import culprit, place, said
from llt_core.kinds import Kind
from llt_core.plugins import Catalogue
from llt_core.plugins.errors import BrokenPluginError
from llt_core.plugins.loader import create, remedy
from llt_core.spec import Named, PluginRef, RunSpec, TrainingRecipe, resolve_recipe

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Part:
    """A component with the qualified name under which it was found.

    One part serves all cells that name it: what its methods return is shared, not to be changed.
    """

    name: str
    component: Component

    def ref(self) -> PluginRef:
        """Return what enters the identity of a cell."""
        return self._ref

    def full(self) -> dict[str, Any]:
        """Return every parameter, defaults included, for records and tables."""
        return self._full

    @cached_property
    def _ref(self) -> PluginRef:
        return PluginRef(
            name=self.name,
            version=self.component.version,
            parameters=self.component.non_defaults(),
        )

    @cached_property
    def _full(self) -> dict[str, Any]:
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

    def training(self) -> dict[str, Any]:
        """Return every setting of the recipe, for records and tables; shared by all cells."""
        return self._training

    @cached_property
    def _training(self) -> dict[str, Any]:
        return self.recipe.model_dump(mode="json")


class Composer:
    """Composes many requests: makes each component once and asks each pair once if it fits.

    A sweep names a few components thousands of times.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._parts: dict[tuple[Kind, str, str], Part] = {}
        self._recipes: dict[tuple[str, str], TrainingRecipe] = {}
        self._fit: set[tuple[int, ...]] = set()

    def compose(self, spec: RunSpec) -> Composition:
        """Resolve and validate every name of ``spec``.

        Raises
        ------
        LltError
            A name is unknown or clashes, a parameter is wrong, or two parts do not fit: in
            each case before any work, with a sentence that says why.
        """
        task = self._part("task", spec.task)
        composition = Composition(
            task=task,
            architecture=self._part("architecture", self.architecture(spec)),
            perturbations=tuple(self._part("perturbation", p) for p in spec.perturbations),
            metrics=tuple(self._part("metric", metric) for metric in spec.metrics),
            recipe=self._recipe(spec),
        )
        parts = (task, composition.architecture, *composition.perturbations, *composition.metrics)
        # Parts and recipes are kept, so their ids stay theirs.
        key = (*map(id, (*parts, composition.recipe)), min(spec.models, 2))
        if key not in self._fit:
            _check_fit(composition, spec.models)
            self._fit.add(key)
        return composition

    def architecture(self, spec: RunSpec) -> Named:
        """Return the architecture that is named, or else the task's own."""
        found = spec.architecture or default_architecture(spec.task, self._catalogue)
        if found is None:
            raise RequestError(
                f"the task {spec.task.name!r} names no default architecture",
                expected="an architecture",
                next_step="--arch NAME (see llt list-plugins --kind architecture)",
            )
        return found

    def _part(self, kind: Kind, named: Named) -> Part:
        key = (kind, named.name, repr(dict(named.parameters)))
        if key not in self._parts:
            self._parts[key] = _part(self._catalogue, kind, named)
        return self._parts[key]

    def _recipe(self, spec: RunSpec) -> TrainingRecipe:
        key = (spec.task.name, repr(dict(spec.train)))
        if key not in self._recipes:
            entry = self._catalogue.resolve("task", spec.task.name).entry
            self._recipes[key] = resolve_recipe(spec.train, default=entry.recipe or "standard")
        return self._recipes[key]


def default_architecture(task: Named, catalogue: Catalogue) -> Named | None:
    """Return the architecture a task takes when none is named, if it has one."""
    name = catalogue.resolve("task", task.name).entry.architecture
    return Named(name=name) if name else None


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
    description = _ask(composition.task, composition.the_task.describe)
    architecture = composition.architecture
    _check_recipe(composition.recipe, composition.task, description)
    _check_draws(composition)
    for part in (architecture, *composition.perturbations, *composition.metrics):
        reason = _ask(part, partial(part.component.refuses, description))
        if reason:
            raise _misfit(part, composition.task, reason)
    once_only = _ask(architecture, composition.the_architecture.lacks_second_order)
    for part in composition.metrics:
        metric = cast(Metric, part.component)
        if once_only and metric.second_order():
            raise _misfit(part, architecture, once_only)
        if metric.scope != "model" and models < 2:
            raise RequestError(
                f"{part.name} compares models, and only one is asked for",
                expected="at least two models",
                next_step="--models 2",
            )


def _check_recipe(recipe: TrainingRecipe, task: Part, description: TaskDescription) -> None:
    if recipe.batch_unit == "tokens" and description.modality != "text":
        raise RequestError(
            f"batches counted in tokens do not go with {task.name}: its examples are "
            f"{description.modality}s",
            expected="train.batch_unit = examples, or a recipe that is not for text",
            next_step="--set train.recipe=standard",
        )


def _check_draws(composition: Composition) -> None:
    """Refuse two changes that would look independent and share one draw."""
    drawn: set[tuple[str, int]] = set()
    for part in composition.perturbations:
        change = cast(Perturbation, part.component)
        if change.stage != "training" and (part.name, change.seed) in drawn:
            raise RequestError(
                f"{part.name} is given twice with the seed {change.seed}: both would draw the same",
                expected="another seed for the second",
                next_step=f"--perturb {part.name.partition('/')[2]}:seed={change.seed + 1},...",
            )
        drawn.add((part.name, change.seed))


def _ask(part: Part, question: Callable[[], Answer]) -> Answer:
    """Ask a component about itself; one that raises is broken, and named as such."""
    try:
        return question()
    except Exception as error:
        kind = type(part.component)
        raise BrokenPluginError(
            f"{part.name} is broken: {said(error)}",
            where=culprit(error) or f"{kind.__module__}.{kind.__qualname__}",
            expected="describe() and refuses() to answer without raising",
            next_step=remedy(
                part.name.partition("/")[0], place(error, kind.__module__.partition(".")[0])
            ),
        ) from error


def _misfit(part: Part, other: Part, reason: str) -> RequestError:
    kind = part.component.kind
    return RequestError(
        f"{part.name} does not go with {other.name}: {reason}",
        expected=f"another {kind}",
        next_step=f"llt list-plugins --kind {kind}",
    )
