"""The encoder–decoder of Vaswani et al. (2017), of any size."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, relu

from llt_plugins.architectures.networks.blocks import DecoderBlock, EncoderBlock, Norm, Projection


class TokenEmbedding(nn.Embedding):
    """Vectors of tokens, drawn from N(0, 1/d).

    Multiplied by √d they are as large as the positions that are added to them, and as the
    matrix of the output they give logits of variance one. No row is exempt from learning:
    padding is masked where it stands, and an exempt row would make gradients those of no loss.
    """

    def reset_parameters(self) -> None:
        """Draw all vectors anew."""
        nn.init.normal_(self.weight, std=self.embedding_dim**-0.5)


class Transformer(nn.Module):
    """Translate: ``source`` ``(B, S)`` and the ``target`` so far ``(B, T)`` to ``(B, T, V)``.

    Padding in the source is never looked at nor counted, wherever it stands; a target position
    looks at those before it and at itself. Attention has no dropout of its own: dropout is where
    the paper has it, on the branches and on the sums of embeddings and positions.

    Parameters
    ----------
    vocabulary
        Number of tokens V, the same for source and target.
    longest
        Length that positions are prepared for; longer sequences work, a little slower.
    padding
        Number of the token that stands for nothing; None if there is none.
    dim
        Numbers d of each vector.
    layers
        Blocks of the encoder, and of the decoder.
    heads
        Attention heads; they divide ``dim``.
    ratio
        How many times wider than ``dim`` the feed-forward networks are.
    dropout
        Probability, in train mode.
    tied
        Whether source, target and output share one table of V vectors.
    norm
        Layer normalisation within the branches (and once after each stack), or after each sum.
    """

    positions: Tensor

    def __init__(
        self,
        vocabulary: int,
        longest: int,
        padding: int | None,
        *,
        dim: int,
        layers: int,
        heads: int,
        ratio: int,
        dropout: float,
        tied: bool,
        norm: Norm,
    ) -> None:
        super().__init__()
        self.padding = padding
        self.scale = math.sqrt(dim)
        self.register_buffer("positions", sinusoids(longest, dim), persistent=False)
        self.embedding = TokenEmbedding(vocabulary, dim)
        self.target_embedding = None if tied else TokenEmbedding(vocabulary, dim)
        self.dropout = nn.Dropout(dropout)
        self.encoder = nn.ModuleList(
            EncoderBlock(dim, heads, ratio, relu, dropout=dropout, norm=norm) for _ in range(layers)
        )
        self.encoder_norm = nn.LayerNorm(dim) if norm == "pre" else nn.Identity()
        self.decoder = nn.ModuleList(
            DecoderBlock(dim, heads, ratio, relu, dropout=dropout, norm=norm) for _ in range(layers)
        )
        self.decoder_norm = nn.LayerNorm(dim) if norm == "pre" else nn.Identity()
        self.classifier = None if tied else Projection(dim, vocabulary, bias=False)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """Return logits ``(B, T, V)``; those at t are of the token that follows ``target[:, t]``.

        Parameters
        ----------
        source
            Tokens, int64, shape ``(B, S)``.
        target
            Tokens, int64, shape ``(B, T)``, the first of them that of the beginning.
        """
        return self.decode(target, self.encode(source), source)

    def encode(self, source: Tensor) -> Tensor:
        """Return the memory ``(B, S, d)`` of ``source`` ``(B, S)``."""
        keep = self._keep(source)
        if keep is None:
            places = self._places(source.shape[1])
        else:
            counted = (keep.flatten(1).cumsum(1) - 1).clamp(min=0)
            places = self._places(source.shape[1])[counted]
        x = self.dropout(self.embedding(source) * self.scale + places)
        for block in self.encoder:
            x = block(x, keep)
        memory: Tensor = self.encoder_norm(x)
        return memory

    def decode(self, target: Tensor, memory: Tensor, source: Tensor) -> Tensor:
        """Return logits ``(B, T, V)`` for ``target`` ``(B, T)``.

        Parameters
        ----------
        target
            Tokens known so far.
        memory
            What :meth:`encode` made of ``source``, ``(B, S, d)``.
        source
            The tokens themselves, ``(B, S)``: they say which positions are padding.
        """
        keep = self._keep(source)
        embedding = self.embedding if self.target_embedding is None else self.target_embedding
        x = self.dropout(embedding(target) * self.scale + self._places(target.shape[1]))
        for block in self.decoder:
            x = block(x, memory, keep)
        x = self.decoder_norm(x)
        if self.classifier is None:
            return linear(x, self.embedding.weight)
        logits: Tensor = self.classifier(x)
        return logits

    def probes(self) -> list[str]:
        """Return the names of the blocks, in forward order."""
        return [
            f"{stack}.{index}"
            for stack in ("encoder", "decoder")
            for index in range(len(self.encoder))
        ]

    def _keep(self, source: Tensor) -> Tensor | None:
        """Return which source positions may be looked at, ``(B, 1, 1, S)``.

        A row of nothing but padding is looked at as a whole, since attention to nothing is 0/0.
        """
        if self.padding is None:
            return None
        real = source != self.padding
        return (real | ~real.any(dim=1, keepdim=True))[:, None, None, :]

    def _places(self, length: int) -> Tensor:
        """Return the positions of a sequence, ``(length, d)``."""
        if length <= len(self.positions):
            return self.positions[:length]
        return sinusoids(length, self.positions.shape[1]).to(self.positions)


def sinusoids(length: int, dim: int) -> Tensor:
    """Return sine and cosine of positions, ``(length, dim)``, in turns (section 3.5).

    The wavelengths grow from 2π to 2π · 10,000 along the columns.
    """
    waves = torch.arange(0, dim, 2, dtype=torch.float64) / dim
    angles = torch.arange(length, dtype=torch.float64)[:, None] / 10_000**waves
    table = torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)
    return table[:, :dim].to(torch.get_default_dtype())
