"""What every plugin must be, whatever its kind."""

from __future__ import annotations

import json
from typing import ClassVar, get_args

from llt_core.interfaces import Component, Modality
from llt_core.interfaces.declarations import misdeclared
from llt_core.testing.checks import assert_sentence
from llt_core.testing.samples import describe_modality


class ComponentConformance:
    """Checks shared by all kinds; subclass the class of your plugin's kind instead.

    Set ``component`` to an instance of your plugin.
    """

    component: ClassVar[Component]

    @property
    def who(self) -> str:
        """The class of the plugin, for messages."""
        return type(self.component).__name__

    def setup_method(self) -> None:
        """Say what the class declares wrongly, before any check trips over it."""
        fault = misdeclared(type(self.component))
        assert not fault, fault

    def test_summary_and_version(self) -> None:
        """A summary for ``llt list-plugins`` and a version number."""
        assert_sentence(getattr(self.component, "summary", None), f"{self.who}.summary")
        version = self.component.version
        assert isinstance(version, int), f"{self.who}.version is {version!r}; use a whole number"
        assert version >= 1, f"{self.who}.version is {version}; start at 1"

    def test_every_parameter_is_described(self) -> None:
        """``llt show`` prints a description of each parameter."""
        for name, field in type(self.component).model_fields.items():
            assert field.description, (
                f"{self.who}.{name} has no description: declare it with "
                "parameter(default, description=..., unit=...)"
            )

    def test_parameters_survive_json(self) -> None:
        """Cells are written as JSON and read back by another process."""
        text = json.dumps(self.component.model_dump(mode="json"))
        again = type(self.component).model_validate(json.loads(text))
        assert again == self.component, (
            f"{self.who} is another component after a trip through JSON: use parameters "
            "that JSON can hold (numbers, text, lists, nested pydantic models)"
        )

    def test_frozen_and_strict(self) -> None:
        """Parameters cannot change later, and a misspelt one is an error."""
        config = type(self.component).model_config
        for key, value in (("frozen", True), ("extra", "forbid")):
            assert config.get(key) == value, (
                f"{self.who}.model_config sets {key}={config.get(key)!r}; leave it at {value!r}"
            )

    def test_minimal(self) -> None:
        """A small instance can be made without arguments."""
        small = type(self.component).minimal()
        assert type(small) is type(self.component), (
            f"{self.who}.minimal() returns a {type(small).__name__}; "
            f"it should return the smallest sensible {self.who}"
        )

    def test_refusals_are_sentences(self) -> None:
        """An impossible task is refused in words, a possible one with None."""
        for modality in get_args(Modality):
            refusal = self.component.refuses(describe_modality(modality))
            if refusal is not None:
                assert_sentence(refusal, f"what {self.who}.refuses() says of a {modality} task")

    def _refuses_other_modalities(self, accepts: frozenset[Modality]) -> None:
        assert accepts, f"{self.who}.accepts is empty: name the modalities it works on"
        for modality in set(get_args(Modality)) - accepts:
            assert self.component.refuses(describe_modality(modality)) is not None, (
                f"{self.who} accepts only {sorted(accepts)} but does not refuse {modality}: "
                "call super().refuses(task) first in your own refuses()"
            )
