"""The contract of an architecture."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

from llt_core.errors import RequestError
from llt_core.interfaces.component import Component
from llt_core.interfaces.description import Modality, TaskDescription
from llt_core.interfaces.layers import children, token_embeddings
from llt_core.kinds import Kind

if TYPE_CHECKING:
    from torch import nn


class Architecture(Component):
    """A family of networks, one parameter of which counts as *load*.

    ``accepts`` names the modalities it can read, images unless it says otherwise;
    ``load_field`` the parameter that says how much the model can carry (its width, usually),
    or None.
    """

    kind: ClassVar[Kind] = "architecture"
    accepts: ClassVar[frozenset[Modality]] = frozenset({"image"})
    load_field: ClassVar[str | None] = None

    @abstractmethod
    def build(self, task: TaskDescription) -> nn.Module:
        """Return a freshly initialised network for ``task``.

        The global random state is seeded by the caller, so ordinary torch
        initialisation is already reproducible.
        """

    def refuses(self, task: TaskDescription) -> str | None:
        """Refuse modalities that are not accepted."""
        if task.modality not in self.accepts:
            return (
                f"it reads {' or '.join(sorted(self.accepts))} inputs, "
                f"but the task gives {task.modality}"
            )
        return None

    def require_fit(self, task: TaskDescription) -> None:
        """Raise what :meth:`refuses` says, if anything; :meth:`build` may start with it.

        Raises
        ------
        RequestError
            The architecture refuses the task.
        """
        if (refusal := self.refuses(task)) is not None:
            raise RequestError(
                f"the network cannot be built: {refusal}",
                where=f"{type(self).__module__}.{type(self).__qualname__}",
                expected="a task that it does not refuse",
            )

    def lacks_second_order(self) -> str | None:
        """Say in one sentence why the network cannot be differentiated twice; None if it can.

        Metrics that need second derivatives are refused for it before any training.
        """
        return None

    def embeddings(self, model: nn.Module) -> list[str]:
        """Return the names of the layers that turn tokens into vectors; none for images.

        Where inputs cannot be mixed, what these layers return can. The default takes every
        ``torch.nn.Embedding``; leave out those of positions.
        """
        return token_embeddings(model)

    def probes(self, model: nn.Module) -> list[str]:
        """Return the names of the layers to compare, in forward order.

        The default takes the direct children of the network.
        """
        return children(model)
