"""The common base of the tasks whose data sets come through torchvision."""

from __future__ import annotations

import sys
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from llt_core.interfaces import (
    ClassificationTask,
    DataError,
    TaskDescription,
    TensorExamples,
    parameter,
)
from llt_plugins.tasks.download import download
from llt_plugins.tasks.images import Shape, check_images, image_examples, tiny_images
from llt_plugins.tasks.published import check_md5

if TYPE_CHECKING:
    from torch import Tensor


class TorchvisionTask(ClassificationTask):
    """Images and labels read from the files that torchvision's data sets use.

    Attributes
    ----------
    title
        Name of the data set in messages.
    shape
        Channels, height and width of an image, ``(C, H, W)``.
    classes
        Number of classes.
    mean, std
        Mean and standard deviation of each channel over the training split, in units of
        the full range [0, 1].
    published
        Split → file name relative to the data root → md5 of the published file. Declared
        here, and compared with torchvision's values by a test, so that files can be found
        and checked without importing torch.
    """

    verify: bool = parameter(
        True,
        description="Refuse files that are not the published ones (by md5); "
        "false takes your own files of the same layout",
    )

    title: ClassVar[str]
    shape: ClassVar[Shape]
    classes: ClassVar[int]
    mean: ClassVar[tuple[float, ...]]
    std: ClassVar[tuple[float, ...]]
    published: ClassVar[Mapping[str, Mapping[str, str]]]

    @abstractmethod
    def read(self, split: str, data_root: Path) -> tuple[Tensor, Tensor]:
        """Return images, uint8 ``(N, H, W, C)``, and integer labels ``(N,)`` of one split."""

    @abstractmethod
    def fetch(self, folder: Path) -> None:
        """Download the published files into ``folder`` as their data root."""

    def describe(self) -> TaskDescription:
        """Return shapes and kinds."""
        return TaskDescription(modality="image", input_shape=self.shape, outputs=self.classes)

    def files(self, data_root: Path) -> tuple[Path, ...]:
        """Return the files of both splits."""
        return tuple(data_root / name for name in self._md5s())

    def pinned(self) -> bool:
        """Whether only the published files are accepted."""
        return self.verify

    def prepare(self, data_root: Path) -> None:
        """Make sure the files are there and are the right ones; download what is missing.

        No file that exists is ever changed. A data root that holds some of a user's own
        files (``verify = false``) is not completed with published ones: a data set of two
        halves would be worse than none.
        """
        self._check(data_root)
        reason = ""
        if missing := self._missing(data_root):
            if self.verify or len(missing) == len(self._md5s()):
                reason = self._download(data_root)
            self._require(data_root, reason)
            self._check(data_root)

    def datasets(self, data_root: Path) -> Mapping[str, TensorExamples]:
        """Load both splits into memory as uint8; nothing is downloaded."""
        self._require(data_root)
        self._check(data_root)
        return {split: self._examples(split, data_root) for split in self.published}

    def tiny(self) -> Mapping[str, TensorExamples]:
        """Return a few random images of the right shape, for tests."""
        return tiny_images(self.shape, self.mean, self.std, self.classes)

    def _examples(self, split: str, data_root: Path) -> TensorExamples:
        images, labels = self.read(split, data_root)
        path = data_root / next(iter(self.published[split]))
        check_images(path, images, labels, self.shape, self.classes)
        return image_examples(images, labels, self.mean, self.std, self.classes)

    def _md5s(self) -> dict[str, str]:
        """Return the md5 of every published file by its relative name."""
        return {name: md5 for files in self.published.values() for name, md5 in files.items()}

    def _missing(self, data_root: Path) -> list[str]:
        return [name for name in self._md5s() if not (data_root / name).is_file()]

    def _check(self, data_root: Path) -> None:
        if self.verify:
            check_md5(self.title, data_root, self._md5s())

    def _download(self, data_root: Path) -> str:
        """Try to download the files; return why it failed, or nothing."""

        def fetch(folder: Path) -> None:
            where = data_root.absolute()
            print(f"downloading {self.title} to {where}", file=sys.stderr, flush=True)
            self.fetch(folder)
            check_md5(self.title, folder, self._md5s())

        return download(data_root, fetch)

    def _require(self, data_root: Path, reason: str = "") -> None:
        """Raise :class:`DataError` unless all files are there."""
        missing = self._missing(data_root)
        if not missing:
            return
        why = f" (not downloaded: {reason})" if reason else ""
        raise DataError(
            f"{len(missing)} of {len(self._md5s())} files of {self.title} "
            f"are missing{why}: {', '.join(missing)}",
            where=str(data_root.absolute()),
            expected="the files of the original data set, unpacked",
            next_step="put them there, or name the folder that has them with --data-root DIR "
            "or LLT_DATA, or use --task digits, which needs no download",
        )
