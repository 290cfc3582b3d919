"""Everything that says it goes together does: built from the registry, so new plugins join.

Each composition of task, architecture and perturbation meets a third of the metrics here, a
different third for its neighbours, so that every pair of parts meets. The other two thirds
are marked slow: ``pytest -m slow`` runs them.
"""

from __future__ import annotations

import functools
import itertools

import pytest
import torch

from llt_core.interfaces import MeasureContext, Measurement, Metric
from llt_core.plugins import Catalogue, Entry, Resolved
from llt_core.plugins.loader import load
from llt_core.spec import TrainingRecipe
from llt_core.testing.checks import assert_sentence, assert_unchanged, model_state, random_state
from llt_core.work.seeding import seeded
from llt_core.work.trainer import Trainer

CATALOGUE = Catalogue.discover()
SCOPES = {"model": 1, "pair": 2, "set": 3}


def entries(kind: str) -> list[Entry]:
    return [e for e in CATALOGUE.entries if e.kind == kind and CATALOGUE.state(e) == "ok"]


def find(kind: str, qualified: str) -> Entry:
    return next(entry for entry in entries(kind) if entry.qualified == qualified)


def name(entry: Entry | None) -> str:
    return "clean" if entry is None else entry.name


METRICS = [load(entry).minimal() for entry in entries("metric")]
PARTS = 3


def compositions():
    axes = (entries("task"), entries("architecture"), [None, *entries("perturbation")])
    for numbers in itertools.product(*(range(len(axis)) for axis in axes)):
        chosen = [axis[number] for axis, number in zip(axes, numbers, strict=True)]
        label = "-".join(map(name, chosen))
        for part in range(PARTS):
            # One worker runs all parts of a composition: the models are trained once.
            marks = [pytest.mark.xdist_group(label)]
            if part != sum(numbers) % PARTS:
                marks.append(pytest.mark.slow)
            yield pytest.param(*chosen, part, id=f"{label}-{part}", marks=marks)


@pytest.mark.parametrize(("task", "architecture", "perturbation", "part"), list(compositions()))
def test_compatible_compositions_run_and_others_are_refused(task, architecture, perturbation, part):
    chosen = (task, architecture, perturbation)
    context, network = prepared(*(entry and entry.qualified for entry in chosen))
    if context is None:
        return
    for metric in METRICS[part::PARTS]:
        refused = metric.refuses(context.task.describe())
        if refused is None and not (metric.second_order() and network.lacks_second_order()):
            check(metric, context)


@functools.lru_cache(maxsize=1)
def prepared(task, architecture, perturbation):
    """Return trained models and data of a composition, or None after checking the refusal."""
    problem, network, change = (
        name and load(find(kind, name)).minimal()
        for kind, name in (
            ("task", task), ("architecture", architecture), ("perturbation", perturbation),
        )
    )  # fmt: skip
    description = problem.describe()
    for part in (network, change):
        refusal = None if part is None else part.refuses(description)
        if refusal is not None:
            assert_sentence(refusal, f"what {part} says to {problem}")
            return None, network
    splits = problem.tiny()
    if change is not None:
        splits = change.apply(splits, torch.Generator().manual_seed(change.seed))
    one, two = (train(problem, network, splits, seed) for seed in range(2))
    context = MeasureContext(
        problem, (one, two, one), splits, seed=1, sample_seed=2, probe=network.probes
    )
    return context, network


def train(problem, network, splits, seed):
    """Take one step of real training on the tiny data."""
    with seeded(seed):
        model = network.build(problem.describe())
        recipe = TrainingRecipe(epochs=1, batch_size=len(splits["train"]), learning_rate=0.01)
        trainer = Trainer(
            model, problem, splits["train"], recipe, seed=seed, device=torch.device("cpu")
        )
        assert trainer.run(lambda done, total, text: None).status == "done"
    return model.eval()


def check(metric: Metric, context: MeasureContext) -> None:
    chosen = context.restricted(range(SCOPES[metric.scope]))
    before = [model_state(model) for model in chosen.models], random_state()
    results = metric.measure(chosen)
    assert results
    assert all(isinstance(result, Measurement) for result in results)
    assert {result.name for result in results} <= {quantity.name for quantity in metric.returns}
    after = [model_state(model) for model in chosen.models], random_state()
    for old, new in zip(before[0], after[0], strict=True):
        assert_unchanged(old, new, type(metric).__name__, "leave models as you found them")
    assert_unchanged(before[1], after[1], type(metric).__name__, "draw from context.generator()")


def test_the_manifest_says_what_the_classes_say():
    """`list-plugins` reads the manifest, a developer the class: one sentence for both."""
    for entry in CATALOGUE.entries:
        cls = load(entry)
        assert cls.summary == entry.summary, entry.qualified
        assert cls.kind == entry.kind


def test_default_architectures_and_recipes_of_tasks_exist():
    from llt_core.spec import resolve_recipe

    for entry in entries("task"):
        assert entry.recipe
        assert resolve_recipe({}, default=entry.recipe)
        chosen = CATALOGUE.resolve("architecture", entry.architecture)
        assert isinstance(chosen, Resolved)
        assert load(chosen.entry)().refuses(load(entry)().describe()) is None
