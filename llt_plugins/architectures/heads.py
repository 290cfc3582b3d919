"""The rule of attention heads: they share a vector equally, or the network is refused."""

from __future__ import annotations


def wrong_heads(dim: int, heads: int, name: str) -> str | None:
    """Say why ``heads`` heads cannot share ``dim`` numbers, and what would do; None if they can.

    >>> wrong_heads(64, 8, "width") is None
    True
    >>> print(wrong_heads(20, 8, "width"))
    its 8 attention heads cannot share width = 20 equally: choose width = 16 or 24, or heads = 5
    """
    rest = dim % heads
    if rest == 0:
        return None
    near = [dim - rest, dim - rest + heads] if dim > heads else [heads]
    most = max(count for count in range(1, heads) if dim % count == 0)
    return (
        f"its {heads} attention heads cannot share {name} = {dim} equally: "
        f"choose {name} = {' or '.join(map(str, near))}, or heads = {most}"
    )
