"""The built-in tasks, perturbations and metrics run the kit that strangers run.

Every registered metric does, as its ``minimal()``; what else is worth running has a class.
"""


from llt_core.plugins import Catalogue
from llt_core.plugins.loader import load
from llt_core.testing import (
    MetricConformance,
    PerturbationConformance,
    TaskConformance,
    TinyImages,
    TinyTexts,
)
from llt_plugins.metrics import hessian
from llt_plugins.perturbations.data_subset import DataSubset
from llt_plugins.perturbations.label_noise import LabelNoise
from llt_plugins.tasks.cifar import Cifar10, Cifar100
from llt_plugins.tasks.digits import Digits
from llt_plugins.tasks.iwslt import Iwslt
from llt_plugins.tasks.mnist import FashionMnist, Mnist
from llt_plugins.tasks.parallel_text import ParallelText
from llt_plugins.tasks.svhn import Svhn


class TestDigits(TaskConformance):
    component = Digits()


class TestMnist(TaskConformance):
    component = Mnist()


class TestFashionMnist(TaskConformance):
    component = FashionMnist()


class TestCifar10(TaskConformance):
    component = Cifar10()


class TestCifar100(TaskConformance):
    component = Cifar100(verify=False)


class TestSvhn(TaskConformance):
    component = Svhn()


class TestIwslt(TaskConformance):
    component = Iwslt()


class TestIwsltBackwardsAndMinimal(TaskConformance):
    component = Iwslt.minimal().model_copy(update={"direction": "en-de", "label_smoothing": 0.0})


class TestParallelText(TaskConformance):
    component = ParallelText.minimal()


class TestTinyTexts(TaskConformance):
    component = TinyTexts()


class TestLabelNoise(PerturbationConformance):
    component = LabelNoise(fraction=0.5)
    identity = LabelNoise(fraction=0)


class TestDataSubset(PerturbationConformance):
    component = DataSubset(fraction=0.5)
    identity = DataSubset(fraction=1)


class TestDataSubsetOfText(PerturbationConformance):
    component = DataSubset(fraction=0.5)
    identity = DataSubset(fraction=1)
    task = Iwslt.minimal()


class TestHessianTraceByPyHessian(MetricConformance):
    component = hessian.HessianTrace(samples=8, max_vectors=4, backend="pyhessian")


class TestHessianTopEigenvalueByPyHessian(MetricConformance):
    component = hessian.HessianTopEigenvalue(samples=8, backend="pyhessian")


for entry in Catalogue.discover().entries:
    if entry.kind == "metric" and entry.package == "llt":
        metric = load(entry).minimal()
        task = TinyImages() if metric.refuses(TinyImages().describe()) is None else TinyTexts()
        name = f"Test{type(metric).__name__}"
        globals()[name] = type(name, (MetricConformance,), {"component": metric, "task": task})
