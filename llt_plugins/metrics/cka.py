"""How alike the representations of two models are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import model_validator

from llt_core.interfaces import (
    Figure,
    MeasureContext,
    Measurement,
    Quantity,
    TaskDescription,
    parameter,
)
from llt_plugins.metrics.representations import PairOfRepresentations, Side

if TYPE_CHECKING:
    from llt_plugins.similarity.cka import Cka as Similarity


class Cka(PairOfRepresentations):
    """Centred kernel alignment of the representations of two models.

    `HSIC(K, L) / √(HSIC(K, K) HSIC(L, L))`, where K and L hold the similarities of all
    pairs of inputs as each model sees them (Kornblith et al. 2019). 1: the same
    representation up to rotation and scale; 0: unrelated. The default is that of Yang et
    al. (2021): linear kernel, softmax outputs, biased HSIC, and as inputs 640 mixtures of
    training images, 5 batches of 128 with one λ ~ Beta(16, 16) each. All models of a cell
    see the same inputs, and each runs once however many pairs it is in.

    *Biased or debiased.* With fewer samples than features the biased form is near 1
    whatever the models do (Nguyen et al. 2021), so `features=layers` is debiased by
    default; on ten outputs and 640 samples the bias is small, and the biased form stays
    comparable with the paper. `details["debiased"]` says which was used. The debiased value
    may leave [0, 1] by its error.

    *Layers.* `features=layers` compares the same layer of both models at every probe of the
    architecture; the value is the mean over these, and `arrays["matrix"]` has every layer
    of the first model (rows) against every layer of the second. Positions are averaged
    (`pool=average`), or all axes flattened. A layer that is constant in one model is left
    out of the mean and named in `details["undefined_layers"]`: means over different layers
    do not compare.

    *Texts.* Tokens cannot be mixed, but what the token embeddings make of them can: behind
    these layers (`Architecture.embeddings`) two sentences are added with shares λ and 1 − λ,
    position by position (Guo, Mao and Zhang 2019). The network sees the tokens of the first,
    so the mixture has its length and its masks; what the second has beyond that is cut off,
    and where it is shorter the vector of padding takes part. An input of softmax and logits is
    one target token of one sentence, drawn with the seed, given all before it; an input of
    layers is a sentence, the mean over those positions that hold a token. A vocabulary is wide,
    so texts are debiased by default too. Mixing costs two passes instead of one.

    *Error.* The standard error is that of other inputs drawn in the same way (infinitesimal
    jackknife; by batch of mixtures where that is larger). Biased CKA is moreover too large
    by its bias, which is not in the error. For unrelated representations the error is too
    large by about 1.4, below some 20 samples of very similar ones it is a little small.

    *Pitfalls.* On plain training images CKA is high for all models that fit them, hence
    mixup. CKA follows the few directions of largest variance and hardly sees the others; it
    can be changed a lot by moving a few outlying points. A model with constant outputs has
    no CKA: the pair is `undefined`. `compat=reference` reproduces two accidents of the
    published code: one batch more, and inputs drawn anew for each ordered pair, so that
    CKA(i, j) ≠ CKA(j, i); the value is then the mean of the two and depends on the seed.

    Cost: one forward pass over the inputs per model.
    """

    summary = "Centred kernel alignment of two models: outputs or layers, linear or RBF"
    returns = (
        Quantity(
            name="cka",
            unit="",
            description="Centred kernel alignment of two representations, 0 to 1",
            direction="higher",
        ),
    )

    debiased: bool | None = parameter(
        None, description="Use unbiased HSIC; null: for layers and texts yes, for others no"
    )
    bootstrap: int = parameter(
        0,
        ge=0,
        description="Error of output CKA by this many bootstrap replicates of independent "
        "samples; 0: by the jackknife, which knows of shared λ",
        unit="replicates",
    )
    compat: Literal["reference"] | None = parameter(
        None, description="Reproduce the choices of the published code: see above"
    )

    @model_validator(mode="after")
    def _possible(self) -> Self:
        debiased = self.features == "layers" if self.debiased is None else self.debiased
        if self.minibatch is not None and not debiased:
            raise ValueError("minibatch averages unbiased HSIC: set debiased = true with it")
        if self.bootstrap and (self.features == "layers" or self.minibatch is not None):
            raise ValueError("bootstrap works on outputs, all at once: set bootstrap = 0 here")
        if self.bootstrap and self.compat:
            raise ValueError("compat = reference draws inputs twice: set bootstrap = 0 with it")
        if self.bootstrap == 1:
            raise ValueError("one bootstrap replicate has no spread: set 0, or 2 and more")
        if self.compat and (self.inputs, self.features == "layers") != ("mixup", False):
            raise ValueError("compat = reference is about mixup and outputs: keep these")
        return self

    def refuses(self, task: TaskDescription) -> str | None:
        """Refuse to reproduce on texts what the published code did with images."""
        if task.modality == "text" and self.compat is not None:
            return "compat = reference is about images, and the task gives text: leave it out"
        return super().refuses(task)

    @classmethod
    def minimal(cls) -> Self:
        """Return an instance that takes a moment: 32 mixtures."""
        return cls(samples=32, batch_size=8)

    def measure(self, context: MeasureContext) -> list[Measurement]:
        """Return the similarity, for layers with the matrix of all pairs of layers."""
        if self.compat == "reference":
            return [self._as_in_the_reference(context)]
        first, second = (self.side(context, index) for index in (0, 1))
        if self.features == "layers":
            return [self._of_layers(context, first, second)]
        similarity = self._compare(context, first, second)
        error = self._error(context, first, second, similarity)
        return [self._result(context, similarity, error)]

    def _debias(self, context: MeasureContext) -> bool:
        if self.debiased is not None:
            return self.debiased
        return self.features == "layers" or context.task.describe().modality == "text"

    def _compare(self, context: MeasureContext, first: Side, second: Side) -> Similarity:
        from llt_plugins.similarity.cka import cka

        (x,), (y,) = first.layers.values(), second.layers.values()
        return cka(x, y, debiased=self._debias(context), groups=first.groups)

    def _error(
        self, context: MeasureContext, first: Side, second: Side, similarity: Similarity
    ) -> float | None:
        """Return the standard error by the jackknife, or by the bootstrap that was asked for."""
        from llt_plugins.similarity.cka import bootstrap_standard_error
        from llt_plugins.similarity.representation import Representation

        (x,), (y,) = first.layers.values(), second.layers.values()
        if not self.bootstrap or similarity.reason is not None:
            return similarity.standard_error
        assert isinstance(x, Representation)
        assert isinstance(y, Representation)
        return bootstrap_standard_error(
            x, y, context.generator(), debiased=self._debias(context), replicates=self.bootstrap
        )

    def _as_in_the_reference(self, context: MeasureContext) -> Measurement:
        """Return the mean of both directions, each on inputs of its own."""
        generator = context.generator()
        found: list[Similarity] = []
        for _ in range(2):
            batches, groups = self.draw_inputs(context, generator, more=self.batch_size)
            first, second = (
                Side(self.represent(context, index, batches), groups) for index in (0, 1)
            )
            found.append(self._compare(context, first, second))
        there, back = found
        if there.reason or back.reason:
            return self._result(context, there if there.reason else back, None)
        error = 0.5 * (there.standard_error**2 + back.standard_error**2) ** 0.5
        more = {"compat": "reference", "there": there.value, "back": back.value}
        value = 0.5 * (there.value + back.value)
        return self._result(context, there, error, value=value, details=more)

    def _of_layers(self, context: MeasureContext, first: Side, second: Side) -> Measurement:
        """Return the mean over the layers both models have, and the matrix of all pairs."""
        import numpy as np

        from llt_plugins.similarity.cka import cka_matrix, mean_cka

        rows, columns = list(first.layers), list(second.layers)
        matrix = cka_matrix(
            list(first.layers.values()),
            list(second.layers.values()),
            debiased=self._debias(context),
            groups=first.groups,
        )
        same = {
            name: matrix[rows.index(name)][columns.index(name)] for name in rows if name in columns
        }
        total = mean_cka(list(same.values()), groups=first.groups)
        absent = {name: entry.reason for name, entry in same.items() if entry.reason}
        arrays = {
            "matrix": np.array([[entry.value for entry in row] for row in matrix]),
            "matrix_error": np.array([[entry.standard_error for entry in row] for row in matrix]),
            "layers": np.array([entry.value for entry in same.values()]),
            "layers_error": np.array([entry.standard_error for entry in same.values()]),
        }
        label = "layer of the {} model"
        figures = (
            Figure(
                kind="matrix",
                title="CKA of all pairs of layers",
                z="matrix",
                labels=tuple(rows) if rows == columns else (),
                x_label=label.format("second"),
                y_label=label.format("first"),
                z_label="CKA",
            ),
            Figure(
                kind="bars",
                title="CKA of the same layer",
                y=("layers",),
                band=("layers_error",),
                labels=tuple(same),
                x_label="layer",
                y_label="CKA",
            ),
        )
        more: dict[str, Any] = {"layers": list(same), "pool": self.pool}
        if absent:
            more["undefined_layers"] = absent
        return self._result(
            context, total, total.standard_error, details=more, arrays=arrays, figures=figures
        )

    def _result(
        self,
        context: MeasureContext,
        similarity: Similarity,
        error: float | None,
        value: float | None = None,
        details: dict[str, Any] | None = None,
        **more: Any,
    ) -> Measurement:
        """Return the measurement with the choices that a reader must know."""
        said: dict[str, Any] = {
            "split": self.split,
            "features": self.features,
            "kernel": self.kernel,
            "debiased": self._debias(context),
            "inputs": self.inputs,
            "error_kind": "bootstrap over inputs" if self.bootstrap else "jackknife over inputs",
        }
        if self.minibatch is not None:
            said["minibatch"] = self.minibatch
        said |= details or {}
        if similarity.reason is not None:
            said["reason"] = similarity.reason
            status = "undefined" if similarity.finite else "not_finite"
            return Measurement(name="cka", value=None, status=status, details=said, **more)
        return Measurement(
            name="cka",
            value=similarity.value if value is None else value,
            standard_error=error,
            n=similarity.n,
            counted="samples" if self.features == "layers" else context.counted,
            details=said,
            **more,
        )
