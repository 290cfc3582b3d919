"""The built-in tasks, perturbations, metrics and executors run the kit that strangers run."""

from llt_core.testing import MetricConformance, PerturbationConformance, TaskConformance
from llt_plugins.metrics import hessian, scores
from llt_plugins.perturbations.data_subset import DataSubset
from llt_plugins.perturbations.label_noise import LabelNoise
from llt_plugins.tasks.cifar import Cifar10, Cifar100
from llt_plugins.tasks.digits import Digits
from llt_plugins.tasks.mnist import FashionMnist, Mnist
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


class TestLabelNoise(PerturbationConformance):
    component = LabelNoise(fraction=0.5)
    identity = LabelNoise(fraction=0)


class TestDataSubset(PerturbationConformance):
    component = DataSubset(fraction=0.5)
    identity = DataSubset(fraction=1)


class TestTrainLoss(MetricConformance):
    component = scores.TrainLoss()


class TestTrainAccuracy(MetricConformance):
    component = scores.TrainAccuracy()


class TestTestLoss(MetricConformance):
    component = scores.TestLoss()


class TestTestAccuracy(MetricConformance):
    component = scores.TestAccuracy()


class TestHessianTrace(MetricConformance):
    component = hessian.HessianTrace(samples=8, max_vectors=4)


class TestHessianTraceByPyHessian(MetricConformance):
    component = hessian.HessianTrace(samples=8, max_vectors=4, backend="pyhessian")


class TestHessianTopEigenvalue(MetricConformance):
    component = hessian.HessianTopEigenvalue(samples=8, batch_size=3)


class TestHessianTopEigenvalueByPyHessian(MetricConformance):
    component = hessian.HessianTopEigenvalue(samples=8, backend="pyhessian")
