"""The trainable parameters of a network as one flat vector, and everything else beside it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return the trainable parameters by name, each tied one once."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


class ParameterLayout:
    """Where each trainable parameter of a model lies in a flat vector of length P.

    The order is that of ``model.named_parameters()``, each parameter row by row; tied
    weights appear once, frozen parameters and buffers not at all.

    Raises
    ------
    ValueError
        If nothing is trainable.

    Examples
    --------
    >>> layout = ParameterLayout(nn.Linear(2, 1))
    >>> layout.names, layout.size
    (('weight', 'bias'), 3)
    >>> layout.views(torch.tensor([1.0, 2.0, 3.0]))
    {'weight': tensor([[1., 2.]]), 'bias': tensor([3.])}
    """

    def __init__(self, model: nn.Module) -> None:
        parameters = trainable(model)
        if not parameters:
            raise ValueError("the model has no trainable parameter, so there is no way to go")
        self.names = tuple(parameters)
        self._shapes = tuple(p.shape for p in parameters.values())
        self._counts = [p.numel() for p in parameters.values()]
        self._kinds = tuple((p.device, p.dtype) for p in parameters.values())

    @property
    def size(self) -> int:
        """Number of trainable parameters P."""
        return sum(self._counts)

    def flatten(self, model: nn.Module) -> Tensor:
        """Return a copy of the trainable parameters of ``model``, shape ``(P,)``."""
        parameters = trainable(model)
        return torch.cat([parameters[name].detach().reshape(-1) for name in self.names])

    def views(self, vector: Tensor) -> dict[str, Tensor]:
        """Return the parameters that ``vector``, shape ``(P,)``, holds: views, not copies.

        Only parameters that differ from the vector in type or device are converted.
        """
        parts = torch.split(vector, self._counts)
        return {
            name: part.view(shape).to(*kind)
            for name, part, shape, kind in zip(
                self.names, parts, self._shapes, self._kinds, strict=True
            )
        }

    def gather(self, gradients: Iterable[Tensor | None], like: Tensor) -> Tensor:
        """Return gradients, in the order of :attr:`names`, as one vector; None counts as zero."""
        return torch.cat(
            [
                (like.new_zeros(count) if gradient is None else gradient.reshape(-1))
                for gradient, count in zip(gradients, self._counts, strict=True)
            ]
        )


def carried(model: nn.Module) -> dict[str, Tensor]:
    """Return what is not trained: frozen parameters and buffers, by name, each once."""
    frozen = {name: p for name, p in model.named_parameters() if not p.requires_grad}
    return frozen | dict(model.named_buffers())


def refuse_mismatch(
    first: nn.Module,
    second: nn.Module,
    names: tuple[str, str] = ("the first model", "the second model"),
) -> None:
    """Refuse two models that are not of one architecture.

    Parameters
    ----------
    first, second
        Any modules.
    names
        What to call them.

    Raises
    ------
    ValueError
        Names the first parameter or buffer that differs in name, shape, type, device or in
        being trainable.
    """
    _refuse("parameter", dict(first.named_parameters()), dict(second.named_parameters()), names)
    _refuse("buffer", dict(first.named_buffers()), dict(second.named_buffers()), names)


def _refuse(
    kind: str, first: dict[str, Tensor], second: dict[str, Tensor], names: tuple[str, str]
) -> None:
    for name in [*first, *second]:
        if name not in first or name not in second:
            place = names[0] if name in first else names[1]
            raise ValueError(
                f"the models do not match: {kind} {name!r} is in {place} only, "
                "expected models of one architecture"
            )
        ours, theirs = _description(first[name]), _description(second[name])
        if ours != theirs:
            raise ValueError(
                f"the models do not match: {kind} {name!r} is {ours} in {names[0]} and "
                f"{theirs} in {names[1]}, expected models of one architecture"
            )


def _description(tensor: Tensor) -> str:
    shape: Sequence[int] = tuple(tensor.shape)
    trained = "trainable" if tensor.requires_grad else "fixed"
    return f"{shape}, {str(tensor.dtype).removeprefix('torch.')}, {trained}, on {tensor.device}"
