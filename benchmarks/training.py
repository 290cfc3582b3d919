"""One epoch of resnet18 (width 8) on 10,000 CIFAR-format images: llt against the plain recipe.

    python benchmarks/training.py [--data-root DIR] [--repeat 5] [--threads 2]

The plain recipe is torchvision's CIFAR10 + ToTensor + Normalize behind a DataLoader with two
workers, default memory layout, SGD as most scripts write it. Both train the same model from
the same weights with the same batch size; epochs are interleaved, and the test accuracy after
all of them is printed beside the times. DIR holds `cifar-10-batches-py`; without it, files of
that format are made from the digits that ship with scikit-learn (tinted and shifted).
"""

from __future__ import annotations

import argparse
import colorsys
import copy
import pickle
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Subset
from torchvision import datasets, transforms

from llt_core.interfaces import Examples, forward
from llt_core.spec import TrainingRecipe
from llt_core.work.trainer import Trainer
from llt_plugins.architectures.resnet import ResNet18
from llt_plugins.tasks.cifar import Cifar10

TRAIN, TEST, BATCH = 10_000, 2_000, 128
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        root = arguments.data_root or make_files(Path(folder))
        compare(root, arguments.repeat)


def compare(root: Path, repeat: int) -> None:
    task = Cifar10(verify=False)
    splits = task.datasets(root)
    train, test = splits["train"].subset(torch.arange(TRAIN)), splits["test"]
    torch.manual_seed(0)
    network = ResNet18(width=8).build(task.describe())
    plain, loader = copy.deepcopy(network), plain_loader(root)
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    recipe = TrainingRecipe(batch_size=BATCH, epochs=repeat)
    ours = Trainer(network, task, train, recipe, seed=0, device=torch.device("cpu"))
    times: dict[str, list[float]] = {"plain": [], "llt": []}
    for epoch in range(1, repeat + 1):
        times["plain"].append(timed(lambda: plain_epoch(plain, loader, optimizer)))
        times["llt"].append(timed(lambda e=epoch: ours.epoch(e)))
        print(f"epoch {epoch}: plain {times['plain'][-1]:.2f} s, llt {times['llt'][-1]:.2f} s")
    ratios = [a / b for a, b in zip(times["plain"], times["llt"], strict=True)]
    print(
        f"median: plain {statistics.median(times['plain']):.2f} s, "
        f"llt {statistics.median(times['llt']):.2f} s, "
        f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
    )
    print(
        f"test accuracy after {repeat} epochs: plain {accuracy(plain, test):.2f} %, "
        f"llt {accuracy(network, test):.2f} % (n = {len(test)})"
    )


def plain_loader(root: Path) -> DataLoader:
    class Unverified(datasets.CIFAR10):
        train_list = [[name, None] for name, _ in datasets.CIFAR10.train_list]
        test_list = [[name, None] for name, _ in datasets.CIFAR10.test_list]
        meta = {**datasets.CIFAR10.meta, "md5": None}

    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize(MEAN, STD)])
    data = Subset(Unverified(root, train=True, transform=transform), range(TRAIN))
    return DataLoader(data, batch_size=BATCH, shuffle=True, drop_last=True, num_workers=2)


def plain_epoch(model: nn.Module, loader: DataLoader, optimizer: torch.optim.Optimizer) -> None:
    model.train()
    criterion = nn.CrossEntropyLoss()
    for inputs, targets in loader:
        optimizer.zero_grad()
        loss = criterion(model(inputs), targets)
        loss.backward()
        optimizer.step()


def timed(call) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


@torch.no_grad()
def accuracy(model: nn.Module, examples: Examples) -> float:
    model.eval()
    correct = 0
    for index in examples.slices(500):
        batch = examples.batch(index)
        correct += int((forward(model, batch).argmax(1) == batch.targets).sum())
    return 100 * correct / len(examples)


def make_files(root: Path) -> Path:
    """Write CIFAR-10-format files from real digits: 32×32, tinted, shifted by up to 3 pixels."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    rng = np.random.default_rng(0)
    order = rng.permutation(len(digits.images))
    pools = {"train": order[:1437], "test": order[1437:]}
    folder = root / "cifar-10-batches-py"
    folder.mkdir()
    names = {f"data_batch_{i}": ("train", TRAIN // 5) for i in range(1, 6)}
    for name, (split, count) in {**names, "test_batch": ("test", TEST)}.items():
        chosen = rng.choice(pools[split], count)
        images = np.stack([tinted(digits.images[i], rng) for i in chosen])
        content = {"data": images.reshape(count, 3072), "labels": digits.target[chosen].tolist()}
        (folder / name).write_bytes(pickle.dumps(content, protocol=2))
    meta = {"label_names": [str(number) for number in range(10)], "num_vis": 3072}
    (folder / "batches.meta").write_bytes(pickle.dumps(meta, protocol=2))
    return root


def tinted(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    gray = np.kron(image / 16, np.ones((4, 4)))
    gray = np.roll(gray, rng.integers(-3, 4, 2), (0, 1))
    colour = np.array(colorsys.hsv_to_rgb(rng.random(), 0.6, 1.0))
    return np.rint(255 * colour[:, None, None] * gray).astype(np.uint8)


if __name__ == "__main__":
    main()
