"""Operations whose second derivatives are right here where torch's own are not."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

_EMBEDDING = inspect.signature(functional.embedding)


class Corrected(TorchFunctionMode):
    """A block in which a loss is computed so that it can be differentiated twice.

    * Weight normalisation is written out, ``v g / ‖v‖``. The second derivatives of the fused
      kernel, as of torch 2.14, are wrong: the Hessian comes out asymmetric.
    * Embeddings have dense gradients, whatever they are for training.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Answer the call ``func(*args, **kwargs)``."""
        kwargs = kwargs or {}
        if func is torch._weight_norm:
            return _weight_norm(*args, **kwargs)
        if func is functional.embedding:
            call = _EMBEDDING.bind(*args, **kwargs)
            call.arguments["sparse"] = False
            return func(*call.args, **call.kwargs)
        return func(*args, **kwargs)


def _weight_norm(v: Tensor, g: Tensor, dim: int = 0) -> Tensor:
    return v * (g / torch.norm_except_dim(v, 2, dim))
