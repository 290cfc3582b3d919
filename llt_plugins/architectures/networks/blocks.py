"""What transformers are made of, whatever they read (Vaswani et al. 2017).

Matrices start from Glorot's uniform distribution (Glorot and Bengio 2010), biases at zero; each
layer knows its own start, ``reset_parameters``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

Norm = Literal["pre", "post"]
"""Whether a branch reads the normalised stream, or the sum of both is normalised."""


class Projection(nn.Linear):
    """A linear layer ``(…, I)`` → ``(…, O)`` that starts as Glorot and Bengio (2010) say."""

    def reset_parameters(self) -> None:
        """Draw the matrix from Glorot's uniform distribution; set the bias to zero."""
        nn.init.xavier_uniform_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)


class Attention(nn.Module):
    """Attention of several heads: queries ``(B, T, d)`` look at a memory ``(B, S, d)``.

    Its four maps have no bias, as in equation 1 of Vaswani et al. and equation 5 of
    Dosovitskiy et al.; a bias of the keys would not change the outputs at all. torch picks the
    kernel. Those that training uses cannot be differentiated twice, so whoever wants second
    derivatives must compute the loss within ``sdpa_kernel(SDPBackend.MATH)``.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = Projection(dim, dim, bias=False)
        self.key = Projection(dim, dim, bias=False)
        self.value = Projection(dim, dim, bias=False)
        self.output = Projection(dim, dim, bias=False)

    def forward(
        self, x: Tensor, memory: Tensor, keep: Tensor | None = None, causal: bool = False
    ) -> Tensor:
        """Return ``(B, T, d)``.

        Parameters
        ----------
        x
            What asks, ``(B, T, d)``.
        memory
            What is looked at, ``(B, S, d)``.
        keep
            Booleans ``(B, 1, 1, S)``: which positions of the memory may be looked at. None: all.
        causal
            Whether position t looks at the positions up to t only; then ``keep`` is None.
        """
        mixed = scaled_dot_product_attention(
            self._apart(self.query(x)),
            self._apart(self.key(memory)),
            self._apart(self.value(memory)),
            attn_mask=keep,
            is_causal=causal,
        )
        together: Tensor = self.output(mixed.transpose(1, 2).flatten(2))
        return together

    def _apart(self, x: Tensor) -> Tensor:
        """Return ``(B, T, d)`` as ``(B, heads, T, d / heads)``."""
        rows, length, dim = x.shape
        return x.view(rows, length, self.heads, dim // self.heads).transpose(1, 2)


class FeedForward(nn.Module):
    """Two linear layers, the inner one ``ratio`` times as wide: ``(…, d)`` → ``(…, d)``."""

    def __init__(self, dim: int, ratio: int, activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.widen = Projection(dim, ratio * dim)
        self.narrow = Projection(ratio * dim, dim)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """Treat each position by itself."""
        result: Tensor = self.narrow(self.activation(self.widen(x)))
        return result


class Residual(nn.Module):
    """A stream with a branch beside it: ``x + f(norm(x))``, or ``norm(x + f(x))``."""

    def __init__(self, dim: int, dropout: float, norm: Norm) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)
        self.before = norm == "pre"

    def forward(self, x: Tensor, branch: Callable[[Tensor], Tensor]) -> Tensor:
        """Add what ``branch`` makes of ``x`` ``(B, T, d)``."""
        result: Tensor
        if self.before:
            result = x + self.dropout(branch(self.norm(x)))
        else:
            result = self.norm(x + self.dropout(branch(x)))
        return result


class EncoderBlock(nn.Module):
    """Attention within one sequence, then a feed-forward network: ``(B, S, d)`` → the same."""

    def __init__(
        self,
        dim: int,
        heads: int,
        ratio: int,
        activation: Callable[[Tensor], Tensor],
        *,
        dropout: float = 0.0,
        norm: Norm = "pre",
    ) -> None:
        super().__init__()
        self.attention = Attention(dim, heads)
        self.attended = Residual(dim, dropout, norm)
        self.feedforward = FeedForward(dim, ratio, activation)
        self.fed = Residual(dim, dropout, norm)

    def forward(self, x: Tensor, keep: Tensor | None = None) -> Tensor:
        """Return the stream after both branches; ``keep`` as for :class:`Attention`."""
        x = self.attended(x, lambda y: self.attention(y, y, keep))
        fed: Tensor = self.fed(x, self.feedforward)
        return fed


class DecoderBlock(nn.Module):
    """Attention to what came before and to a memory, then a feed-forward network."""

    def __init__(
        self,
        dim: int,
        heads: int,
        ratio: int,
        activation: Callable[[Tensor], Tensor],
        *,
        dropout: float = 0.0,
        norm: Norm = "pre",
    ) -> None:
        super().__init__()
        self.attention = Attention(dim, heads)
        self.attended = Residual(dim, dropout, norm)
        self.lookup = Attention(dim, heads)
        self.looked = Residual(dim, dropout, norm)
        self.feedforward = FeedForward(dim, ratio, activation)
        self.fed = Residual(dim, dropout, norm)

    def forward(self, x: Tensor, memory: Tensor, keep: Tensor | None = None) -> Tensor:
        """Return the stream ``(B, T, d)`` after all three branches.

        ``keep`` says which positions of ``memory`` ``(B, S, d)`` may be looked at.
        """
        x = self.attended(x, lambda y: self.attention(y, y, causal=True))
        x = self.looked(x, lambda y: self.lookup(y, memory, keep))
        fed: Tensor = self.fed(x, self.feedforward)
        return fed
