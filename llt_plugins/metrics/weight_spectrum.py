"""Singular values of the weight matrices, and how heavy their tails are."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Self

from llt_core.interfaces import (
    Figure,
    MeasureContext,
    Measurement,
    Metric,
    Quantity,
    TaskDescription,
    parameter,
)
from llt_plugins.metrics.statuses import nothing

if TYPE_CHECKING:
    from llt_plugins.surfaces.power_law import PowerLaw
    from llt_plugins.surfaces.weights import LayerSpectrum

_HISTOGRAMS = 5


class WeightSpectrum(Metric):
    """Spectra of the weight matrices of a model, layer by layer; no data is needed.

    **Definition.** Every weight with at least two axes is a matrix W, a convolution
    ``(O, I, k, k)`` one of shape ``(O, I·k·k)``, and so is a transposed one.
    ``weight_spectrum_alpha`` is the mean over layers of the exponent α of a power law
    ``p(λ) ∝ λ^(−α)`` for the largest eigenvalues λ of ``WᵀW``, fitted by maximum likelihood
    above the xmin that makes the Kolmogorov–Smirnov distance smallest (Clauset, Shalizi and
    Newman 2009, by the package ``powerlaw``); small α, a heavy tail, is read as a sign of
    implicit self-regularisation (Martin and Mahoney 2021).
    ``weight_spectrum_stable_rank`` is the mean of ``‖W‖²_F/‖W‖²₂``, ``weight_spectrum_norm``
    the geometric mean of ``‖W‖₂``.

    **Error.** For α, the fits' own errors ``(α − 1)/√tail`` put together; not the spread over
    layers, which is in ``details["layer_spread"]``: the layers are no sample of other layers.
    The other two are exact up to rounding.

    **Arrays.** Per layer, NaN where there is no fit: ``alpha``, ``alpha_error``, ``xmin``,
    ``tail`` (eigenvalues above xmin), ``distance``; ``stable_rank``, ``spectral_norm``; and
    ``singular_values.LAYER``. ``details["layers"]`` names the layers in order,
    ``details["skipped"]`` says why a layer has no α.

    **Cost.** One singular-value decomposition per layer: seconds for a ResNet-18 of width 64.

    **Pitfalls.** Eigenvalues of one matrix repel each other, so they are no independent
    draws and the error is a rough one. Below about 50 eigenvalues xmin and α are hardly
    determined: narrow networks have few layers that qualify, and means over different sets
    of layers should not be compared. A fit always gives a number: ``distance`` tells
    whether a power law describes the tail at all, and α far above 6 says that it does not.
    """

    summary = "Singular values of each weight matrix: power-law exponent, stable rank, norm"
    version = 2
    returns = (
        Quantity(
            name="weight_spectrum_alpha",
            unit="",
            description="Mean power-law exponent of the eigenvalues of the weight matrices",
            direction="lower",
        ),
        Quantity(
            name="weight_spectrum_stable_rank",
            unit="",
            description="Mean over layers of the squared Frobenius by the squared spectral norm",
        ),
        Quantity(
            name="weight_spectrum_norm",
            unit="",
            description="Geometric mean over layers of the spectral norm",
        ),
    )

    min_values: int = parameter(
        20,
        ge=3,
        description="Layers with fewer non-zero singular values get no exponent",
        unit="values",
    )
    min_tail: int = parameter(
        10, ge=3, description="A power law is fitted to at least this many of them", unit="values"
    )

    @classmethod
    def minimal(cls) -> Self:
        """Return an instance that fits even the layers of a tiny network."""
        return cls(min_values=3, min_tail=3)

    def cost(self, task: TaskDescription) -> float:
        """Return next to nothing: no data is read."""
        return 0.01

    def measure(self, context: MeasureContext) -> list[Measurement]:
        """Return the three means; everything about the layers lies beside the exponent."""
        from llt_plugins.surfaces.weights import layer_spectra

        spectra = layer_spectra(context.model)
        broken = [s.name for s in spectra if not s.finite]
        if broken:
            reason = f"the weights of {', '.join(broken)} are not finite"
            return nothing(self.returns, "not_finite", reason)
        zero = {s.name: "all weights are zero" for s in spectra if not s.spectral_norm > 0}
        spectra = [s for s in spectra if s.name not in zero]
        if not spectra:
            reason = "the model has no weight matrix that is not zero"
            return nothing(self.returns, "undefined", reason)
        fits, skipped = self._fits(context, spectra)
        return [self._exponent(spectra, fits, zero | skipped), *self._means(spectra)]

    def _fits(
        self, context: MeasureContext, spectra: list[LayerSpectrum]
    ) -> tuple[list[PowerLaw | None], dict[str, str]]:
        """Return the fit of each layer, and why some have none."""
        from llt_plugins.surfaces.power_law import fit_power_law

        fits: list[PowerLaw | None] = []
        skipped: dict[str, str] = {}
        least = max(self.min_values, self.min_tail)
        for done, spectrum in enumerate(spectra, start=1):
            values = spectrum.eigenvalues
            fit = None
            if len(values) < least:
                skipped[spectrum.name] = f"{len(values)} non-zero singular values, below {least}"
            else:
                try:
                    fit = fit_power_law(values, min_tail=self.min_tail)
                except ValueError as error:
                    skipped[spectrum.name] = str(error)
            fits.append(fit)
            context.report(done, len(spectra))
        return fits, skipped

    def _exponent(
        self,
        spectra: list[LayerSpectrum],
        fits: list[PowerLaw | None],
        skipped: dict[str, str],
    ) -> Measurement:
        quantity = self.returns[0]
        found = [fit for fit in fits if fit is not None]
        alphas = [fit.alpha for fit in found]
        mean = sum(alphas) / len(found) if found else math.nan
        details: dict[str, Any] = {"layers": [s.name for s in spectra], "skipped": skipped}
        if found:
            details["error_kind"] = "maximum-likelihood error of the fits"
        else:
            details["reason"] = "no layer has enough singular values for a fit"
        if len(found) > 1:
            variance = sum((alpha - mean) ** 2 for alpha in alphas) / (len(found) - 1)
            details["layer_spread"] = math.sqrt(variance)
        errors = [fit.standard_error for fit in found]
        return Measurement(
            name=quantity.name,
            value=mean if found else None,
            standard_error=math.hypot(*errors) / len(found) if found else None,
            unit=quantity.unit,
            n=len(found),
            counted="layers",
            status="ok" if found else "undefined",
            details=details,
            arrays=_arrays(spectra, fits),
            figures=_figures(spectra, bool(found)),
        )

    def _means(self, spectra: list[LayerSpectrum]) -> list[Measurement]:
        rank = sum(s.stable_rank for s in spectra) / len(spectra)
        norm = math.exp(sum(math.log(s.spectral_norm) for s in spectra) / len(spectra))
        return [
            Measurement(
                name=quantity.name,
                value=value,
                standard_error=0.0,
                unit=quantity.unit,
                n=len(spectra),
                counted="layers",
                details={"error_kind": "exact up to rounding"},
            )
            for quantity, value in zip(self.returns[1:], (rank, norm), strict=True)
        ]


def _arrays(spectra: list[LayerSpectrum], fits: list[PowerLaw | None]) -> dict[str, Any]:
    import numpy as np

    columns = {
        "alpha": [math.nan if fit is None else fit.alpha for fit in fits],
        "alpha_error": [math.nan if fit is None else fit.standard_error for fit in fits],
        "xmin": [math.nan if fit is None else fit.xmin for fit in fits],
        "tail": [math.nan if fit is None else fit.tail for fit in fits],
        "distance": [math.nan if fit is None else fit.distance for fit in fits],
        "stable_rank": [spectrum.stable_rank for spectrum in spectra],
        "spectral_norm": [spectrum.spectral_norm for spectrum in spectra],
    }
    values = {f"singular_values.{s.name}": s.singular_values for s in spectra}
    return {name: np.asarray(column, dtype=np.float64) for name, column in columns.items()} | values


def _figures(spectra: list[LayerSpectrum], fitted: bool) -> tuple[Figure, ...]:
    layers = tuple(spectrum.name for spectrum in spectra)
    # More histograms in one picture cannot be told apart.
    widest = sorted(spectra, key=lambda s: -len(s.singular_values))[:_HISTOGRAMS]
    shown = tuple(spectrum.name for spectrum in widest)
    bars = {"stable_rank": "stable rank", "spectral_norm": "spectral norm"}
    if fitted:
        bars = {"alpha": "power-law exponent α"} | bars
    return (
        *(
            Figure(
                kind="bars",
                title=f"{what[0].upper()}{what[1:]} of each layer",
                y=(name,),
                labels=layers,
                x_label="layer",
                y_label=what,
            )
            for name, what in bars.items()
        ),
        Figure(
            kind="histogram",
            title="Singular values of the widest layers",
            y=tuple(f"singular_values.{layer}" for layer in shown),
            labels=shown,
            x_label="singular value",
            y_label="number of singular values",
        ),
    )
