"""Telling observers what happens, without letting them get in the way."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from llt_core.errors import LltError
from llt_core.plugins.catalogue import Catalogue, Resolved
from llt_core.plugins.errors import BrokenPluginError
from llt_core.plugins.finder import new_manager, register, register_hooks
from llt_core.plugins.hookspecs import PROJECT
from llt_core.plugins.manifest import Entry

if TYPE_CHECKING:
    from llt_core.interfaces import Component

START = "llt_sweep_started"


class Observers:
    """The hook modules of all usable packages, and the trackers that are switched on.

    Every observer is called on its own: what one raises is kept in ``errors`` as
    ``(package, hook, message)``, once however often it happens, and reaches neither the cell
    nor the other observers. A tracker is called ``package/name`` there.
    """

    def __init__(
        self, catalogue: Catalogue, track: Mapping[str, Mapping[str, Any]] | None = None
    ) -> None:
        """Import the hook modules, and make the trackers.

        Parameters
        ----------
        track
            Trackers by name, and their parameters; what is not set has the value that
            ``[track]`` in ``llt.toml`` gives it. None: the trackers named there.

        Raises
        ------
        LltError
            No tracker has that name, or it cannot have these parameters.
        """
        self.errors: list[tuple[str, str, str]] = []
        self._manager = new_manager()
        self._trackers: dict[str, Entry] = {}
        self._off: set[str] = set()
        for package in catalogue.packages:
            if package.error or package.name in catalogue.settings.disable:
                continue
            try:
                register(self._manager, package)
            except (Exception, SystemExit) as error:
                self._note(package.name, "import", error)
        for resolved, parameters in _wanted(catalogue, track):
            self._switch_on(resolved, parameters)

    def _switch_on(self, resolved: Resolved, parameters: Mapping[str, Any]) -> None:
        from llt_core.plugins.loader import create

        called = resolved.entry.qualified
        self._trackers[called] = resolved.entry
        try:
            tracker = create(resolved, parameters)
        except BrokenPluginError as error:
            self._note(called, "import", error)
            return
        try:
            register_hooks(self._manager, _hooks(tracker), called)
        except (Exception, SystemExit) as error:
            self._note(called, "import", error)

    def notify(self, hook: str, **facts: Any) -> None:
        """Call one observer hook everywhere."""
        self._call_each(hook, facts, lambda package, answer: None)

    def provenance(self) -> dict[str, Any]:
        """Collect what packages want recorded, under their names.

        An answer that is not JSON is an error of the package: it could not be stored.
        """
        facts: dict[str, Any] = {}

        def take(package: str, answer: Any) -> None:
            facts[package] = json.loads(json.dumps(answer))

        self._call_each("llt_provenance", {}, take)
        return facts

    def _call_each(
        self, hook: str, facts: dict[str, Any], take: Callable[[str, Any], None]
    ) -> None:
        for implementation in getattr(self._manager.hook, hook).get_hookimpls():
            name = implementation.plugin_name
            if name in self._off:
                continue
            # A copy for each: what one observer does to a record, nobody else sees.
            known = {n: deepcopy(facts[n]) for n in implementation.argnames if n in facts}
            try:
                take(name, implementation.function(**known))
            except (Exception, SystemExit) as error:
                self._note(name, hook, error)
                if hook == START and name in self._trackers:
                    self._off.add(name)

    def _note(self, name: str, hook: str, error: BaseException) -> None:
        told = isinstance(error, LltError)
        message = str(error) if told else f"{type(error).__name__}: {error}"
        if name in self._trackers and isinstance(error, ImportError):
            from llt_core.plugins.loader import install_line

            line = install_line(self._trackers[name], error)
            message += f"\n  next: {line}" if line else ""
        if (name, hook, message) not in self.errors:
            self.errors.append((name, hook, message))


def _wanted(
    catalogue: Catalogue, track: Mapping[str, Mapping[str, Any]] | None
) -> Iterable[tuple[Resolved, dict[str, Any]]]:
    """Return each tracker that is to be switched on, once, with its parameters."""
    usual = catalogue.settings.track
    found: dict[str, tuple[Resolved, dict[str, Any]]] = {}
    for name, parameters in (usual if track is None else track).items():
        resolved = catalogue.resolve("tracker", name)
        called = resolved.entry.qualified
        if called not in found:
            plain = usual.get(resolved.entry.name, {})
            found[called] = (resolved, {**plain, **usual.get(called, {})})
        found[called][1].update(parameters)
    return found.values()


def _hooks(tracker: Component) -> SimpleNamespace:
    """Return the hooks of a tracker alone: pluggy looks at every attribute of what it is given."""
    mark = f"{PROJECT}_impl"
    names = {n for cls in type(tracker).__mro__ for n, f in vars(cls).items() if hasattr(f, mark)}
    return SimpleNamespace(**{name: getattr(tracker, name) for name in sorted(names)})
