"""What every perturbation must do."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from llt_core.interfaces import Perturbation, Task
from llt_core.testing.checks import assert_unchanged, random_state, seeded, splits_state
from llt_core.testing.component import ComponentConformance
from llt_core.testing.samples import TinyImages

if TYPE_CHECKING:
    from llt_core.interfaces import Splits


class PerturbationConformance(ComponentConformance):
    """Subclass it, set ``component`` to an instance that changes something, and ``identity``.

    ``identity`` is an instance of strength zero. Set ``task`` where images do not fit.
    """

    component: ClassVar[Perturbation]
    identity: ClassVar[Perturbation | None] = None
    task: ClassVar[Task] = TinyImages()

    def applied(self, perturbation: Perturbation, splits: Splits, seed: int = 5) -> Splits:
        """Return ``splits`` perturbed with a generator of its own."""
        import torch

        return perturbation.apply(splits, torch.Generator().manual_seed(seed))

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
        splits = self.task.tiny()
        after = splits_state(self.applied(self.component, splits))
        assert after != splits_state(splits), (
            f"{self.who} of strength {strength} changes none of {len(splits)} splits: "
            "set `component` to a stronger one, or make apply() use its parameters"
        )

    def test_strength_zero_changes_nothing(self) -> None:
        """The instance of strength zero returns the data as it was."""
        assert self.identity is not None, (
            f"set `identity` to an instance of {self.who} that changes nothing"
        )
        strength = self.identity.strength
        assert strength == 0, f"`identity` has strength {strength}; expected 0"
        splits = self.task.tiny()
        after = splits_state(self.applied(self.identity, splits))
        advice = "at strength zero, return the subject as it is"
        assert_unchanged(splits_state(splits), after, f"{self.who} of strength 0", advice)

    def test_never_in_place(self) -> None:
        """The subject keeps every bit of its inputs and targets."""
        splits = self.task.tiny()
        before, keys = splits_state(splits), list(splits)
        self.applied(self.component, splits)
        advice = "copy before you write (with_targets, with_inputs, subset)"
        assert list(splits) == keys, f"{self.who} changed the mapping of splits itself: {advice}"
        assert_unchanged(before, splits_state(splits), self.who, advice)

    def test_same_generator_same_result(self) -> None:
        """Two generators of one seed give the same data."""
        first, again = (
            splits_state(self.applied(self.component, self.task.tiny())) for _ in range(2)
        )
        advice = "draw from the generator that apply() is given, and from nothing else"
        assert_unchanged(first, again, f"{self.who} under one generator seed", advice)

    def test_leaves_global_random_state(self) -> None:
        """Nothing is drawn from global generators, and nothing depends on them."""
        advice = "draw from the generator that apply() is given"
        results = []
        for seed in (0, 1):
            splits = self.task.tiny()
            with seeded(seed):
                before = random_state()
                results.append(splits_state(self.applied(self.component, splits)))
                assert_unchanged(before, random_state(), self.who, advice)
        assert results[0] == results[1], f"{self.who} depends on the global seed: {advice}"

    def test_keeps_the_splits(self) -> None:
        """The result has the same splits in the same order, none of them empty."""
        splits = self.task.tiny()
        result = self.applied(self.component, splits)
        assert list(result) == list(splits), (
            f"{self.who} returns the splits {list(result)}; expected {list(splits)}"
        )
        for name, examples in result.items():
            assert len(examples) > 0, f"{self.who} leaves no example in the split {name!r}"
