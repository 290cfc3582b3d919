"""The network behind :func:`llt_core.testing.small_translator`: importing it imports torch."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

_WIDTH = 8


class SmallTranslator(nn.Module):
    """One layer of encoder, one of decoder, one head; sinusoidal positions (Vaswani et al. 2017).

    Parameters
    ----------
    vocabulary
        Number of tokens V.
    padding
        The token that is not looked at.
    """

    def __init__(self, vocabulary: int, padding: int | None) -> None:
        super().__init__()
        self.padding = -1 if padding is None else padding
        self.source_embedding = nn.Embedding(vocabulary, _WIDTH)
        self.target_embedding = nn.Embedding(vocabulary, _WIDTH)
        self.encoder = _Layer()
        self.decoder = _Layer()
        self.across = _Attention()
        self.nothing = nn.Identity()
        self.output = nn.Linear(_WIDTH, vocabulary)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """Return logits ``(B, T, V)`` of the token that follows each of ``target`` ``(B, T)``."""
        return self.decode(target, self.encode(source), source)

    def encode(self, source: Tensor) -> Tensor:
        """Return the memory ``(B, S, width)`` of ``source`` ``(B, S)``."""
        read: Tensor = self.encoder(_placed(self.source_embedding(source)), self._hidden(source))
        return read

    def decode(self, target: Tensor, memory: Tensor, source: Tensor) -> Tensor:
        """Return logits ``(B, T, V)``, given the memory of ``source``."""
        x = _placed(self.target_embedding(target))
        later = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).triu(1)
        x = self.decoder(x, later)
        x = x + self.across(x, memory, self._hidden(source))
        logits: Tensor = self.output(self.nothing(x))
        return logits

    def _hidden(self, source: Tensor) -> Tensor:
        """Return which keys nobody looks at, ``(B, 1, S)``."""
        return (source == self.padding)[:, None]


class _Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Linear(_WIDTH, _WIDTH, bias=False)
        self.key = nn.Linear(_WIDTH, _WIDTH, bias=False)
        self.value = nn.Linear(_WIDTH, _WIDTH, bias=False)

    def forward(self, x: Tensor, memory: Tensor, hidden: Tensor) -> Tensor:
        scores = self.query(x) @ self.key(memory).transpose(1, 2) / math.sqrt(_WIDTH)
        weights = scores.masked_fill(hidden, -math.inf).softmax(dim=-1)
        found: Tensor = weights @ self.value(memory)
        return found


class _Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = _Attention()
        self.norm = nn.LayerNorm(_WIDTH)
        self.up = nn.Linear(_WIDTH, 2 * _WIDTH)
        self.down = nn.Linear(2 * _WIDTH, _WIDTH)

    def forward(self, x: Tensor, hidden: Tensor) -> Tensor:
        x = x + self.attention(x, x, hidden)
        changed: Tensor = x + self.down(torch.tanh(self.up(self.norm(x))))
        return changed


def _placed(x: Tensor) -> Tensor:
    """Return ``x`` ``(B, L, width)`` plus a sinusoid for each position."""
    place = torch.arange(x.shape[1], device=x.device, dtype=x.dtype)[:, None]
    pace = torch.arange(_WIDTH // 2, device=x.device, dtype=x.dtype)
    angle = place / 100.0 ** (2 * pace / _WIDTH)
    return math.sqrt(_WIDTH) * x + torch.cat([angle.sin(), angle.cos()], dim=1)
