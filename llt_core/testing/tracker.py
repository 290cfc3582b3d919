"""What every tracker must do."""

from __future__ import annotations

import contextlib
import inspect
import os
import time
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import ClassVar
from unittest import SkipTest

from llt_core.interfaces import Tracker
from llt_core.testing.checks import State, assert_unchanged, empty_folder, random_state
from llt_core.testing.component import ComponentConformance
from llt_core.testing.requests import Heard, answered, request

MARK = "llt_impl"


class TrackerConformance(ComponentConformance):
    """Subclass it and set ``component`` to a tracker that tells something on this machine.

    Checks run in an empty folder, so relative paths are welcome.

    Attributes
    ----------
    requires
        Modules without which the tracker cannot work; where one is missing, what needs it is
        skipped.
    patience
        Seconds that all of a small request may take.
    """

    component: ClassVar[Tracker]
    requires: ClassVar[tuple[str, ...]] = ()
    patience: ClassVar[float] = 60.0

    def test_hooks_are_hooks(self) -> None:
        """Methods called ``llt_…`` are marked, known, and want facts that there are."""
        known: dict[str, set[str]] = {}
        for hook, facts in request():
            known.setdefault(hook, set()).update(facts)
        known["llt_provenance"] = set()
        names = [name for name in dir(type(self.component)) if name.startswith("llt_")]
        assert set(names) & known.keys(), (
            f"{self.who} hears nothing: implement one of {', '.join(sorted(known))}"
        )
        for name in names:
            method = getattr(self.component, name)
            assert name in known, f"there is no hook {name}; there are {', '.join(sorted(known))}"
            assert hasattr(method, MARK), f"{self.who}.{name} lacks @hookimpl: it is never called"
            wanted = set(inspect.signature(method).parameters)
            assert wanted <= known[name], (
                f"{self.who}.{name} wants {', '.join(sorted(wanted - known[name]))}; "
                f"there are {', '.join(sorted(known[name]))}"
            )

    def test_hears_requests(self) -> None:
        """One goes through after the other: divergence, failure and missing values included."""
        with self._place():
            self._hear(request())
            self._hear(request())

    def test_does_nothing_where_nothing_is_computed(self) -> None:
        """A request that the store answers leaves no trace and needs no library."""
        with empty_folder() as folder:
            self._hear(answered())
            left = sorted(path.name for path in folder.iterdir())
            assert not left, f"{self.who} makes {', '.join(left)} though nothing was computed"

    def test_leaves_its_surroundings_alone(self) -> None:
        """It runs in the user's process: environment and random state stay as they were."""
        with self._place():
            before = _surroundings()
            self._hear(request())
            advice = "put back what you change, after every hook"
            assert_unchanged(before, _surroundings(), self.who, advice)

    @contextlib.contextmanager
    def _place(self) -> Iterator[Path]:
        """Give an empty folder to work in, or skip the check if something is not installed."""
        import importlib.util

        for module in self.requires:
            if importlib.util.find_spec(module) is None:
                raise SkipTest(f"{module} is not installed")
        with empty_folder() as folder:
            yield folder

    def _hear(self, heard: list[Heard]) -> None:
        start = time.monotonic()
        for hook, facts in heard:
            method = getattr(self.component, hook, None)
            if method is not None:
                wanted = inspect.signature(method).parameters
                method(**{name: deepcopy(facts[name]) for name in wanted})
        took = time.monotonic() - start
        assert took < self.patience, (
            f"{self.who} holds a small request up for {took:.0f} s; cells wait for it"
        )


def _surroundings() -> State:
    return {"the environment": dict(os.environ), "the working folder": os.getcwd()} | random_state()
