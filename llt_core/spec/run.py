"""A request as the user states it: names and parameters, nothing resolved yet."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    model_validator,
)

from llt_core.errors import RequestError, wanted


class _Request(BaseModel):
    """A part of a request: frozen, and what does not fit is told as a wrong request."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="wrap")
    @classmethod
    def _told(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return handler(data)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            name = ".".join(map(str, first["loc"]))
            raise RequestError(
                f"the request cannot have {name} = {first['input']!r}", expected=wanted(first)
            ) from error


class Named(_Request):
    """A plugin by name, with the parameters the user set."""

    name: str
    parameters: Mapping[str, Any] = Field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``name`` or ``name:key=value,key=value``.

        >>> Named.parse("label_noise:fraction=0.1,seed=3").parameters
        {'fraction': 0.1, 'seed': 3}
        """
        name, colon, rest = text.partition(":")
        if not name or (colon and not rest):
            raise RequestError(f"cannot read {text!r}", expected="NAME or NAME:KEY=VALUE,KEY=VALUE")
        pairs = (parse_assignment(part) for part in _split(rest)) if rest else ()
        return cls(name=name, parameters=dict(pairs))

    @classmethod
    def of(cls, value: str | Mapping[str, Any] | Named) -> Named:
        """Accept what Python callers and sweep files write: text, a mapping, or itself."""
        if isinstance(value, Named):
            return value
        if isinstance(value, str):
            return cls.parse(value)
        if not isinstance(value, Mapping):
            raise RequestError(f"cannot read {value!r}", expected="a name, or a table with a name")
        rest = dict(value)
        if "name" not in rest:
            raise RequestError(f"no name in {value!r}", expected="{'name': …, parameter: value}")
        return cls(name=rest.pop("name"), parameters=rest)

    def updated(self, key: str, value: Any) -> Named:
        """Return the same plugin with one more parameter set."""
        return Named(name=self.name, parameters={**self.parameters, key: value})


Pairs = Literal["all", "ring", "first"]
"""Which of K models are compared: each with each, each with the next one in a ring, or
only the first two."""


class RunSpec(_Request):
    """One composition: K models of one task and architecture, and what to measure on them.

    ``pairs`` says which models the metrics of pairs compare: one word for all metrics, or a
    table of some, ``{"mode_connectivity": "first"}``; the others then compare all.
    """

    task: Named
    architecture: Named | None = None
    perturbations: tuple[Named, ...] = ()
    train: Mapping[str, Any] = Field(default_factory=dict)
    metrics: tuple[Named, ...] = ()
    seed: int = Field(0, ge=0)
    models: int = Field(1, ge=1)
    pairs: Pairs | Mapping[str, Pairs] = "all"

    @model_validator(mode="after")
    def _pairs_of_metrics(self) -> Self:
        if not isinstance(self.pairs, str):
            for name in self.pairs:
                if all(metric.name != name for metric in self.metrics):
                    raise RequestError(
                        f"pairs names {name!r}, which is not measured",
                        expected=f"one of {', '.join(m.name for m in self.metrics) or 'nothing'}",
                    )
        return self

    def pairs_of(self, metric: str) -> Pairs:
        """Return which models the metric of this name compares, if it compares pairs."""
        return self.pairs if isinstance(self.pairs, str) else self.pairs.get(metric, "all")

    def with_field(self, path: str, value: Any) -> RunSpec:
        """Return the spec with one dotted field set, as ``--set`` and sweep axes do.

        Paths: ``task.X``, ``architecture.X``, ``train.X``, ``perturbation.NAME.X``,
        ``metric.NAME.X``, ``seed``, ``models``, ``pairs``; ``task`` and ``architecture`` alone
        put another one there.

        Raises
        ------
        RequestError
            The path leads nowhere.
        """
        head, *rest = path.split(".")
        match head, rest:
            case (("seed" | "models" | "pairs"), []):
                return self.model_validate({**self.model_dump(), head: value})
            case (("task" | "architecture"), []):
                return self.model_copy(update={head: Named.of(value)})
            case "train", [key]:
                return self.model_copy(update={"train": {**self.train, key: value}})
            case "task", [key]:
                return self.model_copy(update={"task": self.task.updated(key, value)})
            case "architecture", [key]:
                if self.architecture is None:
                    raise RequestError(f"{path}: no architecture is named", next_step="--arch NAME")
                return self.model_copy(
                    update={"architecture": self.architecture.updated(key, value)}
                )
            case (("perturbation" | "metric"), [name, key]):
                field = head + "s"
                changed = _update_named(getattr(self, field), name, key, value, path)
                return self.model_copy(update={field: changed})
        raise RequestError(
            f"there is no field {path!r}",
            expected="task.X, architecture.X, train.X, perturbation.NAME.X, metric.NAME.X, "
            "seed, models or pairs",
            next_step="--set train.batch_size=64",
        )


def _update_named(
    items: Iterable[Named], name: str, key: str, value: Any, path: str
) -> tuple[Named, ...]:
    items = tuple(items)
    if not any(item.name == name for item in items):
        raise RequestError(
            f"{path}: the composition has no {name!r}",
            expected=f"one of {', '.join(item.name for item in items) or 'nothing'}",
        )
    return tuple(item.updated(key, value) if item.name == name else item for item in items)


def parse_assignment(text: str) -> tuple[str, Any]:
    """Read ``key=value``; the value is JSON where it can be, else text.

    >>> parse_assignment("train.milestones=[0.5, 0.75]")
    ('train.milestones', [0.5, 0.75])
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise RequestError(f"cannot read {text!r}", expected="KEY=VALUE")
    return key.strip(), parse_value(value.strip())


def parse_value(text: str) -> Any:
    """Read a number, ``true``/``false``, ``none``, a JSON list, or plain text."""
    lowered = text.lower()
    if lowered in ("true", "false"):
        return lowered == "true"
    if lowered in ("none", "null"):
        return None
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _split(text: str) -> list[str]:
    """Split at commas that are not inside brackets or quotes."""
    parts, depth, quoted, escaped = [""], 0, False, False
    for character in text:
        if quoted:
            quoted = escaped or character != '"'
            escaped = character == "\\" and not escaped
        else:
            quoted = character == '"'
            depth += (character in "[{") - (character in "]}")
        if character == "," and depth == 0 and not quoted:
            parts.append("")
        else:
            parts[-1] += character
    return parts
