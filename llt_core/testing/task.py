"""What every task must do."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from llt_core.interfaces import Batch, RequestError, Task, TaskDescription, TensorExamples
from llt_core.testing.checks import (
    assert_sentence,
    assert_unchanged,
    batch_state,
    random_state,
    seeded,
    splits_state,
)
from llt_core.testing.component import ComponentConformance
from llt_core.testing.text import answer_to_text, check_text, fill_up

if TYPE_CHECKING:
    from torch import Tensor


class TaskConformance(ComponentConformance):
    """Subclass it and set ``component``; nothing is downloaded, only ``tiny()`` is used.

    Override ``outputs`` when your models return something else than logits ``(B, …, outputs)``,
    or read something else than one tensor (images) or ``source`` and ``target`` (text).
    """

    component: ClassVar[Task]

    def outputs(self, batch: Batch) -> Any:
        """Return what a model might answer: a seeded linear map of each flat input."""
        import torch

        inputs = batch.inputs
        if self.component.describe().modality == "text":
            assert isinstance(inputs, Mapping), "text comes by keyword: source and target"
            return answer_to_text(self.component.describe(), inputs)
        assert isinstance(inputs, torch.Tensor), "override `outputs` for inputs of several tensors"
        rows = inputs.flatten(1).float()
        generator = torch.Generator().manual_seed(2)
        shape = (rows.shape[1], self.component.describe().outputs)
        logits = rows @ torch.randn(shape, generator=generator) / rows.shape[1] ** 0.5
        between = (1,) * (batch.targets.ndim - 1)
        spread = logits.view(len(rows), *between, -1).expand(*batch.targets.shape, -1)
        return spread.clone().requires_grad_()

    def whole(self) -> Batch:
        """Return the whole tiny training split as one batch."""
        import torch

        examples = next(iter(self.component.tiny().values()))
        return examples.batch(torch.arange(len(examples)))

    def test_description(self) -> None:
        """Shapes and splits are stated, and so is how the splits are made."""
        described = self.component.describe()
        assert isinstance(described, TaskDescription), f"{self.who}.describe() returns no shapes"
        policy = getattr(self.component, "split_policy", None)
        assert_sentence(policy, f"{self.who}.split_policy")

    def test_files(self) -> None:
        """Files lie below the data root, unless they are installed with a package."""
        root = Path("data-root")
        for path in self.component.files(root):
            if not path.is_file():
                assert path.is_relative_to(root), f"{self.who} reads {path}, outside the data root"

    def test_tiny_matches_description(self) -> None:
        """The tiny splits have the described names, shapes and labels."""
        import torch

        description, tiny = self.component.describe(), self.component.tiny()
        assert tuple(tiny) == description.splits, (
            f"{self.who}.tiny() has the splits {tuple(tiny)}, describe() {description.splits}"
        )
        for name, examples in tiny.items():
            assert 0 < len(examples) <= 1000, f"{self.who}.tiny(): {len(examples)} in {name!r}"
            classes = examples.classes if isinstance(examples, TensorExamples) else 0
            assert classes in (0, description.outputs), f"{self.who}.tiny(): {classes} classes"
        if description.modality == "image":
            batch = self.whole()
            images = batch.inputs
            assert isinstance(images, torch.Tensor), f"{self.who}: images come as one tensor"
            shape = tuple(images.shape[1:])
            assert shape == description.input_shape, (
                f"{self.who}.tiny() has images {shape}, describe() {description.input_shape}"
            )
            low, high = batch.targets.min(), batch.targets.max()
            assert 0 <= low <= high < description.outputs, f"{self.who}: labels {low} to {high}"
        else:
            for examples in tiny.values():
                check_text(self.who, description, examples.batch(torch.arange(len(examples))))

    def test_tiny_is_always_the_same(self) -> None:
        """The tiny splits never change and draw nothing from global generators."""
        advice = "seed a generator of your own in tiny()"
        with seeded(20_231):
            before = random_state()
            first, again = (splits_state(self.component.tiny()) for _ in range(2))
            assert_unchanged(before, random_state(), f"{self.who}.tiny()", advice)
        assert_unchanged(first, again, f"{self.who}.tiny(), called twice,", advice)

    def test_subsets_and_slices(self) -> None:
        """Subsets keep the order asked for, and one pass sees every example once."""
        import torch

        for name, examples in self.component.tiny().items():
            pair = torch.tensor([len(examples) - 1, 0])
            direct, through = examples.batch(pair), examples.subset(pair).batch(torch.arange(2))
            advice = "subset(indices) must keep the order of its indices"
            first, second = (batch_state(batch, "the examples") for batch in (direct, through))
            assert_unchanged(first, second, f"subset() of {self.who}, split {name!r},", advice)
            seen = torch.cat(list(examples.slices(5, generator=torch.Generator())))
            once = seen.sort().values.tolist() == list(range(len(examples)))
            assert once, f"{self.who}, split {name!r}: slices() does not see each example once"

    def test_loss_is_differentiable(self) -> None:
        """The loss is one finite number, with a gradient."""
        batch = self.whole()
        loss = self.component.loss(self.outputs(batch), batch)
        assert loss.ndim == 0, f"{self.who}.loss() has shape {tuple(loss.shape)}; average it"
        assert math.isfinite(loss.item()), f"{self.who}.loss() is {loss.item()}"
        assert loss.requires_grad, f"{self.who}.loss() is cut off from the outputs"

    def test_scores(self) -> None:
        """Each of ``weight`` terms has a loss and is correct or not; the mean is the loss."""
        batch = self.whole()
        outputs = self.outputs(batch)
        scores = self.component.evaluate(outputs, batch)
        for name in ("loss", "correct"):
            assert name in scores, f"{self.who}.evaluate() has no {name!r}"
        for name, values in scores.items():
            assert tuple(values.shape) == (batch.weight,), (
                f"{self.who}.evaluate() gives {tuple(values.shape)} values of {name!r}, but the "
                f"batch has weight {batch.weight}: one value for each term of the mean loss"
            )
        right = set(scores["correct"].tolist())
        assert right <= {0.0, 1.0}, f"{self.who}.evaluate(): 'correct' must be 0 or 1, not {right}"
        self._close(self.component.loss(outputs, batch), scores["loss"].mean().item(), "evaluate()")

    def test_logits_of_each_term(self) -> None:
        """There is one row of logits for each term."""
        batch = self.whole()
        shape = tuple(self.component.logits(self.outputs(batch), batch).shape)
        expected = (batch.weight, self.component.describe().outputs)
        assert shape == expected, f"{self.who}.logits() has shape {shape}, expected {expected}"

    def test_padding_changes_nothing(self) -> None:
        """Sentences filled up further have the same loss, scores and gradients; images none."""
        import torch

        description = self.component.describe()
        if description.modality == "image":
            assert description.padding is None, f"{self.who} describes padding, but gives images"
            return
        batch = self.whole()
        further = fill_up(batch, description, 3)
        results, gradients = [], []
        for each in (batch, further):
            outputs = self.outputs(each)
            loss = self.component.loss(outputs, each)
            scores = self.component.evaluate(outputs, each)
            logits = self.component.logits(outputs, each)
            results.append([loss, scores["loss"], scores["correct"], logits])
            gradients.append(torch.autograd.grad(loss, outputs)[0])
        for one, other in zip(*results, strict=True):
            same = one.shape == other.shape and torch.allclose(one, other, rtol=1e-4, atol=1e-6)
            assert same, f"{self.who}: padding changes the loss or the scores; leave it out"
        length = batch.targets.shape[1]
        kept, rest = gradients[1][:, :length], gradients[1][:, length:]
        same = torch.allclose(gradients[0], kept, rtol=1e-4, atol=1e-6) and not rest.any()
        assert same, f"{self.who}: padding changes the gradient of the loss; leave it out"

    def test_batches_of_tokens(self) -> None:
        """Batches counted in tokens keep the limit, see each sentence once, and are seeded.

        Images have none, and say so.
        """
        import torch

        if self.component.describe().modality == "image":
            self._refuses_batches_of_tokens()
            return
        limit = 3 * self.component.describe().input_shape[0]
        for name, examples in self.component.tiny().items():
            passes = []
            for seed in (None, 1, 1):
                order = None if seed is None else torch.Generator().manual_seed(seed)
                passes.append(list(examples.slices(limit, unit="tokens", generator=order)))
                largest = max(examples.batch(at).targets.numel() for at in passes[-1])
                assert largest <= limit, (
                    f"{self.who}, split {name!r}: a batch of {limit} tokens holds {largest}"
                )
                seen = torch.cat(passes[-1]).sort().values.tolist()
                assert seen == list(range(len(examples))), (
                    f"{self.who}, split {name!r}: batches of tokens do not see each example once"
                )
            first, again = ([at.tolist() for at in found] for found in passes[1:])
            assert first == again, f"{self.who}, split {name!r}: draw from the generator alone"

    def test_micro_batches_add_up(self) -> None:
        """The mean over micro-batches, weighted, is the loss of one batch."""
        examples = next(iter(self.component.tiny().values()))
        total, weight = 0.0, 0
        for index in examples.slices(5):
            batch = examples.batch(index)
            total += self.component.loss(self.outputs(batch), batch).item() * batch.weight
            weight += batch.weight
        batch = self.whole()
        assert weight == batch.weight, f"{self.who}: weights add up to {weight}, not {batch.weight}"
        whole = self.component.loss(self.outputs(batch), batch)
        self._close(whole, total / weight, "the weighted mean over micro-batches")

    def _refuses_batches_of_tokens(self) -> None:
        for name, examples in self.component.tiny().items():
            try:
                found = list(examples.slices(5, unit="tokens"))
            except RequestError:
                continue
            raise AssertionError(
                f"{self.who}, split {name!r}, has no tokens but cuts {len(found)} batches counted "
                "in tokens: raise llt_core.interfaces.RequestError for units other than examples"
            )

    def _close(self, loss: Tensor, other: float, what: str) -> None:
        same = math.isclose(loss.item(), other, rel_tol=1e-4, abs_tol=1e-6)
        assert same, (
            f"{self.who}.loss() gives {loss.item()}, {what} {other}: "
            "loss() must average exactly `batch.weight` terms"
        )
