"""MNIST and the data sets that share its file format."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from llt_plugins.tasks.images import Shape
from llt_plugins.tasks.published import reading
from llt_plugins.tasks.torchvision_task import TorchvisionTask

if TYPE_CHECKING:
    from torch import Tensor


class _Idx(TorchvisionTask):
    """What both sets share: 28×28 gray images in unpacked idx files.

    The md5 values are of the unpacked files (torchvision publishes those of the archives).
    ``published`` lists the images of a split before its labels.
    """

    shape: ClassVar[Shape] = (1, 28, 28)
    classes: ClassVar[int] = 10
    split_policy: ClassVar[str] = (
        "The published split: 60,000 training and 10,000 test images, in file order."
    )
    torchvision_name: ClassVar[str]

    def read(self, split: str, data_root: Path) -> tuple[Tensor, Tensor]:
        """Return images ``(N, 28, 28, 1)`` and labels ``(N,)``.

        torchvision's reading functions are called directly, because its data set class
        prefers a file ``processed/training.pt`` of old versions that nobody has checked.
        """
        from torchvision.datasets.mnist import read_image_file, read_label_file

        image_path, label_path = (data_root / name for name in self.published[split])
        with reading(image_path):
            images = read_image_file(str(image_path))
        with reading(label_path):
            labels = read_label_file(str(label_path))
        return images.unsqueeze(-1), labels

    def fetch(self, folder: Path) -> None:
        """Download and unpack the published archives from the first mirror that answers."""
        import torchvision

        getattr(torchvision.datasets, self.torchvision_name)(str(folder), download=True)


class Mnist(_Idx):
    """MNIST (LeCun, Bottou, Bengio and Haffner 1998): handwritten digits."""

    summary = "MNIST: 60,000 + 10,000 gray images of handwritten digits, 28x28, 10 classes"
    title: ClassVar[str] = "MNIST"
    torchvision_name: ClassVar[str] = "MNIST"
    mean: ClassVar[tuple[float, ...]] = (0.1307,)
    std: ClassVar[tuple[float, ...]] = (0.3081,)
    published: ClassVar[Mapping[str, Mapping[str, str]]] = {
        "train": {
            "MNIST/raw/train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
            "MNIST/raw/train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
        },
        "test": {
            "MNIST/raw/t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
            "MNIST/raw/t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
        },
    }


class FashionMnist(_Idx):
    """Fashion-MNIST (Xiao, Rasul and Vollgraf 2017): photographs of garments."""

    summary = "Fashion-MNIST: 60,000 + 10,000 gray images of garments, 28x28, 10 classes"
    title: ClassVar[str] = "Fashion-MNIST"
    torchvision_name: ClassVar[str] = "FashionMNIST"
    mean: ClassVar[tuple[float, ...]] = (0.2860,)
    std: ClassVar[tuple[float, ...]] = (0.3530,)
    published: ClassVar[Mapping[str, Mapping[str, str]]] = {
        "train": {
            "FashionMNIST/raw/train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
            "FashionMNIST/raw/train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
        },
        "test": {
            "FashionMNIST/raw/t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
            "FashionMNIST/raw/t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
        },
    }
