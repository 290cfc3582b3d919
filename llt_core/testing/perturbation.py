"""What every perturbation must do, whatever its stage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, get_args

from llt_core.interfaces import MixedBatch, Perturbation, Stage, Task
from llt_core.interfaces.contracts import perturbed_by
from llt_core.testing.checks import (
    State,
    assert_unchanged,
    batch_state,
    model_state,
    random_state,
    seeded,
    splits_state,
)
from llt_core.testing.component import ComponentConformance
from llt_core.testing.samples import TinyImages, small_network

if TYPE_CHECKING:
    from torch import Tensor


class PerturbationConformance(ComponentConformance):
    """Subclass it, set ``component`` to an instance that changes something, and ``identity``.

    ``identity`` is an instance of strength zero. Set ``task`` where images do not fit. The
    checks follow the stage of the perturbation: they give it the splits of ``task.tiny()``, a
    batch of them, or a small network.
    """

    component: ClassVar[Perturbation]
    identity: ClassVar[Perturbation | None] = None
    task: ClassVar[Task] = TinyImages()

    def subject(self) -> Any:
        """Return what a perturbation of this stage is given, always the same."""
        import torch

        match self.component.stage:
            case "data":
                return dict(self.task.tiny())
            case "training":
                examples = next(iter(self.task.tiny().values()))
                return examples.batch(torch.arange(min(len(examples), 16)))
            case "weights":
                return small_network(TinyImages().describe())

    def applied(self, perturbation: Perturbation, subject: Any, seed: int = 5) -> Any:
        """Return ``subject`` perturbed with a generator of its own."""
        import torch

        result = perturbation.apply(subject, torch.Generator().manual_seed(seed))
        return perturbed_by(perturbation, subject, result)

    def test_stage_and_axis(self) -> None:
        """It says when it acts and what its strength is like."""
        stage = getattr(self.component, "stage", None)
        assert stage in get_args(Stage), (
            f"{self.who} names no stage: subclass DataPerturbation, TrainingPerturbation or "
            "WeightPerturbation"
        )
        axis = self.component.axis
        assert axis in ("load", "temperature"), (
            f"{self.who}.axis is {axis!r}; say whether strength is like 'load' or 'temperature'"
        )

    def test_refuses_other_modalities(self) -> None:
        """A task of a modality outside ``accepts`` is refused."""
        self._refuses_other_modalities(self.component.accepts)

    def test_accepts_the_task(self) -> None:
        """The task of these checks is one that the perturbation accepts."""
        refusal = self.component.refuses(self.task.describe())
        assert refusal is None, f"{self.who} refuses the sample task ({refusal}): set `task`"

    def test_changes_something(self) -> None:
        """The instance has a positive strength, and its result differs from its subject."""
        strength = self.component.strength
        assert strength > 0, f"{self.who}.strength is {strength}: set `component` to a stronger one"
        subject = self.subject()
        after = _state(self.applied(self.component, subject))
        assert after != _state(subject), (
            f"{self.who} of strength {strength} changes nothing: "
            "set `component` to a stronger one, or make apply() use its parameters"
        )

    def test_strength_zero_changes_nothing(self) -> None:
        """The instance of strength zero returns its subject as it was."""
        assert self.identity is not None, (
            f"set `identity` to an instance of {self.who} that changes nothing"
        )
        strength = self.identity.strength
        assert strength == 0, f"`identity` has strength {strength}; expected 0"
        subject = self.subject()
        after = _state(self.applied(self.identity, subject))
        advice = "at strength zero, return the subject as it is"
        assert_unchanged(_state(subject), after, f"{self.who} of strength 0", advice)

    def test_never_in_place(self) -> None:
        """The subject keeps every bit of its inputs and targets, or of its weights."""
        subject = self.subject()
        before = _state(subject)
        keys = list(subject) if isinstance(subject, Mapping) else []
        self.applied(self.component, subject)
        advice = {
            "data": "copy before you write (with_targets, with_inputs, subset)",
            "training": "return a new batch (dataclasses.replace)",
            "weights": "change a copy (copy.deepcopy)",
        }[self.component.stage]
        if isinstance(subject, Mapping):
            assert list(subject) == keys, f"{self.who} changed the mapping itself: {advice}"
        assert_unchanged(before, _state(subject), self.who, advice)

    def test_same_generator_same_result(self) -> None:
        """Two generators of one seed give the same result."""
        first, again = (_state(self.applied(self.component, self.subject())) for _ in range(2))
        advice = "draw from the generator that apply() is given, and from nothing else"
        assert_unchanged(first, again, f"{self.who} under one generator seed", advice)

    def test_leaves_global_random_state(self) -> None:
        """Nothing is drawn from global generators, and nothing depends on them."""
        advice = "draw from the generator that apply() is given"
        results = []
        for seed in (0, 1):
            subject = self.subject()
            with seeded(seed):
                before = random_state()
                results.append(_state(self.applied(self.component, subject)))
                assert_unchanged(before, random_state(), self.who, advice)
        assert results[0] == results[1], f"{self.who} depends on the global seed: {advice}"

    def test_the_result_can_take_the_place_of_the_subject(self) -> None:
        """It has the same splits, the same shapes, or the same parameters by name."""
        subject = self.subject()
        result = self.applied(self.component, subject)
        match self.component.stage:
            case "data":
                self._check_splits(subject, result)
            case "training":
                self._check_batch(subject, result)
            case "weights":
                self._check_model(subject, result)

    def _check_splits(self, subject: Any, result: Any) -> None:
        assert list(result) == list(subject), (
            f"{self.who} returns the splits {list(result)}; expected {list(subject)}"
        )
        for name, examples in result.items():
            assert len(examples) > 0, f"{self.who} leaves no example in the split {name!r}"

    def _check_batch(self, subject: Any, result: Any) -> None:
        for what, before, after in (
            ("inputs", _forms(subject.inputs), _forms(result.inputs)),
            ("targets", _forms(subject.targets), _forms(result.targets)),
            ("weight", subject.weight, result.weight),
        ):
            assert before == after, f"{self.who} returns {what} {after}; expected {before}"
        if isinstance(result, MixedBatch):
            shares = [share for share, _ in result.mixture]
            assert abs(sum(shares) - 1) < 1e-6, (
                f"{self.who} mixes targets in shares of {shares}; they should add up to 1"
            )
            largest = max(result.mixture, key=lambda part: part[0])[1]
            assert _forms(largest) == _forms(subject.targets)
            assert bool((largest == result.targets).all()), (
                f"the targets {self.who} returns are not those of the largest share"
            )

    def _check_model(self, subject: Any, result: Any) -> None:
        advice = "change the values of parameters, and nothing else"
        assert_unchanged(_frame(subject), _frame(result), self.who, advice)


def _state(subject: Any) -> State:
    """Return the bits of splits, of a batch or of a model."""
    from torch import nn

    if isinstance(subject, nn.Module):
        return model_state(subject)
    if isinstance(subject, Mapping):
        return splits_state(subject)
    state = batch_state(subject, "the batch")
    mixture = getattr(subject, "mixture", ())
    return state | {f"target {k} of the mixture": _bits(part) for k, part in enumerate(mixture)}


def _bits(part: tuple[float, Tensor]) -> object:
    return part[0], part[1].tolist()


def _frame(model: Any) -> State:
    """Return everything about a model but the values of its parameters."""
    state = model_state(model)
    kept = {k: v for k, v in state.items() if not k.startswith("the values of parameter")}
    shapes = {f"the shape of parameter {n!r}": tuple(p.shape) for n, p in model.named_parameters()}
    return kept | shapes


def _forms(inputs: Any) -> Any:
    """Return shape and dtype of a tensor, or of each of several."""
    if isinstance(inputs, Mapping):
        return {name: _forms(each) for name, each in inputs.items()}
    if isinstance(inputs, tuple):
        return [_forms(each) for each in inputs]
    return tuple(inputs.shape), inputs.dtype
