"""What every plugin is: a frozen pydantic model whose fields are its parameters."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field

from llt_core.interfaces.description import TaskDescription
from llt_core.kinds import Kind


def parameter(default: Any = ..., *, description: str, unit: str = "", **constraints: Any) -> Any:
    """Declare one user-settable parameter of a component.

    Parameters
    ----------
    default
        Value used when the user sets nothing. Omit it to make the parameter required.
    description
        One sentence for ``llt show``.
    unit
        Unit of the value (``"samples"``, ``"percent"``, …), empty for none.
    constraints
        Passed to :func:`pydantic.Field` (``ge``, ``le``, ``gt``, …).
    """
    return Field(default, description=description, json_schema_extra={"unit": unit}, **constraints)


class Component(BaseModel):
    """Base of everything a plugin can offer.

    Subclasses add fields (the parameters a user may set) and methods. ``version`` is
    raised whenever the numbers a component produces change; results stored under the
    old version then no longer match. Adding a field whose default keeps the old
    behaviour needs no new version; *changing* a default does.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False
    )

    kind: ClassVar[Kind]
    summary: ClassVar[str]
    version: ClassVar[int] = 1

    def refuses(self, task: TaskDescription) -> str | None:
        """Say in one sentence why this component cannot work on ``task``; None if it can.

        Called before any training, so that impossible compositions cost nothing.
        """
        return None

    @classmethod
    def minimal(cls) -> Self:
        """Return the smallest sensible instance, for tests on ``Task.tiny()`` data."""
        return cls()

    def non_defaults(self) -> dict[str, Any]:
        """Return the parameters that differ from their defaults, as JSON values.

        Only these enter the identity of a cell, so that a parameter added later
        (with a default that changes nothing) keeps every old digest valid.
        """
        return self.model_dump(mode="json", exclude_defaults=True)
