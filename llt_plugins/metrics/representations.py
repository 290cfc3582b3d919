"""What metrics of representations share: which features, on which inputs, once per model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, cast

from llt_core.interfaces import MeasureContext, Metric, Needs, Scope, TaskDescription, parameter
from llt_plugins.metrics.costs import TYPICAL_SPLIT
from llt_plugins.metrics.sentences import (
    Drawn,
    draw_sentences,
    sentence_layers,
    sentence_outputs,
)

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from llt_plugins.similarity.inputs import Inputs
    from llt_plugins.similarity.representation import Missing, Representation

_PAIRS_PER_MODEL = 4
"""In a cell of five models each is compared with four others."""


class Side(NamedTuple):
    """One model's features by layer, and which of the samples were drawn together."""

    layers: dict[str, Representation | Missing]
    groups: Tensor | None


class PairOfRepresentations(Metric):
    """A metric of what two models compute on the same inputs.

    The inputs are those of the cell, the same for all its models, so each model runs once
    for all the pairs it is in. Texts are mixed as vectors, behind the layers that
    `Architecture.embeddings` names, since tokens cannot be.
    """

    scope: ClassVar[Scope] = "pair"
    needs: ClassVar[Needs] = Needs(splits=("train",))

    features: Literal["softmax", "logits", "layers"] = parameter(
        "softmax", description="What is compared: outputs, or the layers the architecture names"
    )
    kernel: Literal["linear", "rbf"] = parameter(
        "linear", description="Similarity of two inputs within one model"
    )
    bandwidth: float = parameter(
        1.0, gt=0, description="Width of the RBF kernel as a multiple of the median distance"
    )
    inputs: Literal["mixup", "plain"] = parameter(
        "mixup", description="Mixtures of two examples each, or examples as they are"
    )
    split: str = parameter("train", description="Split the inputs are drawn from")
    samples: int = parameter(640, ge=4, description="Number of inputs", unit="samples")
    batch_size: int = parameter(
        128, ge=1, description="Inputs per batch; a batch of mixtures shares one λ", unit="samples"
    )
    alpha: float = parameter(16.0, gt=0, description="λ of mixtures is drawn from Beta(α, α)")
    pool: Literal["average", "flatten"] = parameter(
        "average", description="What becomes of the positions in a layer's activations"
    )
    minibatch: int | None = parameter(
        None,
        ge=4,
        description="Average debiased HSIC over parts of this size, for many samples; "
        "null: all at once",
        unit="samples",
    )

    def splits(self) -> tuple[str, ...]:
        """Return the one split that ``split`` names."""
        return (self.split,)

    def cost(self, task: TaskDescription) -> float:
        """Return the passes of two models over the inputs; of mixed texts both parts pass."""
        parts = 2.0 if (task.modality, self.inputs) == ("text", "mixup") else 1.0
        return 2.0 * parts * self.samples / TYPICAL_SPLIT

    def refuses(self, task: TaskDescription) -> str | None:
        """Refuse to line up the positions of sentences of unequal lengths."""
        if task.modality == "text" and (self.features, self.pool) == ("layers", "flatten"):
            return "the sentences of a text have no positions in common: set pool = average"
        return super().refuses(task)

    def side(self, context: MeasureContext, index: int) -> Side:
        """Return one model's features, computed once for all its pairs."""
        shared = set(PairOfRepresentations.model_fields)
        key = ("representations", *sorted(self.model_dump(include=shared).items()))

        def compute() -> Side:
            batches, groups = self.draw_inputs(context, context.sample_generator("representations"))
            return Side(self.represent(context, index, batches), groups)

        return context.remember(key, compute, index)

    def draw_inputs(
        self, context: MeasureContext, generator: torch.Generator, more: int = 0
    ) -> tuple[list[Inputs] | list[Drawn], Tensor | None]:
        """Return batches of inputs on the device, and the number of the mixtures' batch of each."""
        import torch

        from llt_plugins.similarity.inputs import draw_mixtures, groups, mix

        text = context.task.describe().modality == "text"
        if self.inputs == "plain":
            if text:
                return draw_sentences(context, self.split, self.samples, generator), None
            chosen = context.batches(self.split, self.samples, self.batch_size)
            return [batch.inputs for batch in chosen], None
        examples = context.examples(self.split)
        mixtures = draw_mixtures(
            len(examples),
            generator,
            samples=self.samples + more,
            batch_size=self.batch_size,
            alpha=self.alpha,
        )
        if text:
            drawn = draw_sentences(context, self.split, None, generator, mixtures)
            return drawn, groups(mixtures)
        batches: list[Inputs] = []
        for mixture in mixtures:
            size = context.at_once(len(mixture.first))
            parts = (torch.split(index, size) for index in (mixture.first, mixture.second))
            for pair in zip(*parts, strict=True):
                one, two = (
                    examples.batch(index).to(context.device, context.dtype).inputs for index in pair
                )
                batches.append(mix(one, two, mixture.share))
        return batches, groups(mixtures)

    def represent(
        self, context: MeasureContext, index: int, batches: list[Inputs] | list[Drawn]
    ) -> dict[str, Representation | Missing]:
        """Return the features of one model by layer, ready for comparison."""
        from llt_plugins.similarity.features import class_probabilities, pooled
        from llt_plugins.similarity.representation import Missing, represent

        options: dict[str, Any] = {
            "kernel": self.kernel,
            "bandwidth": self.bandwidth,
            "block": self.minibatch,
        }
        if self.features == "layers":
            probes = context.probes(index)
            pairs = 2 * len(probes) * _PAIRS_PER_MODEL
            return {
                name: x if isinstance(x, Missing) else represent(x, pairs=pairs, **options)
                for name, x in self._layers(context, index, batches, probes)
            }
        x = self._outputs(context, index, batches)
        x = class_probabilities(x) if self.features == "softmax" else x
        return {self.features: represent(pooled(x, self.pool), pairs=_PAIRS_PER_MODEL, **options)}

    def _layers(
        self,
        context: MeasureContext,
        index: int,
        batches: list[Inputs] | list[Drawn],
        names: list[str],
    ) -> Iterator[tuple[str, Tensor | Missing]]:
        from llt_plugins.similarity.features import layers

        if isinstance(batches[0], Drawn):
            return sentence_layers(context, index, cast("list[Drawn]", batches), names)
        return layers(context.models[index], batches, names, pool=self.pool)

    def _outputs(
        self, context: MeasureContext, index: int, batches: list[Inputs] | list[Drawn]
    ) -> Tensor:
        from llt_plugins.similarity.features import outputs

        if isinstance(batches[0], Drawn):
            return sentence_outputs(context, index, cast("list[Drawn]", batches))
        return outputs(context.models[index], cast("list[Inputs]", batches))
