"""The metrics of curvature, in every mode, run the kit that strangers run."""

from llt_core.testing import MetricConformance
from llt_plugins.metrics.frobenius import HessianFrobenius
from llt_plugins.metrics.gauss_newton import GaussNewtonTrace
from llt_plugins.metrics.gradient import GradientNorm
from llt_plugins.metrics.hessian import HessianTopEigenvalue, HessianTrace
from llt_plugins.metrics.layer_trace import HessianLayerTrace
from llt_plugins.metrics.sharpness import Sharpness
from llt_plugins.metrics.spectrum import HessianSpectrum


class TestTraceByHutchinson(MetricConformance):
    component = HessianTrace(samples=8, max_vectors=4, estimator="hutchinson")


class TestTraceByHutchPlusPlus(MetricConformance):
    component = HessianTrace(samples=8, max_vectors=6, estimator="hutch++")


class TestTraceByXTrace(MetricConformance):
    component = HessianTrace(samples=8, max_vectors=6, estimator="xtrace")


class TestExactTrace(MetricConformance):
    component = HessianTrace(samples=4, max_vectors=10_000)


class TestEigenvaluesOfBlocks(MetricConformance):
    component = HessianTopEigenvalue(samples=8, k=2, block_size=2, which="smallest", max_steps=6)


class TestSpectrum(MetricConformance):
    component = HessianSpectrum(samples=8, vectors=2, steps=4, points=11)


class TestLayerTrace(MetricConformance):
    component = HessianLayerTrace(samples=8, vectors=2, deflation_steps=2)


class TestBlockTrace(MetricConformance):
    component = HessianLayerTrace(samples=8, vectors=2, deflation_steps=2, level="block")


class TestFrobenius(MetricConformance):
    component = HessianFrobenius(samples=8, max_vectors=4)


class TestGaussNewtonTrace(MetricConformance):
    component = GaussNewtonTrace(samples=8, batch_size=3, max_vectors=4)


class TestGradientNorm(MetricConformance):
    component = GradientNorm(samples=8)


class TestSharpness(MetricConformance):
    component = Sharpness(samples=8, steps=2)


class TestAdaptiveSharpness(MetricConformance):
    component = Sharpness(samples=8, adaptive=True)
