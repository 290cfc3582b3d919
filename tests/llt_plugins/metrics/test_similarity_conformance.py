"""Every metric of similarity, in every mode that takes another path, leaves all as it was."""

from __future__ import annotations

from llt_core.testing import MetricConformance
from llt_plugins.metrics import agreement, calibration, distance, ensemble
from llt_plugins.metrics.cka import Cka


class TestCka(MetricConformance):
    component = Cka(samples=24, batch_size=8)


class TestCkaOfLayers(MetricConformance):
    component = Cka(samples=24, batch_size=8, features="layers")


class TestCkaAsInTheReference(MetricConformance):
    component = Cka(samples=24, batch_size=8, compat="reference")


class TestCkaByMinibatch(MetricConformance):
    component = Cka(
        samples=24, inputs="plain", kernel="rbf", features="logits", debiased=True, minibatch=8
    )


class TestCkaWithBootstrap(MetricConformance):
    component = Cka(samples=24, inputs="plain", bootstrap=4)


class TestL2Distance(MetricConformance):
    component = distance.L2Distance()


class TestAgreement(MetricConformance):
    component = agreement.Agreement()


class TestJsDivergence(MetricConformance):
    component = agreement.JsDivergence(split="train")


class TestLogitCosine(MetricConformance):
    component = agreement.LogitCosine(batch_size=5)


class TestPredictionChurn(MetricConformance):
    component = agreement.PredictionChurn()


class TestEnsembleAccuracy(MetricConformance):
    component = ensemble.EnsembleAccuracy()


class TestEnsembleGain(MetricConformance):
    component = ensemble.EnsembleGain(split="train")


class TestCalibrationError(MetricConformance):
    component = calibration.CalibrationError(bins=4)
