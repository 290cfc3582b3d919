"""Encoder–decoder transformers that translate (Vaswani et al. 2017)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, Self

from llt_core.interfaces import Architecture, Modality, TaskDescription, parameter
from llt_plugins.architectures.heads import wrong_heads

if TYPE_CHECKING:
    from torch import nn


class Transformer(Architecture):
    """``layers`` encoder blocks, as many decoder blocks, and one table of tokens for all.

    Sinusoidal positions are added to scaled embeddings; feed-forward networks have ReLU, and
    attention has no biases and no dropout of its own, as in section 3 of the paper. Matrices
    start from Glorot's uniform distribution and embeddings from N(0, 1/d). Two choices: layer
    normalisation is within the branches unless asked otherwise, since six layers then train
    at a constant rate, which with the paper's ``norm = "post"`` they hardly do without
    warm-up (Xiong et al. 2020); and source and target share their vocabulary always, their
    table unless asked otherwise.

    Attention runs on torch's fused kernels, also in metrics. Those that need second derivatives,
    and they alone, compute the same function by the plain kernel, which can be
    differentiated twice.

    ``heads`` is never changed behind the user's back: an ``embedding_dim`` that the heads
    cannot share equally is refused. With the 8 heads of the paper the load axis takes the
    multiples of 8; at 8 itself each head has one number to compare.
    """

    summary = "Encoder-decoder transformer of any embedding dimension, for translation"
    accepts: ClassVar[frozenset[Modality]] = frozenset({"text"})
    load_field: ClassVar[str | None] = "embedding_dim"

    embedding_dim: int = parameter(
        64, ge=1, unit="numbers", description="Numbers of each vector, a multiple of heads"
    )
    layers: int = parameter(
        6, ge=1, unit="blocks", description="Blocks of the encoder, and of the decoder"
    )
    heads: int = parameter(8, ge=1, unit="heads", description="Heads of each attention")
    feedforward_ratio: int = parameter(
        4, ge=1, description="Width of the feed-forward networks over embedding_dim"
    )
    dropout: float = parameter(
        0.1, ge=0, lt=1, unit="probability", description="Dropout on branches and embeddings"
    )
    tie_embeddings: bool = parameter(
        True, description="Whether source, target and output share one table of vectors"
    )
    norm: Literal["pre", "post"] = parameter(
        "pre", description="Layer normalisation within each branch, or after each sum"
    )

    def refuses(self, task: TaskDescription) -> str | None:
        """Refuse other modalities, and a dimension that the heads cannot share."""
        return super().refuses(task) or wrong_heads(self.embedding_dim, self.heads, "embedding_dim")

    def build(self, task: TaskDescription) -> nn.Module:
        """Return a network from tokens ``(B, S)`` and ``(B, T)`` to logits ``(B, T, outputs)``.

        Besides being called with ``source`` and ``target``, it can ``encode(source)`` once and
        ``decode(target, memory, source)`` again and again.

        Raises
        ------
        RequestError
            If the network refuses the task.
        """
        from llt_plugins.architectures.networks import transformer

        self.require_fit(task)
        return transformer.Transformer(
            task.outputs,
            task.input_shape[0],
            task.padding,
            dim=self.embedding_dim,
            layers=self.layers,
            heads=self.heads,
            ratio=self.feedforward_ratio,
            dropout=self.dropout,
            tied=self.tie_embeddings,
            norm=self.norm,
        )

    def probes(self, model: nn.Module) -> list[str]:
        """Return the names of the encoder blocks, then of the decoder blocks."""
        from llt_plugins.architectures.networks import transformer

        if isinstance(model, transformer.Transformer):
            return model.probes()
        return super().probes(model)

    @classmethod
    def minimal(cls) -> Self:
        """Return one block of each kind with vectors of 8 numbers."""
        return cls(embedding_dim=8, layers=1, heads=2, feedforward_ratio=2)
