"""Whatever is composed, wherever it runs and however it is interrupted: the table is the same.

Compositions are drawn from the registry, so that new plugins join; interruptions are real
signals to real processes, except where a driver stops itself.
"""

import json
import os
import shutil
import signal
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, assume, given, note, settings
from hypothesis import strategies as st

import llt_core
from llt_core.errors import RequestError
from llt_core.plugins import Catalogue
from llt_core.plugins.loader import load
from llt_core.spec import SweepSpec
from llt_core.sweep import Listener, make_plan

SMALL = {"train": {"epochs": 1, "batch_size": 32, "max_steps": 3}, "task": "digits"}
SUBSET = {"name": "data_subset", "fraction": 0.1}
NETWORKS = ("mlp", "resnet18", "vgg11", "vit")
"""Those that take a few steps on digits in well under a second in their smallest form."""
TIRESOME = {"llt/mode_connectivity"}
"""Metrics that take longer than a second even so."""


@cache
def minimal(kind):
    """Return the smallest form of every plugin of a kind that digits allow, as in a file."""
    catalogue = Catalogue.discover()
    task = load(catalogue.resolve("task", "digits").entry).minimal().describe()
    found = {}
    for entry in catalogue.entries:
        if entry.kind == kind and catalogue.state(entry) == "ok":
            component = load(entry).minimal()
            if component.refuses(task) is None:
                found[entry.qualified] = component
    return found


def named(kind, name):
    component = minimal(kind)[name]
    return {"name": name, **component.non_defaults()}


@st.composite
def sweeps(draw):
    """Draw the keys of a small sweep file."""
    network = draw(st.sampled_from([f"llt/{name}" for name in NETWORKS]))
    scopes = {
        scope: sorted(
            name
            for name, metric in minimal("metric").items()
            if metric.scope == scope and name not in TIRESOME
        )
        for scope in ("model", "pair", "set")
    }
    metrics = [draw(st.sampled_from(scopes["model"])), draw(st.sampled_from(scopes["pair"]))]
    metrics += draw(
        st.lists(st.sampled_from(sorted(minimal("metric").keys() - TIRESOME)), max_size=2)
    )
    metrics += draw(st.lists(st.sampled_from(scopes["set"]), max_size=1))
    changes = draw(st.lists(st.sampled_from(sorted(minimal("perturbation"))), max_size=1))
    keys = {
        **SMALL,
        "architecture": named("architecture", network),
        "perturbations": [SUBSET, *(named("perturbation", name) for name in changes)],
        "metrics": [named("metric", name) for name in dict.fromkeys(metrics)],
        "models": draw(st.integers(2, 3)),
        "pairs": draw(st.sampled_from(["all", "ring", "first"])),
        "axes": {
            "temperature": {
                "field": "train.learning_rate",
                "values": draw(st.sampled_from([[0.05], [0.05, 0.01]])),
            }
        },
    }
    try:
        make_plan(SweepSpec.of(**keys), Catalogue.discover(), Path())
    except RequestError:
        assume(False)
    return keys


@dataclass(frozen=True)
class Visit:
    """One time that the sweep is run: where, and what happens after so many cells."""

    executor: str
    event: str = ""
    after: int = 1


def visits(*events):
    """Draw a few times that the sweep is run: in workers first, and then anywhere."""
    workers = [f"local:workers={count}" for count in (1, 2, 3)]
    event, after = st.sampled_from(events), st.integers(1, 4)
    first = st.builds(Visit, st.sampled_from(workers), event, after)
    more = st.builds(Visit, st.sampled_from(["inline", *workers]), event, after)
    return st.builds(lambda one, others: [one, *others], first, st.lists(more, max_size=1))


class Disturbance(Listener):
    """Does something to its own driver, or to a worker, after so many cells."""

    def __init__(self, tools, visit):
        self.tools, self.visit, self.count = tools, visit, 0

    def finished(self, result):
        self.count += 1
        if self.count != self.visit.after:
            return
        match self.visit.event:
            case "ctrl-c":
                signal.raise_signal(signal.SIGINT)
            case "ctrl-c twice":
                signal.raise_signal(signal.SIGINT)
                signal.raise_signal(signal.SIGINT)
            case "terminate":
                signal.raise_signal(signal.SIGTERM)
            case "kill a worker":
                for pid in self.tools.grandchildren(os.getpid())[:1]:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)


def run(keys, store, executor="inline", listener=None):
    return llt_core.sweep(
        **keys,
        store=store,
        executor=executor,
        compute={"threads": 1, "device": "cpu"},
        listener=listener,
        retries=3,
    )


def expected(tools, keys, home):
    """Return the table of an undisturbed run."""
    result = run(keys, home / "calm")
    assert result.failed == []
    assert result.to_rows()
    return tools.table(home / "calm")


def settle(count):
    return settings(
        max_examples=count,
        deadline=None,
        derandomize=True,
        database=None,
        phases=(Phase.generate,),  # an example takes seconds: shrinking would take an hour
        suppress_health_check=list(HealthCheck),
    )


EVENTS = ("ctrl-c", "ctrl-c twice", "terminate", "kill a worker", "")


def any_order(count):
    @settle(count)
    @given(keys=sweeps(), plan=visits(*EVENTS))
    def check(tools, keys, plan):
        note(f"{keys}\n{plan}")
        home = Path(tempfile.mkdtemp())
        try:
            table = expected(tools, keys, home)
            store = home / "store"
            for visit in plan:
                with suppress(KeyboardInterrupt):
                    run(keys, store, visit.executor, Disturbance(tools, visit))
            last = plan[-1].executor
            result = run(keys, store, last)
            assert result.failed == []
            assert tools.table(store) == table
            tools.check_tidy(store)
        finally:
            shutil.rmtree(home)

    return check


def test_no_result_depends_on_interruptions_or_the_executor(tools):
    any_order(2)(tools)


@pytest.mark.slow
def test_no_result_depends_on_interruptions_or_the_executor_at_length(tools):
    any_order(12)(tools)


DRIVER = """
import json
import sys
import llt_core

keys, store, executor = json.loads(sys.argv[1])
result = llt_core.sweep(
    **keys, store=store, executor=executor, compute={"threads": 1, "device": "cpu"}, retries=3
)
sys.exit(len(result.failed))
"""


@pytest.mark.slow
def test_no_result_depends_on_when_drivers_are_killed(ground, tools):
    @settle(6)
    @given(keys=sweeps(), plan=visits("kill"))
    def check(keys, plan):
        note(f"{keys}\n{plan}")
        home = Path(tempfile.mkdtemp(dir=ground.home))
        table = expected(tools, keys, home)
        store = home / "store"
        for visit in plan:
            told = json.dumps([keys, str(store), visit.executor])
            process = ground.python("-c", DRIVER, told)
            goal = tools.finished(store) + visit.after
            tools.until(
                lambda p=process, g=goal: p.poll() is not None or tools.finished(store) >= g
            )
            process.kill()
            process.communicate()
        ground.finish(ground.python("-c", DRIVER, json.dumps([keys, str(store), "inline"])))
        assert tools.table(store) == table
        tools.check_tidy(store)

    check()
