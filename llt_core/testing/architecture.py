"""What every architecture must do."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from llt_core.interfaces import Architecture, RequestError, TaskDescription
from llt_core.interfaces.contracts import network_of
from llt_core.testing.checks import assert_unchanged, model_state, random_state, seeded
from llt_core.testing.component import ComponentConformance
from llt_core.testing.samples import ARCHITECTURE_SAMPLES

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


class ArchitectureConformance(ComponentConformance):
    """Subclass it and set ``component``; set ``descriptions`` where the samples do not fit.

    Override ``call`` when your networks want other inputs than images ``(B, C, H, W)``
    or, for texts, ``source`` ``(B, S)`` and ``target`` ``(B, T)`` by keyword.
    """

    component: ClassVar[Architecture]
    descriptions: ClassVar[tuple[TaskDescription, ...]] = ARCHITECTURE_SAMPLES
    batch: ClassVar[int] = 4

    def call(self, model: nn.Module, task: TaskDescription, rows: int) -> Tensor:
        """Return the outputs of ``model`` on the first ``rows`` of a few seeded inputs."""
        import torch

        outputs: Tensor
        if task.modality == "text":
            outputs = model(**{name: x[:rows] for name, x in self.texts(task).items()})
        else:
            generator = torch.Generator().manual_seed(1)
            inputs = torch.randn((self.batch, *task.input_shape), generator=generator)
            outputs = model(inputs[:rows])
        return outputs

    def texts(self, task: TaskDescription) -> Mapping[str, Tensor]:
        """Return seeded tokens ``source`` ``(B, L)`` and ``target`` ``(B, L − 2)``.

        With a padding token, rows end in it: none in the first row, two in the second, …
        """
        import torch

        generator = torch.Generator().manual_seed(1)
        longest = task.input_shape[0]
        texts = {
            name: _tokens(task, (self.batch, length), generator)
            for name, length in (("source", longest), ("target", longest - 2))
        }
        if task.padding is not None:
            for row in range(1, self.batch):
                for tokens in texts.values():
                    tokens[row, -min(2 * row, longest - 3) :] = task.padding
        return texts

    def accepted(self) -> Iterator[TaskDescription]:
        """Yield the sample descriptions that the architecture does not refuse."""
        component = self.component
        readable = [task for task in self.descriptions if task.modality in component.accepts]
        found = [task for task in readable if component.refuses(task) is None]
        assert found, f"{self.who} refuses every sample: set `descriptions` to one it accepts"
        yield from found

    def _translated(self) -> Iterator[TaskDescription]:
        """Yield the accepted descriptions of texts, if any."""
        if "text" in self.component.accepts:
            yield from (task for task in self.accepted() if task.modality == "text")

    def built(self, task: TaskDescription, seed: int = 0) -> nn.Module:
        """Return a network built under ``seed``."""
        with seeded(seed):
            return network_of(self.component, task)

    def test_refuses_other_modalities(self) -> None:
        """A task of a modality outside ``accepts`` is refused."""
        self._refuses_other_modalities(self.component.accepts)

    def test_what_is_refused_is_not_built(self) -> None:
        """Building for a refused task of the right modality is a request error, if an error."""
        for task in self.descriptions:
            if task.modality in self.component.accepts and self.component.refuses(task):
                try:
                    self.built(task)
                except RequestError:
                    continue
                except Exception as error:
                    raise AssertionError(
                        f"{self.who}.build() of a refused task raises {type(error).__name__}: "
                        "raise llt_core.interfaces.RequestError with the sentence of refuses()"
                    ) from error

    def test_output_shape(self) -> None:
        """One row of ``outputs`` numbers for each image, or for each target token."""
        for task in self.accepted():
            shape = tuple(self.call(self.built(task), task, self.batch).shape)
            rows = (self.batch,) if task.modality == "image" else (self.batch, _targets(task))
            assert shape == (*rows, task.outputs), (
                f"{self.who} gives outputs of shape {shape} for {self.batch} inputs of shape "
                f"{task.input_shape}; expected {(*rows, task.outputs)}: "
                "take sizes from the task description, not from constants"
            )

    def test_same_seed_same_network(self) -> None:
        """Initialisation is decided by the global torch seed and by nothing else."""
        task = next(self.accepted())
        first, again = (model_state(self.built(task, seed=3)) for _ in range(2))
        advice = "draw initial values from torch's global generator only"
        assert_unchanged(first, again, f"{self.who}.build() under one seed", advice)
        assert first != model_state(self.built(task, seed=4)), (
            f"{self.who}.build() gives the same network under two seeds: do not seed inside it"
        )

    def test_finite_in_train_and_eval_mode(self) -> None:
        """Outputs and gradients are finite; in eval mode each input stands for itself."""
        import torch

        for task in self.accepted():
            model = self.built(task)
            outputs = self.call(model.train(), task, self.batch)
            assert outputs.isfinite().all(), f"{self.who} gives non-finite outputs in train mode"
            torch.autograd.backward(outputs.square().mean())
            for name, parameter in model.named_parameters():
                fine = parameter.grad is None or parameter.grad.isfinite().all()
                assert fine, f"{self.who}: the gradient of {name} is not finite"
            outputs, alone = (self.call(model.eval(), task, rows) for rows in (self.batch, 1))
            assert outputs.isfinite().all(), f"{self.who} gives non-finite outputs in eval mode"
            close = (outputs[:1] - alone).abs().max() <= 1e-3 * (1 + alone.abs().max())
            assert close, f"{self.who} in eval mode mixes the examples of a batch"

    def test_logits_of_a_token_depend_on_what_precedes_it(self) -> None:
        """Later target tokens change nothing: the network has to predict them."""
        import torch

        for task in self._translated():
            model, texts = self.built(task).eval(), self.texts(task)
            outputs = model(**texts)
            generator = torch.Generator().manual_seed(2)
            for known in range(1, _targets(task)):
                other = texts["target"].clone()
                other[:, known:] = _tokens(task, other[:, known:].shape, generator)
                changed = model(source=texts["source"], target=other)
                assert _alike(changed[:, :known], outputs[:, :known]), (
                    f"{self.who}: the logits at target token {known - 1} change with the tokens "
                    "after it, which they are to predict: mask those (causal attention)"
                )
                shorter = model(source=texts["source"], target=other[:, :known])
                assert _alike(shorter, outputs[:, :known]), (
                    f"{self.who}: the logits of a target of {known} tokens are others than when "
                    "more follow: let nothing depend on how long the target is"
                )

    def test_padding_is_ignored(self) -> None:
        """Padding of the source changes nothing, and much of it is no reason for NaN."""
        import torch

        for task in self._translated():
            if task.padding is None:
                continue
            model, texts = self.built(task).eval(), self.texts(task)
            source, target = texts["source"], texts["target"]
            filling = torch.full_like(source, task.padding)
            padded = model(source=torch.cat([source, filling], dim=1), target=target)
            assert _alike(padded, model(source=source, target=target)), (
                f"{self.who}: padding the source with token {task.padding} changes the outputs: "
                "mask positions that equal `task.padding`"
            )
            lonely = torch.cat([source[:, :1], filling], dim=1)
            outputs = model(source=lonely, target=target)
            assert outputs.isfinite().all(), (
                f"{self.who} gives non-finite outputs for a source of one token and padding"
            )

    def test_embeddings_turn_tokens_into_vectors(self) -> None:
        """``embeddings()`` names the layers that are called with tokens; none for images."""
        for task in self.accepted():
            model = self.built(task).eval()
            names, modules = self.component.embeddings(model), dict(model.named_modules())
            assert not (names and task.modality == "image"), (
                f"{self.who}.embeddings() names {names} for images, which have no tokens"
            )
            assert names or task.modality == "image", (
                f"{self.who}.embeddings() is empty: name the layers that take tokens"
            )
            seen: list[tuple[int, int]] = []
            for name in names:
                assert name in modules, f"{self.who}.embeddings() names {name!r}, no module"
                modules[name].register_forward_hook(
                    lambda _, args, vectors, seen=seen: seen.append(
                        (args[0].ndim + 1, vectors.ndim)
                    )
                )
            self.call(model, task, self.batch)
            assert len(seen) >= len(names), (
                f"{self.who}.embeddings() names {names}, but a forward pass does not call them all"
            )
            assert all(before == after for before, after in seen), (
                f"{self.who}.embeddings() names a layer that does not give a vector for each token"
            )

    def test_eval_mode_draws_nothing(self) -> None:
        """A forward pass in eval mode changes neither the network nor the random state."""
        task = next(self.accepted())
        model = self.built(task).eval()
        with seeded(20_231):
            before = model_state(model) | random_state()
            self.call(model, task, self.batch)
            after = model_state(model) | random_state()
        assert_unchanged(before, after, f"{self.who} in eval mode", "use nn.Dropout and the like")

    def test_a_copy_is_independent_and_equal(self) -> None:
        """Metrics work on deep copies."""
        import torch

        task = next(self.accepted())
        model = self.built(task).eval()
        with torch.no_grad():
            outputs = self.call(model, task, self.batch)
            twin = copy.deepcopy(model)
            assert torch.equal(self.call(twin, task, self.batch), outputs), (
                f"a deep copy of {self.who}'s network gives other outputs: keep what it computes "
                "with in parameters, buffers and plain attributes"
            )
            generator = torch.Generator().manual_seed(2)
            for parameter in twin.parameters():
                parameter.add_(0.1 + torch.rand(parameter.shape, generator=generator))
            moved = self.call(twin, task, self.batch)
            message = (
                f"a deep copy of {self.who}'s network computes with the parameters of the "
                "original: keep no function in the network that holds its modules"
            )
            assert not torch.equal(moved, outputs), message
            assert torch.equal(self.call(model, task, self.batch), outputs), message

    def test_load_field_adds_parameters(self) -> None:
        """Doubling ``load_field`` of the minimal instance makes a larger network."""
        field = self.component.load_field
        if field is None:
            return
        assert field in type(self.component).model_fields, (
            f"{self.who}.load_field is {field!r}, which is not one of its parameters"
        )
        small = type(self.component).minimal()
        values = small.model_dump()
        large = type(small)(**{**values, field: max(1, 2 * values[field])})
        task = next(self.accepted())
        counts = [sum(p.numel() for p in c.build(task).parameters()) for c in (small, large)]
        assert counts[1] > counts[0], (
            f"{self.who}: raising {field} does not add parameters ({counts[0]}, then {counts[1]})"
        )

    def test_probes_are_called_in_order(self) -> None:
        """Probes name real modules, which a forward pass calls in that order."""
        task = next(self.accepted())
        model = self.built(task).eval()
        probes = self.component.probes(model)
        assert probes, f"{self.who}.probes() is empty: name the layers worth comparing"
        called: list[str] = []
        modules = dict(model.named_modules())
        for name in probes:
            assert name in modules, f"{self.who}.probes() names {name!r}, which is no module"
            modules[name].register_forward_hook(lambda *_, name=name: called.append(name))
        self.call(model, task, self.batch)
        assert list(dict.fromkeys(called)) == probes, (
            f"{self.who}.probes() says {probes}, but a forward pass calls {called}"
        )


def _targets(task: TaskDescription) -> int:
    """Return the number of target tokens of the texts that networks are called with."""
    return task.input_shape[0] - 2


def _tokens(task: TaskDescription, shape: Sequence[int], generator: torch.Generator) -> Tensor:
    """Return random tokens, none of them padding."""
    import torch

    if task.padding is None:
        return torch.randint(task.outputs, shape, generator=generator)
    tokens = torch.randint(task.outputs - 1, shape, generator=generator)
    return tokens + (tokens >= task.padding)


def _alike(first: Tensor, second: Tensor) -> bool:
    return bool((first - second).abs().max() <= 1e-4 * (1 + second.abs().max()))
