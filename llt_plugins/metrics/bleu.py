"""How good the translations of a model are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self

from llt_core.interfaces import (
    MeasureContext,
    Measurement,
    Metric,
    Needs,
    Quantity,
    TaskDescription,
    parameter,
)
from llt_plugins.metrics.outputs import error_over
from llt_plugins.metrics.statuses import broken_weights, nothing
from llt_plugins.metrics.translations import Texts

if TYPE_CHECKING:
    from llt_plugins.translation.decode import Translation


class Bleu(Metric):
    """BLEU of the translations that a model makes of the source sentences of a split.

    **Definition.** The geometric mean of the precisions of 1- to 4-grams over the whole
    split, times the brevity penalty, in percent (Papineni, Roukos, Ward and Zhu 2002), as
    sacrebleu computes it (Post 2018): against the reference texts as they were read, with its
    own tokeniser and exponential smoothing. ``details["signature"]`` is sacrebleu's.

    **Translations.** The model continues the beginning token until it gives the end token:
    ``beam = 1`` takes the most probable next token (greedy), larger beams keep that many
    beginnings and judge those that ended by ``log p / ((5 + length)/6)^length_penalty`` (Wu et
    al. 2016, eq. 14, the end counted). They are cut at ``max_length`` times the tokens of
    the source plus 10, and at the longest sentence of the task.

    **Error.** The standard deviation over resampled sentences (Koehn 2004). On the whole
    training split the value is exact. Unknown where no replicate differs.

    **Arrays.** ``sentence_bleu`` of every sentence (smoothed, effective order) and the lengths
    in tokens of sacrebleu, ``length`` and ``reference_length``, all ``(n,)``.

    **Cost.** One pass of the decoder for every token of every translation, over all tokens
    before it (nothing is cached): about ``beam · length`` forward passes of the split.

    **Pitfalls.** Compare only equal signatures, splits and ``samples``. BLEU counts words in
    common, knows one reference, and is near zero and noisy for models that hardly translate;
    loss tells those apart better. A split that is cut at the longest sentence of its task has
    references that cannot be reached in full. Published values for IWSLT mostly use a beam
    of 4 or 5 with a length penalty.
    """

    summary = "BLEU of greedy or beam-search translations, by sacrebleu, with its error"
    needs = Needs(splits=("test",), modalities=frozenset({"text"}))
    returns = (
        Quantity(
            name="bleu",
            unit="percent",
            description="BLEU of the translations of a split",
            direction="higher",
        ),
        Quantity(
            name="bleu_length_ratio",
            unit="",
            description="Words of the translations divided by words of the references",
        ),
        Quantity(
            name="bleu_unfinished",
            unit="percent",
            description="Share of translations that were cut before their end",
            direction="lower",
        ),
    )

    split: str = parameter("test", description="Split whose sources are translated")
    samples: int | None = parameter(
        None,
        ge=2,
        description="How many seeded sentences of the split; null for the whole split",
        unit="samples",
    )
    beam: int = parameter(
        1, ge=1, description="Beginnings kept by beam search; 1 is greedy", unit="hypotheses"
    )
    length_penalty: float = parameter(
        0.6,
        ge=0,
        description="Strength α with which beam search favours length; 0 compares probabilities",
    )
    max_length: float = parameter(
        2.0,
        gt=0,
        description="Translations are cut at this many times the tokens of their source, plus 10",
    )
    tokenize: Literal["13a", "intl", "char", "none"] = parameter(
        "13a", description="sacrebleu's tokeniser, with which words are told apart"
    )
    replicates: int = parameter(
        500, ge=2, description="Resamples of the bootstrap", unit="replicates"
    )

    @classmethod
    def minimal(cls) -> Self:
        """Return an instance that takes a moment: 8 sentences, 20 replicates."""
        return cls(samples=8, replicates=20)

    def splits(self) -> tuple[str, ...]:
        """Return the one split that ``split`` names."""
        return (self.split,)

    def cost(self, task: TaskDescription) -> float:
        """Return the passes of the decoder: one for each token, over half of them on average."""
        share = 1.0 if self.split == "train" else 0.2
        return share * self.beam * max(1.0, task.input_shape[0] / 4)

    def measure(self, context: MeasureContext) -> list[Measurement]:
        """Return BLEU, the ratio of lengths, and the share that was cut."""
        if (broken := broken_weights(context)) is not None:
            return nothing(self.returns, "not_finite", broken, split=self.split)
        texts = Texts(context, self.split, self.samples)
        try:
            found = texts.translations(
                context.model,
                beam=self.beam,
                length_penalty=self.length_penalty,
                max_length=self.max_length,
                report=context.report,
            )
        except FloatingPointError as error:
            return nothing(self.returns, "not_finite", str(error), split=self.split)
        return self._results(context, texts.words(found), texts.references, found)

    def _results(
        self,
        context: MeasureContext,
        texts: list[str],
        references: list[str],
        found: list[Translation],
    ) -> list[Measurement]:
        import numpy as np

        from llt_plugins.translation.bleu import bleu

        scored = bleu(texts, references, tokenize=self.tokenize)
        whole = self.samples is None or self.samples >= len(context.examples(self.split))
        samples = None if whole else self.samples
        spread = scored.bootstrap(context.generator(), self.replicates)
        cut = 100.0 * np.array([not one.ended for one in found], dtype=np.float64)
        n = len(texts)
        errors = (spread.score, spread.ratio, float(cut.std(ddof=1)) / n**0.5 if n > 1 else 0.0)
        details: dict[str, Any] = {
            "signature": scored.signature,
            "decoding": "greedy" if self.beam == 1 else f"beam search, {self.beam} places",
            "precisions": scored.precisions,
            "brevity_penalty": scored.brevity_penalty,
            "replicates": self.replicates,
            "example": {"translation": texts[0], "reference": references[0]},
        }
        if self.beam > 1:
            details["length_penalty"] = self.length_penalty
        arrays = {
            "sentence_bleu": scored.sentences,
            "length": scored.lengths,
            "reference_length": scored.reference_lengths,
        }
        results = []
        values = (scored.score, scored.ratio, float(cut.mean()))
        for quantity, value, error in zip(self.returns, values, errors, strict=True):
            first = quantity is self.returns[0]
            found_error = error_over(context, self.split, error or None, samples)
            results.append(
                Measurement(
                    name=quantity.name,
                    value=value,
                    standard_error=found_error["standard_error"],
                    unit=quantity.unit,
                    n=n,
                    counted="sentences",
                    status="ok" if value is not None else "undefined",
                    details=found_error["details"] | (details if first else {}),
                    arrays=arrays if first else {},
                )
            )
        return results
