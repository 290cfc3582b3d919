"""What every metric must do."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

from llt_core.interfaces import MeasureContext, Measurement, Metric, Task
from llt_core.interfaces.as_found import torch_switches
from llt_core.interfaces.contracts import measurements_of
from llt_core.testing.checks import (
    assert_unchanged,
    empty_folder,
    model_state,
    random_state,
    seeded,
    splits_state,
)
from llt_core.testing.component import ComponentConformance
from llt_core.testing.samples import TinyImages, small_network
from llt_core.testing.text_samples import small_translator

if TYPE_CHECKING:
    from torch import nn

MODELS = {"model": 1, "pair": 2, "set": 3}
"""How many models a metric of each scope is given here."""

ADVICE = "leave everything as you found it, also when you return early or raise"


class MetricConformance(ComponentConformance):
    """Subclass it and set ``component``; set ``task`` where images do not fit.

    ``task = TinyTexts()`` tries the metric on a translation; override ``model`` where your
    task wants networks of another kind.
    """

    component: ClassVar[Metric]
    task: ClassVar[Task] = TinyImages()

    def model(self, seed: int) -> nn.Module:
        """Return a small network for ``task``, in eval mode, initialised from ``seed``."""
        described = self.task.describe()
        if described.modality == "text":
            return small_translator(described, seed)
        return small_network(described, seed)

    def context(self, seed: int = 11) -> MeasureContext:
        """Return fresh models and data, as many models as the scope asks for."""
        models = tuple(self.model(index) for index in range(MODELS[self.component.scope]))
        return MeasureContext(self.task, models, self.task.tiny(), seed=seed, sample_seed=7)

    def measured(self) -> list[Measurement]:
        """Return one result of the metric."""
        return measurements_of(self.component, self.component.measure(self.context()))

    def test_declaration(self) -> None:
        """Scope, splits, returned quantities and cost are declared."""
        metric, task = self.component, self.task.describe()
        assert metric.scope in MODELS, f"{self.who}.scope is {metric.scope!r}; use {list(MODELS)}"
        names = [quantity.name for quantity in metric.returns]
        assert names, f"{self.who}.returns is empty: declare a Quantity for each number"
        assert len(set(names)) == len(names), (
            f"{self.who}.returns names one quantity twice: {names}"
        )
        refusal = metric.refuses(task)
        assert refusal is None, f"{self.who} refuses the sample task ({refusal}): set `task`"
        cost = metric.cost(task)
        assert math.isfinite(cost), f"{self.who}.cost() is {cost}; give a rough number"
        assert cost >= 0, f"{self.who}.cost() is {cost}; it cannot be negative"

    def test_returns_what_it_declares(self) -> None:
        """Names and units are those of ``returns``, and every number is sane."""
        declared = {quantity.name: quantity.unit for quantity in self.component.returns}
        results = self.measured()
        assert results, f"{self.who}.measure() returns nothing: return at least one Measurement"
        names = [result.name for result in results]
        assert len(set(names)) == len(names), f"{self.who} returns one name twice: {names}"
        for result in results:
            assert result.name in declared, (
                f"{self.who} returns {result.name!r}; add a Quantity of that name to `returns`"
            )
            assert result.unit == declared[result.name], (
                f"{result.name} comes in {result.unit!r} but is declared in "
                f"{declared[result.name]!r}: use the same unit in both places"
            )
            no_value = result.status in ("undefined", "not_finite")
            finite = result.value is not None and math.isfinite(result.value)
            assert finite != no_value, f"{result.name}: {result.value} with status {result.status}"
            error = result.standard_error
            assert error is None or error >= 0, f"{result.name}: its standard error is {error}"
            assert result.n >= 0, f"{result.name}: n is {result.n}"
            for figure in result.figures:
                lacking = [name for name in figure.arrays if name not in result.arrays]
                assert not lacking, f"{result.name}: its figure {figure.title!r} needs {lacking}"

    def test_leaves_models_as_found(self) -> None:
        """Parameters, buffers, gradients, flags, modes and hooks stay bit-identical."""
        import torch

        context = self.context()
        for model in context.models:
            trainable = [p for p in model.parameters() if p.requires_grad]
            trainable[0].grad = torch.full_like(trainable[0], 0.5)
        before = [model_state(model) for model in context.models]
        self.component.measure(context)
        for state, model in zip(before, context.models, strict=True):
            assert_unchanged(state, model_state(model), self.who, ADVICE)

    def test_leaves_the_process_as_found(self) -> None:
        """Global random state, torch's switches and the data stay as they were."""
        import torch

        context = self.context()
        with seeded(20_231), torch.enable_grad():
            before = random_state() | torch_switches() | splits_state(context.splits)
            self.component.measure(context)
            after = random_state() | torch_switches() | splits_state(context.splits)
        assert_unchanged(before, after, self.who, "draw from context.generator(); " + ADVICE)

    def test_one_seed_one_result(self) -> None:
        """The result depends on the context's seeds and not on global generators."""
        kept = {"name", "value", "standard_error", "n", "status"}
        results = []
        for seed in (0, 1):
            with seeded(seed):
                results.append([result.model_dump(include=kept) for result in self.measured()])
        assert results[0] == results[1], (
            f"{self.who} gives {results[0]}, then {results[1]}, for one seed: "
            "draw from context.generator(), and choose samples with context.batches()"
        )

    def test_writes_no_files(self) -> None:
        """Artefacts are returned as arrays; the engine stores them."""
        with empty_folder() as folder:
            self.measured()
            left = sorted(path.name for path in folder.iterdir())
        assert not left, f"{self.who} writes {left}: return arrays in Measurement.arrays instead"

    def test_progress_is_sane(self) -> None:
        """Reports never run past their total."""
        seen: list[tuple[int, int]] = []
        context = self.context()
        context.report = lambda done, total: seen.append((done, total))
        self.component.measure(context)
        wrong = [(done, total) for done, total in seen if not 0 <= done <= total]
        assert not wrong, f"{self.who} reports (done, total) = {wrong[:3]}"

    def test_broken_weights_are_a_status(self) -> None:
        """A model full of NaN gives a measurement with a status, not an exception."""
        context = self.context()
        for parameter in context.models[0].parameters():
            parameter.data.fill_(math.nan)
        try:
            self.component.measure(context)
        except Exception as error:
            raise AssertionError(
                f"{self.who} raises {type(error).__name__} on a model whose weights are NaN: "
                "return Measurement(value=None, status='not_finite')"
            ) from error
