"""What every architecture must do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from llt_core.interfaces import Architecture, RequestError, TaskDescription
from llt_core.testing.checks import assert_unchanged, model_state, random_state, seeded
from llt_core.testing.component import ComponentConformance
from llt_core.testing.samples import ARCHITECTURE_SAMPLES

if TYPE_CHECKING:
    from torch import Tensor, nn


class ArchitectureConformance(ComponentConformance):
    """Subclass it and set ``component``; set ``descriptions`` where the samples do not fit.

    Override ``call`` when your networks want other inputs than images ``(B, C, H, W)``
    or tokens ``(B, L)``.
    """

    component: ClassVar[Architecture]
    descriptions: ClassVar[tuple[TaskDescription, ...]] = ARCHITECTURE_SAMPLES
    batch: ClassVar[int] = 4

    def call(self, model: nn.Module, task: TaskDescription, rows: int) -> Tensor:
        """Return the outputs of ``model`` on the first ``rows`` of a few seeded inputs."""
        import torch

        generator = torch.Generator().manual_seed(1)
        shape = (self.batch, *task.input_shape)
        if task.modality == "text":
            inputs = torch.randint(task.outputs, shape, generator=generator)
        else:
            inputs = torch.randn(shape, generator=generator)
        outputs: Tensor = model(inputs[:rows])
        return outputs

    def accepted(self) -> Iterator[TaskDescription]:
        """Yield the sample descriptions that the architecture does not refuse."""
        component = self.component
        readable = [task for task in self.descriptions if task.modality in component.accepts]
        found = [task for task in readable if component.refuses(task) is None]
        assert found, f"{self.who} refuses every sample: set `descriptions` to one it accepts"
        yield from found

    def built(self, task: TaskDescription, seed: int = 0) -> nn.Module:
        """Return a network built under ``seed``."""
        with seeded(seed):
            return self.component.build(task)

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
        """One row of ``outputs`` numbers for each input."""
        for task in self.accepted():
            shape = tuple(self.call(self.built(task), task, self.batch).shape)
            ends = shape if task.modality == "image" else (shape[0], shape[-1])
            assert ends == (self.batch, task.outputs), (
                f"{self.who} gives outputs of shape {shape} for {self.batch} inputs of shape "
                f"{task.input_shape}; expected {(self.batch, task.outputs)}: "
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

    def test_eval_mode_draws_nothing(self) -> None:
        """A forward pass in eval mode changes neither the network nor the random state."""
        task = next(self.accepted())
        model = self.built(task).eval()
        with seeded(20_231):
            before = model_state(model) | random_state()
            self.call(model, task, self.batch)
            after = model_state(model) | random_state()
        assert_unchanged(before, after, f"{self.who} in eval mode", "use nn.Dropout and the like")

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
