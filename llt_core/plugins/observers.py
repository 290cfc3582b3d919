"""Telling observers what happens, without letting them get in the way."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from typing import Any

from llt_core.plugins.catalogue import Catalogue
from llt_core.plugins.finder import new_manager, register


class Observers:
    """The hook modules of all usable packages.

    Every observer is called on its own: what one raises is kept in ``errors`` as
    ``(package, hook, message)``, once however often it happens, and reaches neither the cell
    nor the other observers.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self.errors: list[tuple[str, str, str]] = []
        self._manager = new_manager()
        for package in catalogue.packages:
            if package.error or package.name in catalogue.settings.disable:
                continue
            try:
                register(self._manager, package)
            except (Exception, SystemExit) as error:
                self._note(package.name, "import", error)

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
            # A copy for each: what one observer does to a record, nobody else sees.
            known = {n: deepcopy(facts[n]) for n in implementation.argnames if n in facts}
            try:
                take(implementation.plugin_name, implementation.function(**known))
            except (Exception, SystemExit) as error:
                self._note(implementation.plugin_name, hook, error)

    def _note(self, package: str, hook: str, error: BaseException) -> None:
        note = (package, hook, f"{type(error).__name__}: {error}")
        if note not in self.errors:
            self.errors.append(note)
