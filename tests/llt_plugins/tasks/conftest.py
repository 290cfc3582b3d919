"""Writers of the published file layouts, filled with real digits from scikit-learn."""

import pickle
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from sklearn.datasets import load_digits

TINTS = np.array([(1.0, 0.5, 0.2), (0.3, 1.0, 0.6), (0.4, 0.2, 1.0)])


@dataclass(frozen=True)
class Written:
    """What a writer put on disk: images (N, H, W, C) and class labels (N,) by split."""

    root: Path
    images: dict[str, np.ndarray]
    labels: dict[str, np.ndarray]


def pictures(start: int, count: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return gray uint8 images (N, size, size) and labels (N,); size is 28 or 32."""
    digits = load_digits()
    small = np.rint(digits.images[start : start + count] * (255 / 16)).astype(np.uint8)
    factor = size // 8
    border = (size - 8 * factor) // 2
    large = small.repeat(factor, axis=1).repeat(factor, axis=2)
    padded = np.pad(large, ((0, 0), (border, border), (border, border)))
    return padded, digits.target[start : start + count].astype(np.int64)


def coloured(gray: np.ndarray) -> np.ndarray:
    """Tint images; the pixel at row 1, column 2 of each is exactly (201, 102, 3)."""
    tints = TINTS[np.arange(len(gray)) % len(TINTS)]
    images = np.rint(gray[..., None] * tints[:, None, None, :]).astype(np.uint8)
    images[:, 1, 2] = (201, 102, 3)
    return images


def splits(size: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    train, train_labels = pictures(0, 40, size)
    test, test_labels = pictures(40, 20, size)
    return {"train": train, "test": test}, {"train": train_labels, "test": test_labels}


def cifar_rows(images: np.ndarray) -> np.ndarray:
    """Return rows of 3,072 bytes: all red, all green, all blue."""
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2)).reshape(len(images), -1)


def write_cifar10(root: Path) -> Written:
    gray, labels = splits(32)
    images = {split: coloured(x) for split, x in gray.items()}
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    batches = {f"data_batch_{b + 1}": ("train", slice(8 * b, 8 * b + 8)) for b in range(5)}
    for name, (split, part) in {**batches, "test_batch": ("test", slice(None))}.items():
        content = {
            "batch_label": name,
            "labels": labels[split][part].tolist(),
            "data": cifar_rows(images[split][part]),
        }
        (folder / name).write_bytes(pickle.dumps(content, protocol=2))
    return Written(root, images, labels)


def write_cifar100(root: Path) -> Written:
    gray, digits = splits(32)
    images = {split: coloured(x) for split, x in gray.items()}
    labels = {split: y * 10 + np.arange(len(y)) % 10 for split, y in digits.items()}
    folder = root / "cifar-100-python"
    folder.mkdir(parents=True)
    for split in ("train", "test"):
        content = {
            "fine_labels": labels[split].tolist(),
            "coarse_labels": (labels[split] // 5).tolist(),
            "data": cifar_rows(images[split]),
        }
        (folder / split).write_bytes(pickle.dumps(content, protocol=2))
    return Written(root, images, labels)


def write_svhn(root: Path) -> Written:
    gray, labels = splits(32)
    images = {split: coloured(x) for split, x in gray.items()}
    root.mkdir(parents=True, exist_ok=True)
    for split in ("train", "test"):
        y = np.where(labels[split] == 0, 10, labels[split]).astype(np.uint8).reshape(-1, 1)
        x = np.ascontiguousarray(images[split].transpose(1, 2, 3, 0))
        scipy.io.savemat(root / f"{split}_32x32.mat", {"X": x, "y": y}, do_compression=True)
    return Written(root, images, labels)


def idx(array: np.ndarray) -> bytes:
    header = struct.pack(">BBBB", 0, 0, 8, array.ndim)
    return header + struct.pack(f">{array.ndim}I", *array.shape) + array.astype(np.uint8).tobytes()


def write_idx(folder: str) -> Callable[[Path], Written]:
    def write(root: Path) -> Written:
        images, labels = splits(28)
        raw = root / folder / "raw"
        raw.mkdir(parents=True)
        for split, prefix in (("train", "train"), ("test", "t10k")):
            (raw / f"{prefix}-images-idx3-ubyte").write_bytes(idx(images[split]))
            (raw / f"{prefix}-labels-idx1-ubyte").write_bytes(idx(labels[split]))
        return Written(root, {split: x[..., None] for split, x in images.items()}, labels)

    return write


WRITERS = {
    "cifar10": write_cifar10,
    "cifar100": write_cifar100,
    "svhn": write_svhn,
    "mnist": write_idx("MNIST"),
    "fashion_mnist": write_idx("FashionMNIST"),
}


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Written]:
    """Return a function that writes the files of one task by its name."""
    return lambda name: WRITERS[name](tmp_path / "data")


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forbid downloads."""
    monkeypatch.setenv("LLT_OFFLINE", "1")
