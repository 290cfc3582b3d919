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
from llt_plugins.perturbations.augmentation import Augmentation
from llt_plugins.perturbations.cutout import Cutout
from llt_plugins.perturbations.data_subset import DataSubset
from llt_plugins.perturbations.label_noise import LabelNoise
from llt_plugins.perturbations.magnitude_prune import MagnitudePrune
from llt_plugins.perturbations.mixup import Mixup
from llt_plugins.perturbations.pixel_noise import PixelNoise
from llt_plugins.perturbations.quantise import Quantise
from llt_plugins.perturbations.random_labels import RandomLabels
from llt_plugins.perturbations.weight_noise import WeightNoise
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


class TestRandomLabels(PerturbationConformance):
    component = RandomLabels()
    identity = RandomLabels(fraction=0)


class TestPixelNoise(PerturbationConformance):
    component = PixelNoise(magnitude=20)
    identity = PixelNoise(magnitude=0, mode="replace")


class TestAugmentation(PerturbationConformance):
    component = Augmentation(crop=2)
    identity = Augmentation(crop=0, flip=False)


class TestCropAlone(PerturbationConformance):
    component = Augmentation(crop=2, flip=False)
    identity = Augmentation(crop=0, flip=False)


class TestMixup(PerturbationConformance):
    component = Mixup(alpha=1)
    identity = Mixup(alpha=0)


class TestCutout(PerturbationConformance):
    component = Cutout(size=4)
    identity = Cutout(size=0)


class TestWeightNoise(PerturbationConformance):
    component = WeightNoise(scale=0.1)
    identity = WeightNoise(scale=0)


class TestQuantise(PerturbationConformance):
    component = Quantise(bits=4)
    identity = Quantise(bits=32)


class TestMagnitudePrune(PerturbationConformance):
    component = MagnitudePrune(sparsity=0.5)
    identity = MagnitudePrune(sparsity=0)


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
