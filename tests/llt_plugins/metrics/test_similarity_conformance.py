"""CKA, in every mode that takes another path, runs the kit that strangers run."""

from __future__ import annotations

from llt_core.testing import MetricConformance
from llt_plugins.metrics.cka import Cka


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
