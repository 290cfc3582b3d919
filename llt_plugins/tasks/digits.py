"""The handwritten digits that ship inside scikit-learn: real data without a download."""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import io
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from llt_core.interfaces import ClassificationTask, DataError, TaskDescription, TensorExamples
from llt_plugins.tasks.images import Shape, image_examples, tiny_images
from llt_plugins.tasks.published import reading

_SHA256 = "6ebb3d2fee246a4e99363262ddf8a00a3c41bee6014c373ed9d9216ba7f651b8"
"""sha256 of the unpacked table: the archive around it may be packed anew."""

_TRAIN = 1437
_MAXIMUM = 16
_FACTOR = 4


class Digits(ClassificationTask):
    """1,797 gray images of handwritten digits (Alpaydin and Kaynak 1998, UCI).

    The 8×8 pixel values 0…16 are scaled to bytes by ``rint(value · 255 / 16)``, so that the
    full range [0, 1] is used, and every pixel is repeated 4×4 times, which gives 32×32.
    ``mean`` and ``std`` are those of the training split after both steps, in units of the
    full range.
    """

    summary = "1,797 real handwritten digits (8x8, shown as 32x32), embedded: nothing to download"
    split_policy: ClassVar[str] = (
        "One permutation of all 1,797 images (numpy RandomState, seed 0): "
        "the first 1,437 train, the other 360 test."
    )
    shape: ClassVar[Shape] = (1, 32, 32)
    classes: ClassVar[int] = 10
    mean: ClassVar[tuple[float, ...]] = (0.305443,)
    std: ClassVar[tuple[float, ...]] = (0.375699,)

    def describe(self) -> TaskDescription:
        """Return shapes and kinds."""
        return TaskDescription(modality="image", input_shape=self.shape, outputs=self.classes)

    def files(self, data_root: Path) -> tuple[Path, ...]:
        """Return the table inside scikit-learn, which is not imported; no data root is used."""
        spec = importlib.util.find_spec("sklearn")
        if spec is None or not spec.submodule_search_locations:
            raise DataError(
                "the digits are part of scikit-learn, which is not installed",
                next_step="pip install scikit-learn",
            )
        package = Path(spec.submodule_search_locations[0])
        return (package / "datasets" / "data" / "digits.csv.gz",)

    def pinned(self) -> bool:
        """Return True: any other table is refused."""
        return True

    def prepare(self, data_root: Path) -> None:
        """Make sure that the table is there and is the published one."""
        self._table(data_root)

    def datasets(self, data_root: Path) -> Mapping[str, TensorExamples]:
        """Return the two splits; importing scikit-learn itself is not needed."""
        import numpy as np
        import torch

        table = np.loadtxt(io.BytesIO(self._table(data_root)), delimiter=",", dtype=np.uint8)
        small = np.rint(table[:, :-1] * (255 / _MAXIMUM)).astype(np.uint8).reshape(-1, 8, 8, 1)
        images = torch.from_numpy(small.repeat(_FACTOR, axis=1).repeat(_FACTOR, axis=2))
        labels = torch.from_numpy(table[:, -1].astype(np.int64))
        # RandomState is frozen: the same numbers in every version of NumPy.
        order = torch.from_numpy(np.random.RandomState(0).permutation(len(labels)))
        chosen = {"train": order[:_TRAIN], "test": order[_TRAIN:]}
        return {
            split: image_examples(images[at], labels[at], self.mean, self.std, self.classes)
            for split, at in chosen.items()
        }

    def tiny(self) -> Mapping[str, TensorExamples]:
        """Return a few random images of the right shape, for tests."""
        return tiny_images(self.shape, self.mean, self.std, self.classes)

    def _table(self, data_root: Path) -> bytes:
        """Return the unpacked table: 65 numbers a line, 64 pixels and the digit."""
        (path,) = self.files(data_root)
        with reading(path):
            content = gzip.decompress(path.read_bytes())
        found = hashlib.sha256(content).hexdigest()
        if found != _SHA256:
            raise DataError(
                f"{path.name} is not the published table: its sha256 is {found} when unpacked",
                where=str(path),
                expected=f"sha256 {_SHA256}",
                next_step="pip install --force-reinstall scikit-learn",
            )
        return content
