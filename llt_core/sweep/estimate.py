"""What cells will cost, judged by the cells already in the store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from llt_core.interfaces import Metric, TaskDescription
from llt_core.spec import MeasureCell, TrainCell
from llt_core.store import Record, Store
from llt_core.sweep.plan import PlannedCell
from llt_core.sweep.power_law import PowerLaw

FORWARDS_PER_EPOCH = 3.0
"""Forward passes over the training split that an epoch of training is worth."""
LOAD_EXPONENT = 0.5
"""How time grows with the load of a network where only one load was ever timed: between many
cores or a GPU with few channels (0) and one core with many (1 to 2)."""

Composition = Mapping[str, Any]


@dataclass(frozen=True)
class Estimate:
    """Seconds and bytes of some cells.

    ``unknown`` counts the cells nothing is known of, ``unsized`` the models whose checkpoint
    is of unknown size.
    """

    seconds: float = 0.0
    unknown: int = 0
    checkpoint_bytes: int = 0
    unsized: int = 0

    @classmethod
    def total(cls, guesses: Iterable[Guess]) -> Estimate:
        """Return the sum of what is guessed of single cells."""
        guesses = tuple(guesses)
        return cls(
            sum(g.seconds or 0.0 for g in guesses),
            sum(g.seconds is None for g in guesses),
            sum(g.bytes or 0 for g in guesses),
            sum(g.bytes is None for g in guesses),
        )


@dataclass(frozen=True)
class Guess:
    """What one cell should take; None where nothing is known."""

    seconds: float | None
    bytes: int | None


@dataclass
class Estimator:
    """Learns from finished cells how long others take.

    A cell that did the same work (for training: an epoch of the same network, data and batch
    size; for measuring: the same metric on the same network) counts by the median of its
    like. Other parameters are reached by a power law in all positive numbers that vary, fitted
    to what is known of the same task, architecture and metric, in units of the metric's
    declared cost. A metric that was never measured there is judged by its declared cost,
    counted in epochs of training.
    """

    _seen: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    _compositions: dict[str, Composition] = field(default_factory=dict)
    _epochs: dict[str, list[int]] = field(default_factory=dict)
    _fits: dict[str, PowerLaw] = field(default_factory=dict)
    _answers: dict[str, float | None] = field(default_factory=dict)

    def add(self, record: Record) -> None:
        """Learn from one finished cell."""
        units = 1
        if isinstance(record.cell, TrainCell):
            units = len(record.history)
            if units and record.status == "done":
                self._epochs.setdefault(_course(record.composition), []).append(units)
        if not units:
            return
        kind, work = _kind(record.composition), _work(record.composition)
        self._seen.setdefault(kind, {}).setdefault(work, []).append(record.seconds / units)
        self._compositions.setdefault(work, record.composition)
        self._fits.pop(kind, None)
        self._answers.clear()

    def seconds(self, planned: PlannedCell) -> float | None:
        """Return what one cell should take, None when nothing like it was ever done."""
        work = _work(planned.composition)
        if work not in self._answers:
            self._answers[work] = self._unit(planned, work)
        unit = self._answers[work]
        if unit is None or isinstance(planned.cell, MeasureCell):
            return unit
        recipe = planned.parts.recipe
        sooner = recipe.early_stop or recipe.max_steps or recipe.stop_at_loss is not None
        past = self._epochs.get(_course(planned.composition)) if sooner else None
        return unit * (median(past) if past else recipe.epochs)

    def _unit(self, planned: PlannedCell, work: str) -> float | None:
        """Return the seconds of one measurement, or of one epoch."""
        known = self._seen.get(_kind(planned.composition), {})
        if work in known:
            return median(known[work])
        if known:
            return self._law(planned, planned.composition).at(_numbers(planned.composition)) * (
                _cost(planned, planned.composition)
            )
        if isinstance(planned.cell, TrainCell):
            return None
        models = {key: part for key, part in planned.composition.items() if key != "metric"}
        known = self._seen.get(_kind(models), {})
        if not known:
            return None
        if (epochs := known.get(_work(models))) is not None:
            epoch = median(epochs)
        else:
            epoch = self._law(planned, models).at(_numbers(models))
        return planned.metric.cost(planned.task.describe()) * epoch / FORWARDS_PER_EPOCH

    def _law(self, planned: PlannedCell, composition: Composition) -> PowerLaw:
        """Return how the time of this kind of work depends on the numbers in a composition."""
        kind = _kind(composition)
        if kind not in self._fits:
            load = planned.parts.the_architecture.load_field
            self._fits[kind] = PowerLaw.fit(
                [
                    (
                        _numbers(self._compositions[work]),
                        median(seconds) / _cost(planned, self._compositions[work]),
                        len(seconds),
                    )
                    for work, seconds in self._seen[kind].items()
                ],
                {f"architecture.{load}": LOAD_EXPONENT} if load else {},
            )
        return self._fits[kind]


def guess(
    todo: Iterable[PlannedCell],
    past: Iterable[Record],
    store: Store | None = None,
    *,
    size: Callable[[PlannedCell], int] | None = None,
) -> dict[str, Guess]:
    """Estimate the time and disk of each cell in ``todo``, by digest.

    Time: see :class:`Estimator`. Disk is the size of the checkpoints: that of a model of the
    same network in ``store``, else what ``size`` says; without it, unknown.
    """
    estimator = Estimator()
    networks: dict[str, Record] = {}
    for record in past:
        estimator.add(record)
        if record.checkpoint is not None:
            networks[_network(record.composition)] = record
    sizes: dict[str, int | None] = {}
    found: dict[str, Guess] = {}
    for planned in todo:
        needed: int | None = 0
        if isinstance(planned.cell, TrainCell):
            network = _network(planned.composition)
            if network not in sizes:
                known = _file_size(store, networks.get(network))
                sizes[network] = size(planned) if known is None and size is not None else known
            needed = sizes[network]
        found[planned.digest] = Guess(estimator.seconds(planned), needed)
    return found


def model_bytes(planned: PlannedCell) -> int:
    """Return the size of one checkpoint, from shapes alone: no memory, but PyTorch is imported."""
    import torch

    with torch.device("meta"):
        model = planned.parts.the_architecture.build(planned.task.describe())
    return sum(tensor.nbytes for tensor in (*model.parameters(), *model.buffers()))


def _file_size(store: Store | None, record: Record | None) -> int | None:
    if store is None or record is None or record.checkpoint is None:
        return None
    file = store.path(record.digest) / record.checkpoint.file
    return file.stat().st_size if file.is_file() else None


def _kind(composition: Composition) -> str:
    """Name what cells have in common whose times follow one law."""
    parts = [composition["task"]["name"], composition["architecture"]["name"]]
    parts += [part["name"] for part in composition["perturbations"]]
    if "metric" in composition:
        return repr([*parts, composition["metric"]["name"]])
    return repr([*parts, "train", composition["train"]["dtype"]])


def _work(composition: Composition) -> str:
    """Name the work of a cell by everything its duration mainly depends on."""
    parts = [composition["task"], composition["architecture"], composition["perturbations"]]
    if "metric" in composition:
        return repr([*parts, composition["metric"]])
    return repr([*parts, composition["train"]["batch_size"], composition["train"]["dtype"]])


def _course(composition: Composition) -> str:
    """Name what decides after how many epochs training ends; old records lack some settings."""
    train = composition["train"]
    stops = {key: value for key, value in train.items() if key.startswith("early_stop")}
    stops |= {key: train.get(key) for key in ("epochs", "max_steps", "stop_at_loss")}
    parts = [composition["task"]["name"], composition["architecture"]["name"], stops]
    if stops["max_steps"] is not None:  # how many epochs these are
        parts += [train["batch_size"], train.get("batch_unit", "examples")]
        parts += [composition["task"], composition["perturbations"]]
    return repr(parts)


def _network(composition: Composition) -> str:
    return repr([composition["task"]["name"], composition["architecture"]])


def _numbers(composition: Composition) -> dict[str, float]:
    """Return the positive numbers among the parameters that set how much there is to do."""
    parts = [("task", composition["task"]), ("architecture", composition["architecture"])]
    parts += [(part["name"], part) for part in composition["perturbations"]]
    found = {
        f"{role}.{key}": value
        for role, part in parts
        for key, value in part["parameters"].items()
        if key != "seed"
    }
    if "metric" not in composition:
        found["train.batch_size"] = composition["train"]["batch_size"]
    return {
        name: float(value)
        for name, value in found.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and value > 0
    }


def _cost(planned: PlannedCell, composition: Composition) -> float:
    """Return what the metric of ``composition`` declares to cost; 1 for an epoch of training.

    The parameters may be those of another version: what does not fit is taken as alike.
    """
    if "metric" not in composition or not isinstance(planned.cell, MeasureCell):
        return 1.0
    metric, task = planned.metric, planned.task.describe()
    return _declared(metric, composition["metric"]["parameters"], task) or 1.0


def _declared(metric: Metric, parameters: Mapping[str, Any], task: TaskDescription) -> float:
    try:
        return type(metric).model_validate(dict(parameters)).cost(task)
    except ValueError:
        return metric.cost(task)
