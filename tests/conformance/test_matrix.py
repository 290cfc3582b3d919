"""Everything that says it goes together does: built from the registry, so new plugins join.

All compositions take an hour: ``make test-long`` runs them, every one. Every day each task meets
each architecture under a few chains of perturbations, and each such composition meets a share of
the metrics, so arranged that every task and every architecture meet every metric, and that every
chain is run; a test counts. What is marked slow does the same with three times as many chains.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from dataclasses import dataclass

import pytest
import torch

from llt_core.errors import RequestError
from llt_core.interfaces import MeasureContext, Measurement, Perturbation
from llt_core.plugins import Catalogue, Entry, Resolved
from llt_core.plugins.loader import load
from llt_core.spec import Named, RunSpec, TrainingRecipe
from llt_core.sweep.compose import Composer
from llt_core.testing.checks import assert_sentence, assert_unchanged, model_state, random_state
from llt_core.work.seeding import seeded
from llt_core.work.stages import perturbed
from llt_core.work.trainer import Trainer

CATALOGUE = Catalogue.discover()
SCOPES = {"model": 1, "pair": 2, "set": 3}
SHARES = 9
"""Parts into which the metrics are dealt; a composition meets one of them."""
CHAINS, SLOW_CHAINS = 3, 9
"""Chains of perturbations that each pair of task and architecture meets."""


def entries(kind: str) -> list[Entry]:
    return [e for e in CATALOGUE.entries if e.kind == kind and CATALOGUE.state(e) == "ok"]


def minimal(kind: str) -> dict:
    return {entry.qualified: load(entry).minimal() for entry in entries(kind)}


TASKS, NETWORKS, CHANGES, METRICS = map(minimal, ("task", "architecture", "perturbation", "metric"))


@dataclass(frozen=True)
class Composition:
    """What is run together, by qualified names."""

    task: str
    network: str
    chain: tuple[str, ...]
    metrics: tuple[str, ...]

    @property
    def label(self) -> str:
        names = (self.task, self.network, *(self.chain or ("clean",)), self.metrics[0])
        return "-".join(name.partition("/")[2] for name in names)


def chains(task: str) -> list[tuple[str, ...]]:
    """Return all chains of at most two perturbations that the task accepts."""
    described = TASKS[task].describe()
    fitting = [name for name, change in CHANGES.items() if change.refuses(described) is None]
    return [(), *((name,) for name in fitting), *itertools.product(fitting, repeat=2)]


def changes(chain: tuple[str, ...]) -> list[tuple[str, Perturbation]]:
    """Return the perturbations of a chain; one that comes twice draws anew."""
    again = len(chain) > len(set(chain))
    made = [(name, CHANGES[name]) for name in chain]
    return [*made[:-1], (chain[-1], reseeded(made[-1][1]))] if again else made


def reseeded(change: Perturbation) -> Perturbation:
    return change.model_copy(update={"seed": change.seed + 1})


def pairs() -> list[tuple[str, str]]:
    """Return the tasks, each with the architectures that read it."""
    return [
        (task, network)
        for task, described in TASKS.items()
        for network, n in NETWORKS.items()
        if n.refuses(described.describe()) is None
    ]


def measurable(task: str, network: str) -> list[str]:
    described, once = TASKS[task].describe(), NETWORKS[network].lacks_second_order()
    return [
        name
        for name, metric in METRICS.items()
        if metric.refuses(described) is None and not (once and metric.second_order())
    ]


def compositions(each: int) -> list[Composition]:
    """Deal chains and metrics to the pairs of tasks and architectures."""
    readers = Counter(task for task, _ in pairs())
    found, dealt = [], 0
    for number, (task, network) in enumerate(pairs()):
        possible, metrics = chains(task), measurable(task, network)
        turns = max(each, math.ceil(SHARES / readers[task]))  # else some metric is never met
        for turn in range(turns):
            share = (number + turn * SHARES // turns) % SHARES
            chain = possible[dealt % len(possible)]
            found.append(Composition(task, network, chain, tuple(metrics[share::SHARES])))
            dealt += 1
    return found


def parameters():
    everyday = compositions(CHAINS)
    for composition in everyday:
        yield pytest.param(composition, id=composition.label)
    for composition in compositions(SLOW_CHAINS):
        if composition not in everyday:
            yield pytest.param(composition, id=composition.label, marks=pytest.mark.slow)


@pytest.mark.parametrize("composition", list(parameters()))
def test_compositions_run(composition):
    run(composition)


def beginnings():
    """Return the pairs, each with every first link of a chain that the task accepts."""
    for task, network in pairs():
        for first in {chain[:1]: None for chain in chains(task)}:
            label = "-".join(n.partition("/")[2] for n in (task, network, *(first or ("/clean",))))
            yield pytest.param(task, network, first, id=label)


@pytest.mark.long
@pytest.mark.parametrize(("task", "network", "first"), list(beginnings()))
def test_every_composition_runs(task, network, first):
    """Every chain that begins so, with every metric: nothing is left out."""
    for chain in chains(task):
        if chain[:1] == first:
            composition = Composition(task, network, chain, tuple(measurable(task, network)))
            try:
                run(composition)
            except Exception as error:
                error.add_note(f"in the composition {task}, {network}, {chain or 'clean'}")
                raise


@pytest.mark.long
@pytest.mark.parametrize("task", list(TASKS))
@pytest.mark.parametrize("network", list(NETWORKS))
def test_every_composition_is_composed_or_refused(task, network):
    """Also what does not go together: refused before any work, with the reason of a part."""
    composer, described = Composer(CATALOGUE), TASKS[task].describe()
    every = [(), *((name,) for name in CHANGES), *itertools.product(CHANGES, repeat=2)]
    once = NETWORKS[network].lacks_second_order()
    for chain, metric in itertools.product(every, METRICS):
        parts = [NETWORKS[network], *(CHANGES[name] for name in chain), METRICS[metric]]
        reasons = [reason for reason in (part.refuses(described) for part in parts) if reason]
        reasons += [once] * (once is not None and METRICS[metric].second_order())
        request = RunSpec(
            task=named(task, TASKS[task]),
            architecture=named(network, NETWORKS[network]),
            perturbations=tuple(named(*change) for change in changes(chain)),
            metrics=(named(metric, METRICS[metric]),),
            models=3,
        )
        if not reasons:
            composer.compose(request)
            continue
        with pytest.raises(RequestError) as refused:
            composer.compose(request)
        assert any(reason in str(refused.value) for reason in reasons)


def run(composition):
    """Train two models of a composition on the tiny data and measure them."""
    task, network = TASKS[composition.task], NETWORKS[composition.network]
    named = changes(composition.chain)
    splits = perturbed("data", named, task.tiny())
    one, two = (train(task, network, splits, named, seed) for seed in range(2))
    context = MeasureContext(
        task,
        (one, two, one),
        splits,
        seed=1,
        sample_seed=2,
        probe=network.probes,
        embed=network.embeddings,
    )
    for name in composition.metrics:
        check(METRICS[name], context)


def train(task, network, splits, named, seed):
    """Take one step of real training on the tiny data."""
    with seeded(seed):
        model = network.build(task.describe())
        recipe = TrainingRecipe(epochs=1, batch_size=len(splits["train"]), learning_rate=0.01)
        trainer = Trainer(
            model,
            task,
            splits["train"],
            recipe,
            seed=seed,
            device=torch.device("cpu"),
            perturbations=named,
        )
        assert trainer.run(lambda done, total, text: None).status == "done"
    return perturbed("weights", named, model).eval()


def check(metric, context):
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


def test_every_part_meets_every_other():
    """Each chain is run, and each task and each architecture meets each metric it can."""
    found = compositions(CHAINS)
    met = {(part, name) for c in found for part in (c.task, c.network) for name in c.metrics}
    wanted = {(part, name) for c in found for part in (c.task, c.network)
              for name in measurable(c.task, c.network)}  # fmt: skip
    assert wanted - met == set()
    dealt = {c.chain for c in found}
    assert {chain for task in TASKS for chain in chains(task)} - dealt == set()


@pytest.mark.parametrize("task", list(TASKS))
def test_what_does_not_go_together_is_refused_with_a_reason(task):
    """A composition is refused, before any work, because of any part that does not fit."""
    described = TASKS[task].describe()
    network = next(name for name, n in NETWORKS.items() if n.refuses(described) is None)
    for field, parts in (
        ("architecture", NETWORKS),
        ("perturbations", CHANGES),
        ("metrics", METRICS),
    ):
        for name, part in parts.items():
            reason = part.refuses(described)
            asked = named(name, part)
            spec = {"architecture": Named(name=network), "models": 3}
            spec[field] = asked if field == "architecture" else (asked,)
            request = RunSpec(task=named(task, TASKS[task]), **spec)
            if reason is None:
                Composer(CATALOGUE).compose(request)
                continue
            assert_sentence(reason, f"what {name} says to {task}")
            with pytest.raises(RequestError) as refused:
                Composer(CATALOGUE).compose(request)
            assert name in str(refused.value)
            assert task in str(refused.value)
            assert reason in str(refused.value)


def named(name, component):
    return Named(name=name, parameters=component.non_defaults())


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
