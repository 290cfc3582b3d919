"""Street View House Numbers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from llt_plugins.tasks.images import Shape
from llt_plugins.tasks.published import reading
from llt_plugins.tasks.torchvision_task import TorchvisionTask

if TYPE_CHECKING:
    from torch import Tensor


class Svhn(TorchvisionTask):
    """SVHN (Netzer et al. 2011), cropped digits: colour photographs of house numbers.

    The files label the digit 0 as 10; here it is class 0. Mean and standard deviation are
    those commonly used with the training split.
    """

    summary = "Street View House Numbers: 73,257 + 26,032 colour images, 32x32, 10 classes"
    title: ClassVar[str] = "SVHN"
    shape: ClassVar[Shape] = (3, 32, 32)
    classes: ClassVar[int] = 10
    mean: ClassVar[tuple[float, ...]] = (0.4377, 0.4438, 0.4728)
    std: ClassVar[tuple[float, ...]] = (0.1980, 0.2010, 0.1970)
    split_policy: ClassVar[str] = (
        "The published split: 73,257 training and 26,032 test images, in file order; "
        "the extra images are not used."
    )
    published: ClassVar[Mapping[str, Mapping[str, str]]] = {
        "train": {"train_32x32.mat": "e26dedcc434d2e4c54c9b2d4a06d8373"},
        "test": {"test_32x32.mat": "eb5a983be6a315427106f1b164d9cef3"},
    }

    def read(self, split: str, data_root: Path) -> tuple[Tensor, Tensor]:
        """Return images ``(N, 32, 32, 3)`` and labels ``(N,)`` of one .mat file."""
        import numpy as np
        import torch
        from torchvision import datasets

        (name,) = self.published[split]
        # The md5 None asks torchvision only that the file exists: whether it must be the
        # published one was decided before.
        reader = type("OneFile", (datasets.SVHN,), {"split_list": {split: ["", name, None]}})
        with reading(data_root / name):
            data = reader(str(data_root), split=split)
            images = np.ascontiguousarray(data.data.transpose(0, 2, 3, 1))
            return torch.from_numpy(images), torch.from_numpy(data.labels.reshape(-1))

    def fetch(self, folder: Path) -> None:
        """Download the two published files."""
        from torchvision import datasets
        from torchvision.datasets.utils import download_url

        for split in self.published:
            url, name, md5 = datasets.SVHN.split_list[split]
            download_url(url, str(folder), name, md5)
