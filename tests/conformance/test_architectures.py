"""The built-in architectures run the kit that third parties run."""

from llt_core.interfaces import TaskDescription
from llt_core.testing import ArchitectureConformance
from llt_plugins.architectures.densenet import DenseNet40
from llt_plugins.architectures.mlp import Mlp
from llt_plugins.architectures.resnet import ResNet18, ResNet34, ResNet50
from llt_plugins.architectures.torchvision import TorchvisionModel
from llt_plugins.architectures.transformer import Transformer
from llt_plugins.architectures.vgg import Vgg11
from llt_plugins.architectures.vit import Vit


class TestResNet18(ArchitectureConformance):
    component = ResNet18(width=2)


class TestResNet34(ArchitectureConformance):
    component = ResNet34(width=1)


class TestResNet50(ArchitectureConformance):
    component = ResNet50(width=1)


class TestVgg11(ArchitectureConformance):
    component = Vgg11(width=2)


class TestVgg11WithoutBatchNorm(ArchitectureConformance):
    component = Vgg11(width=2, batch_norm=False)


class TestMlp(ArchitectureConformance):
    component = Mlp(width=8)


class TestLinearModel(ArchitectureConformance):
    component = Mlp(depth=0)


class TestVit(ArchitectureConformance):
    component = Vit(width=8, depth=2)


class TestDenseNet40(ArchitectureConformance):
    component = DenseNet40(growth=1)


class TestTransformer(ArchitectureConformance):
    component = Transformer(embedding_dim=8, layers=2)


class TestTransformerAsPublished(ArchitectureConformance):
    """Normalisation after each sum, and here three tables and another order of tokens."""

    component = Transformer(embedding_dim=8, layers=1, tie_embeddings=False, norm="post")
    descriptions = (
        TaskDescription(modality="text", input_shape=(9,), outputs=13, padding=4),
        TaskDescription(modality="text", input_shape=(9,), outputs=13, padding=0),
    )


class TestShuffleNet(ArchitectureConformance):
    component = TorchvisionModel(name="shufflenet_v2_x0_5")


class TestSqueezeNet(ArchitectureConformance):
    """A model with dropout."""

    component = TorchvisionModel(name="squeezenet1_1")
    descriptions = (TaskDescription(modality="image", input_shape=(1, 28, 28), outputs=7),)
