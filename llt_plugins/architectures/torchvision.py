"""Any classification model of torchvision, untrained (Marcel and Rodriguez 2010)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import field_validator

from llt_core.interfaces import Architecture, Modality, RequestError, TaskDescription, parameter
from llt_plugins.architectures import torchvision_rules as rules

if TYPE_CHECKING:
    from torch import nn


class TorchvisionModel(Architecture):
    """The model ``torchvision.models.NAME`` with a head for the task's classes.

    Weights start from torchvision's own initialisation, never from pretrained ones. Gray
    images are repeated to three channels. Auxiliary heads (googlenet, inception_v3) are
    left out; vision transformers are built for the task's image size. Activation
    modules do not work in place here, so that hooks see each layer's own output; the numbers
    are the same. Most of these models leave a single pixel of a 32×32 image, and
    their batch normalisation then cannot be trained on a batch of one example.
    """

    summary = "Any torchvision classification model, untrained: torchvision/NAME"
    accepts: ClassVar[frozenset[Modality]] = frozenset({"image"})

    name: str = parameter(
        min_length=1, description="Name within torchvision.models, such as shufflenet_v2_x0_5"
    )

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        known = rules.names()
        if known and name not in known:
            raise ValueError(rules.unknown(name, known))
        return name

    def refuses(self, task: TaskDescription) -> str | None:
        """Refuse other modalities, and images the model is known not to read."""
        return super().refuses(task) or rules.wrong_shape(self.name, task.input_shape)

    def lacks_second_order(self) -> str | None:
        """Name the activation torch cannot differentiate twice."""
        if self.name.startswith("mobilenet_v3"):
            return "torch has no second derivative of its hardsigmoid activation"
        return None

    def build(self, task: TaskDescription) -> nn.Module:
        """Return a network from images ``(B, C, H, W)`` to logits ``(B, outputs)``.

        Raises
        ------
        RequestError
            If torchvision has no such model, or it cannot read the task's images.
        """
        from torchvision import models

        from llt_plugins.architectures.networks.gray import GrayToColour

        self._check(self.refuses(task))
        known = tuple(models.list_models(module=models))
        if self.name not in known:
            self._check(rules.unknown(self.name, known))
        shape = task.input_shape
        model: nn.Module = models.get_model(
            self.name, weights=None, num_classes=task.outputs, **rules.options(self.name, shape)
        )
        for module in model.modules():
            if "inplace" in vars(module):
                vars(module)["inplace"] = False
        model = GrayToColour(model) if shape[0] == 1 else model
        self._check(_failure(model, task))
        return model

    def probes(self, model: nn.Module) -> list[str]:
        """Return the direct children of the torchvision model, plain sequences one level deeper."""
        from torch import nn

        from llt_plugins.architectures.networks.gray import GrayToColour

        prefix = "network." if isinstance(model, GrayToColour) else ""
        found: list[str] = []
        for name, child in model.get_submodule(prefix.rstrip(".")).named_children():
            parts = [part for part, _ in child.named_children()]
            plain = type(child) is nn.Sequential and parts
            found += [f"{prefix}{name}.{part}" for part in parts] if plain else [prefix + name]
        return found

    @classmethod
    def minimal(cls) -> Self:
        """Return a small network that reads images of any size."""
        return cls(name="shufflenet_v2_x0_5")

    def _check(self, refusal: str | None) -> None:
        if refusal is not None:
            raise RequestError(
                f"torchvision/{self.name} cannot be built: {refusal}",
                where="torchvision.models",
                expected="a classification model that reads the task's images",
                next_step="--arch resnet18, or another torchvision/NAME",
            )


def _failure(model: nn.Module, task: TaskDescription) -> str | None:
    """Run two blank images through ``model``; say what went wrong, or None. Draws nothing."""
    import torch

    model.eval()
    try:
        with torch.no_grad():
            outputs = model(torch.zeros(2, *task.input_shape))
    except (RuntimeError, ValueError, AssertionError, TypeError, IndexError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        return f"it fails on images of shape {task.input_shape}: {reason}"
    finally:
        model.train()
    if not isinstance(outputs, torch.Tensor) or outputs.shape != (2, task.outputs):
        return f"it does not return one row of {task.outputs} numbers for each image"
    return None
