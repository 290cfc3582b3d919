"""CIFAR-10 and CIFAR-100."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from llt_plugins.tasks.images import Shape
from llt_plugins.tasks.published import reading
from llt_plugins.tasks.torchvision_task import TorchvisionTask

if TYPE_CHECKING:
    from torch import Tensor


class _Cifar(TorchvisionTask):
    """What both CIFAR sets share: pickled arrays of 32×32 colour images."""

    shape: ClassVar[Shape] = (3, 32, 32)
    split_policy: ClassVar[str] = (
        "The published split: 50,000 training and 10,000 test images, in file order."
    )
    torchvision_name: ClassVar[str]

    def read(self, split: str, data_root: Path) -> tuple[Tensor, Tensor]:
        """Return images ``(N, 32, 32, 3)`` and labels ``(N,)`` of all files of a split."""
        import torch

        parts = [self._read_file(data_root / name) for name in self.published[split]]
        images, labels = zip(*parts, strict=True)
        return torch.cat(images), torch.cat(labels)

    def fetch(self, folder: Path) -> None:
        """Download and unpack the published archive."""
        from torchvision.datasets.utils import download_and_extract_archive

        source = self._torchvision()
        download_and_extract_archive(
            source.url, str(folder), filename=source.filename, md5=source.tgz_md5
        )

    def _read_file(self, path: Path) -> tuple[Tensor, Tensor]:
        """Read one file by torchvision's own class, so that an error can name the file.

        The md5 None asks torchvision only that the file exists: whether it must be the
        published one was decided before.
        """
        import numpy as np
        import torch

        one_file = {
            "base_folder": path.parent.name,
            "train_list": [[path.name, None]],
            "test_list": [],
            "_load_meta": lambda self: None,  # the names of the classes are not needed
        }
        reader = type("OneFile", (self._torchvision(),), one_file)
        with reading(path), warnings.catch_warnings():
            # The published files were pickled by Python 2, which NumPy remarks on.
            warnings.filterwarnings("ignore", message=".*align should be passed as")
            data = reader(str(path.parents[1]))
            images = torch.from_numpy(np.ascontiguousarray(data.data))
            return images, torch.tensor(data.targets, dtype=torch.int64)

    def _torchvision(self) -> Any:
        import torchvision

        return getattr(torchvision.datasets, self.torchvision_name)


class Cifar10(_Cifar):
    """CIFAR-10 (Krizhevsky 2009): 60,000 colour photographs of 10 kinds of things.

    Mean and standard deviation are those of Yang et al. (2021).
    """

    summary: ClassVar[str] = "CIFAR-10: 50,000 + 10,000 colour images, 32x32, 10 classes"
    title: ClassVar[str] = "CIFAR-10"
    torchvision_name: ClassVar[str] = "CIFAR10"
    classes: ClassVar[int] = 10
    mean: ClassVar[tuple[float, ...]] = (0.4914, 0.4822, 0.4465)
    std: ClassVar[tuple[float, ...]] = (0.2023, 0.1994, 0.2010)
    published: ClassVar[Mapping[str, Mapping[str, str]]] = {
        "train": {
            "cifar-10-batches-py/data_batch_1": "c99cafc152244af753f735de768cd75f",
            "cifar-10-batches-py/data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
            "cifar-10-batches-py/data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
            "cifar-10-batches-py/data_batch_4": "634d18415352ddfa80567beed471001a",
            "cifar-10-batches-py/data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
        },
        "test": {"cifar-10-batches-py/test_batch": "40351d587109b95175f43aff81a1287e"},
    }


class Cifar100(_Cifar):
    """CIFAR-100 (Krizhevsky 2009): 60,000 colour photographs, 100 fine classes.

    Mean and standard deviation are those commonly used with the training split.
    """

    summary: ClassVar[str] = "CIFAR-100: 50,000 + 10,000 colour images, 32x32, 100 classes"
    title: ClassVar[str] = "CIFAR-100"
    torchvision_name: ClassVar[str] = "CIFAR100"
    classes: ClassVar[int] = 100
    mean: ClassVar[tuple[float, ...]] = (0.5071, 0.4865, 0.4409)
    std: ClassVar[tuple[float, ...]] = (0.2673, 0.2564, 0.2762)
    published: ClassVar[Mapping[str, Mapping[str, str]]] = {
        "train": {"cifar-100-python/train": "16019d7e3df5f24257cddd939b257f8d"},
        "test": {"cifar-100-python/test": "f0ef6b0ae62326f3e7ffdfab6717acfc"},
    }
