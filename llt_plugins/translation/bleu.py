"""BLEU of a set of translations, sentence by sentence, so that it can be resampled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

Floats = np.ndarray[Any, np.dtype[np.float64]]

_ORDERS = 4


@dataclass(frozen=True)
class Spread:
    """Standard deviations over resampled sentences; zero where no replicate differs."""

    score: float
    ratio: float


@dataclass(frozen=True)
class Bleu:
    """BLEU of N translations against one reference each.

    Attributes
    ----------
    score
        0 to 100.
    precisions
        Of 1- to 4-grams, in percent.
    brevity_penalty
        1 where the translations are at least as long as the references.
    counts
        What BLEU is computed from: of each sentence the n-grams that are right (4) and that
        there are (4), its length and that of its reference; float64 ``(N, 10)``.
    sentences
        BLEU of each sentence alone (smoothed, of effective order), ``(N,)``.
    signature
        How sacrebleu describes what it did.
    """

    score: float
    precisions: list[float]
    brevity_penalty: float
    counts: Floats
    sentences: Floats
    signature: str

    @property
    def lengths(self) -> Floats:
        """Words of each translation, ``(N,)``."""
        return self.counts[:, 2 * _ORDERS].copy()

    @property
    def reference_lengths(self) -> Floats:
        """Words of each reference, ``(N,)``."""
        return self.counts[:, 2 * _ORDERS + 1].copy()

    @property
    def ratio(self) -> float | None:
        """Words of the translations divided by words of the references, if these have any."""
        return _ratio(self.counts.sum(axis=0))

    def bootstrap(self, generator: torch.Generator, replicates: int) -> Spread:
        """Return the spread over N sentences drawn with replacement (Koehn 2004).

        Parameters
        ----------
        generator
            On the CPU.
        replicates
            How many sets are drawn, at least 2.
        """
        n = len(self.counts)
        scores, ratios = [], []
        for _ in range(replicates):
            chosen = torch.randint(n, (n,), generator=generator).numpy()
            sums = self.counts[chosen].sum(axis=0)
            scores.append(_score(sums))
            ratio = _ratio(sums)
            if ratio is not None:
                ratios.append(ratio)
        return Spread(_spread(scores), _spread(ratios))


def bleu(texts: Sequence[str], references: Sequence[str], *, tokenize: str = "13a") -> Bleu:
    """Return sacrebleu's BLEU (Papineni et al. 2002; Post 2018) of ``texts``.

    Parameters
    ----------
    texts
        N translations.
    references
        What each of them should have been.
    tokenize
        Name of sacrebleu's tokeniser.

    Raises
    ------
    ValueError
        There are no texts, or not as many as references.

    Examples
    --------
    >>> bleu(["the cat sat on the mat"], ["the cat sat on the mat"]).score
    100.0
    """
    from sacrebleu.metrics.bleu import BLEU

    if not texts or len(texts) != len(references):
        raise ValueError(
            f"{len(texts)} translations and {len(references)} references: expected as many of "
            "each, and at least one"
        )
    # Without force it warns on stderr that sentences look tokenised.
    metric = BLEU(tokenize=tokenize, force=True)
    total = metric.corpus_score(list(texts), [list(references)])
    signature = str(metric.get_signature())
    alone = BLEU(tokenize=tokenize, force=True, effective_order=True)
    found = [alone.sentence_score(a, [b]) for a, b in zip(texts, references, strict=True)]
    counts = [[*one.counts, *one.totals, one.sys_len, one.ref_len] for one in found]
    return Bleu(
        score=_rounded(total.score),
        precisions=[float(precision) for precision in total.precisions],
        brevity_penalty=float(total.bp),
        counts=np.asarray(counts, dtype=np.float64),
        sentences=np.asarray([one.score for one in found], dtype=np.float64),
        signature=signature,
    )


def _score(sums: Floats) -> float:
    """Return BLEU of summed counts ``(10,)``."""
    from sacrebleu.metrics.bleu import BLEU

    numbers = [int(number) for number in sums]
    found = BLEU.compute_bleu(
        correct=numbers[:_ORDERS],
        total=numbers[_ORDERS : 2 * _ORDERS],
        sys_len=numbers[-2],
        ref_len=numbers[-1],
        smooth_method="exp",
    )
    return _rounded(found.score)


def _rounded(score: float) -> float:
    """Return a score without the rounding of logarithms: 100 is 100."""
    return round(float(score), 10)


def _spread(values: list[float]) -> float:
    """Return the standard deviation, exactly 0 where nothing differs."""
    return 0.0 if len(set(values)) < 2 else float(np.std(values, ddof=1))


def _ratio(sums: Floats) -> float | None:
    return float(sums[-2] / sums[-1]) if sums[-1] > 0 else None
