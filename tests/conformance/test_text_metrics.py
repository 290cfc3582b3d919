"""Every metric that reads texts runs the kit on them, in the ways that differ from images."""

from llt_core.plugins import Catalogue
from llt_core.plugins.loader import load
from llt_core.testing import MetricConformance, TinyTexts
from llt_plugins.metrics.agreement import JsDivergence, PredictionChurn
from llt_plugins.metrics.bleu import Bleu
from llt_plugins.metrics.cka import Cka
from llt_plugins.metrics.linear_connectivity import LinearConnectivity


class Texts(MetricConformance):
    task = TinyTexts()


class TestCkaOfLayersOfTexts(Texts):
    component = Cka(samples=16, batch_size=8, features="layers")


class TestCkaOfPlainTexts(Texts):
    component = Cka(samples=16, batch_size=8, inputs="plain", kernel="rbf")


class TestBeamSearch(Texts):
    component = Bleu(samples=4, beam=2, replicates=5)


class TestDivergenceOfFewTexts(Texts):
    component = JsDivergence(samples=5)


class TestChurnOfTrainingTexts(Texts):
    component = PredictionChurn(split="train")


class TestLineBetweenFewTexts(Texts):
    component = LinearConnectivity(points=3, samples=8)


for entry in Catalogue.discover().entries:
    if entry.kind == "metric" and entry.package == "llt":
        metric = load(entry)
        name = f"Test{metric.__name__}OfTexts"
        globals()[name] = type(name, (Texts,), {"component": metric.minimal()})
