"""What a network translates sentences into: greedily, or by beam search.

A network has ``encode(source)``, which gives a memory whose first axis counts sentences, and
``decode(target, memory, source)``, which gives logits ``(B, T, V)``: those at t are of the
token that follows ``target[:, t]``. Without them it is called as ``model(source=…,
target=…)``, and reads the source anew for every token.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Tokens:
    """The special tokens.

    Attributes
    ----------
    padding, begin, end
        Fills up, comes before the first token, and closes a sentence. Neither of the first
        two is ever taken for a translation's next token.
    """

    padding: int = 0
    begin: int = 1
    end: int = 2


@dataclass(frozen=True)
class Translation:
    """What a sentence is translated into.

    Attributes
    ----------
    tokens
        Without beginning and end.
    score
        Natural logarithm of its probability, the end included, divided by the length penalty.
    ended
        Whether it came to its end; otherwise it was cut at the limit.
    """

    tokens: list[int]
    score: float
    ended: bool


def length_penalty(length: int, strength: float) -> float:
    """Return ``((5 + length) / 6) ** strength`` (Wu et al. 2016, eq. 14).

    A hypothesis is judged by its log-probability divided by this. Every token makes it less
    probable, so without it (strength 0) short translations win.

    Parameters
    ----------
    length
        Number of tokens, the end included.
    strength
        α; 0 compares probabilities.

    Examples
    --------
    >>> length_penalty(1, 0.6), length_penalty(7, 1.0)
    (1.0, 2.0)
    """
    return float(((5.0 + length) / 6.0) ** strength)


@torch.no_grad()
def greedy(
    model: nn.Module, source: Tensor, limits: Sequence[int], tokens: Tokens = Tokens()
) -> list[Translation]:
    """Translate by taking the most probable next token again and again.

    Parameters
    ----------
    model
        In eval mode.
    source
        int64 ``(B, S)``.
    limits
        How many tokens, the end included, each translation may have; at least 1.
    tokens
        The special tokens.

    Raises
    ------
    FloatingPointError
        The network gives NaN.
    """
    _check(source, limits)
    steps = _steps(model, source, tokens)
    found: list[Translation | None] = [None] * len(source)
    alive = torch.arange(len(source), device=source.device)
    prefix = torch.full((len(source), 1), tokens.begin, device=source.device)
    scores = torch.zeros(len(source), dtype=torch.float64)
    while len(alive):
        best, following = steps(alive, prefix).max(dim=1)
        scores += best
        prefix = torch.cat([prefix, following.to(prefix.device)[:, None]], dim=1)
        stays = []
        for row, sentence in enumerate(alive.tolist()):
            words, ended = prefix[row, 1:].tolist(), int(following[row]) == tokens.end
            if ended or len(words) >= limits[sentence]:
                words = words[:-1] if ended else words
                found[sentence] = Translation(words, float(scores[row]), ended)
            else:
                stays.append(row)
        alive, prefix, scores = alive[stays], prefix[stays], scores[stays]
    return [one for one in found if one is not None]


@torch.no_grad()
def beam_search(
    model: nn.Module,
    source: Tensor,
    limits: Sequence[int],
    tokens: Tokens = Tokens(),
    *,
    width: int = 4,
    strength: float = 0.6,
) -> list[Translation]:
    """Translate by keeping the most probable beginnings.

    Of all beginnings lengthened by one token the most probable ``width`` are kept. One that
    ends leaves the search, which goes on with one place fewer (as in the code of Bahdanau, Cho
    and Bengio 2015), until no place is left or the limit is reached. The answer is the ended
    hypothesis of largest ``log p / length_penalty``; of those cut at the limit if none ended.
    With ``width = 1`` it is :func:`greedy`; with as many places as there are beginnings
    nothing is missed.

    Parameters
    ----------
    model, source, limits, tokens
        As for :func:`greedy`.
    width
        Number of places.
    strength
        See :func:`length_penalty`.

    Raises
    ------
    FloatingPointError
        The network gives NaN.
    """
    _check(source, limits)
    if width < 1:
        raise ValueError(f"the beam has {width} places, expected at least 1")
    steps = _steps(model, source, tokens)
    beams = [_Beam(width, strength, limit, tokens) for limit in limits]
    while any(beam.live for beam in beams):
        rows = [(i, words) for i, beam in enumerate(beams) for words, _ in beam.live]
        sentences = torch.tensor([i for i, _ in rows], device=source.device)
        prefix = torch.tensor([[tokens.begin, *words] for _, words in rows], device=source.device)
        probabilities, done = steps(sentences, prefix), 0
        for beam in beams:
            if beam.live:
                beam.extend(probabilities[done : done + len(beam.live)])
                done += beam.lengthened
    return [beam.best() for beam in beams]


class _Beam:
    """The hypotheses about one sentence.

    ``live`` holds pairs of words and log-probability, all of one length; ``lengthened`` is
    how many there were before the last step.
    """

    def __init__(self, width: int, strength: float, limit: int, tokens: Tokens) -> None:
        self._places, self._strength, self._limit, self._tokens = width, strength, limit, tokens
        self.live: list[tuple[list[int], float]] = [([], 0.0)]
        self.lengthened = 0
        self._found: list[Translation] = []

    def extend(self, probabilities: Tensor) -> None:
        """Lengthen every live hypothesis by one token, given log-probabilities ``(live, V)``."""
        self.lengthened = len(self.live)
        so_far = torch.tensor([score for _, score in self.live], dtype=torch.float64)
        totals = (so_far[:, None] + probabilities).flatten()
        best, places = totals.topk(min(self._places, len(totals)))
        kept = []
        for total, place in zip(best.tolist(), places.tolist(), strict=True):
            row, token = divmod(place, probabilities.shape[1])
            words = self.live[row][0]
            if total == -math.inf:
                continue
            if token == self._tokens.end:
                self._keep(words, total, ended=True)
            else:
                kept.append(([*words, token], total))
        self.live = kept
        if kept and len(kept[0][0]) >= self._limit:
            for words, total in kept:
                self._keep(words, total, ended=False)
            self.live = []

    def best(self) -> Translation:
        """Return the best hypothesis, one that ended if there is any."""
        return max(self._found, key=lambda one: (one.ended, one.score))

    def _keep(self, words: list[int], total: float, *, ended: bool) -> None:
        penalty = length_penalty(len(words) + int(ended), self._strength)
        self._found.append(Translation(words, total / penalty, ended))
        self._places -= int(ended)


def _steps(model: nn.Module, source: Tensor, tokens: Tokens) -> Callable[[Tensor, Tensor], Tensor]:
    """Return what gives the log-probabilities ``(n, V)`` of the next token.

    Its arguments are the sentence that each of n beginnings translates, ``(n,)``, and the
    beginnings, ``(n, t)``; the answer is float64 on the CPU.
    """
    answer = _two_halves(model, source) or _as_a_whole(model, source)
    never = [tokens.padding, tokens.begin]

    def step(sentences: Tensor, prefix: Tensor) -> Tensor:
        logits = answer(sentences, prefix)[:, -1].double().cpu()
        found = logits.log_softmax(dim=1)  # NaN where a logit is NaN or plus infinity
        found[:, never] = -math.inf
        if bool(found.isnan().any()) or bool(found.amax(dim=1).eq(-math.inf).any()):
            raise FloatingPointError(
                "the network gives NaN or infinite scores for the next token of a translation"
            )
        return found

    return step


def _two_halves(model: nn.Module, source: Tensor) -> Callable[[Tensor, Tensor], Tensor] | None:
    """Return a function that reads the source once; None if the network has no halves."""
    encode, decode = getattr(model, "encode", None), getattr(model, "decode", None)
    if not callable(encode) or not callable(decode):
        return None
    memory = encode(source)

    def answer(sentences: Tensor, prefix: Tensor) -> Any:
        return decode(prefix, _rows(memory, sentences), source[sentences])

    return answer


def _as_a_whole(model: nn.Module, source: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    def answer(sentences: Tensor, prefix: Tensor) -> Any:
        return model(source=source[sentences], target=prefix)

    return answer


def _rows(memory: Any, sentences: Tensor) -> Any:
    """Return the memory of these sentences, out of a tensor or a tuple of tensors."""
    if isinstance(memory, tuple | list):
        return type(memory)(_rows(part, sentences) for part in memory)
    return memory[sentences]


def _check(source: Tensor, limits: Sequence[int]) -> None:
    if source.ndim != 2 or len(limits) != len(source) or min(limits, default=1) < 1:
        raise ValueError(
            f"the source has shape {tuple(source.shape)} and there are {len(limits)} limits from "
            f"{min(limits, default=1)}, expected tokens (B, S) and B limits of at least 1"
        )
